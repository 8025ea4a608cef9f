//! The form of the records.
//!
//! Grammar, numbers as in [`model::varint`] (`u` unsigned, `i` signed, `o` optional), version 1:
//!
//! - record: version byte `01` · checksum (8 bytes, little endian: XXH3 of all that follows) · header ·
//!   days · dropped · entity until the end
//! - header: mark (1: keyframe, 2: last part, added) · writer (8 bytes, little endian) ·
//!   windows, length of the lists, lateness `u` each · partition `u` · flush `u` · part `u` ·
//!   from `u`, less in a keyframe · progress · where the last complete keyframe began `o`
//! - progress: next `u` · append time `o` · event time `o` · watermark `o` · newest date `o`
//! - days: count `u` · (date `i` · mark: 1: items, 2: the day is complete, added · the lists as in
//!   [`window::FinalIndex::encode`]) each; the stores of a day come first
//! - dropped: count `u` · date `i` each; none but in a last part
//! - entity: mark (1: item, 2: replaces, added) · id `u` · totals as counts · rows `u` · (id `u` ·
//!   counts) each · removed `u` · id `u` each; all ids but the first less the one before
//! - counts: bits `u` of the slots that differ from the last count before them that is not 0 (if there
//!   is none: from 0) · those counts `u`. A pair that sold once has the same count in most windows.
//!
//! Every value has exactly one form.

use model::{
    BusinessDate, ItemId, MAX_RECORD_BYTES, Offset, Partition, StoreId, Timestamp,
    varint::{self, VarintError},
};
use window::{Entity, EntityUpdate, FinalIndex, Progress, Settings, SettingsError};
use xxhash_rust::xxh3::xxh3_64;

const VERSION: u8 = 1;

/// Bytes before those that the checksum covers.
const CHECKED_FROM: usize = 9;

/// One run of a worker. Drawn at random at start; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WriterId(pub u64);

/// What a flush covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushKind {
    /// What the purchases from this offset on have changed.
    Delta {
        /// The first purchase offset covered.
        from: Offset,
    },
    /// Everything.
    Keyframe,
}

/// Bytes that are not a record of this feed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// Written by another version of the codec.
    #[error("unknown version {0} of the feed, this build reads version {VERSION}")]
    Version(u8),
    /// The bytes are not those that were written.
    #[error("the checksum does not fit the bytes")]
    Checksum,
    /// Longer than any record.
    #[error("the record has {0} bytes, the most is {MAX_RECORD_BYTES}")]
    TooLong(usize),
    /// A number is broken.
    #[error(transparent)]
    Varint(#[from] VarintError),
    /// A count is larger than the bytes left can hold.
    #[error("a count is larger than the bytes that follow can hold")]
    Count,
    /// A value breaks a rule of the form.
    #[error("{0}")]
    Malformed(&'static str),
    /// The writer's windows or lists are not those of this view.
    #[error("the writer has other settings: {0}; start workers and replicas with the same ones")]
    Settings(#[from] SettingsError),
    /// The record belongs to another partition.
    #[error("the record is one of partition {found}, not of {wanted}")]
    Partition {
        /// Whose it is.
        found: Partition,
        /// Whose it should be.
        wanted: Partition,
    },
}

/// What a record says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: FlushKind,
    /// Whether the flush ends here.
    pub(crate) last: bool,
    pub(crate) writer: WriterId,
    pub(crate) settings: Settings,
    pub(crate) partition: Partition,
    /// Number of the flush among those of the writer.
    pub(crate) flush: u64,
    /// Number of the part in its flush.
    pub(crate) part: u64,
    /// How far the flush goes: to `progress.next`.
    pub(crate) progress: Progress,
    /// Views offset of the first part of the last keyframe known to be complete.
    pub(crate) keyframe: Option<Offset>,
}

impl Header {
    fn put(&self, out: &mut Vec<u8>) {
        let is_keyframe = self.kind == FlushKind::Keyframe;
        put_marks(out, [is_keyframe, self.last]);
        out.extend_from_slice(&self.writer.0.to_le_bytes());
        self.settings.encode(out);
        varint::put(out, u64::from(self.partition.0));
        varint::put(out, self.flush);
        varint::put(out, self.part);
        if let FlushKind::Delta { from } = self.kind {
            varint::put(out, from.0);
        }
        put_progress(out, &self.progress);
        varint::put_optional(out, self.keyframe.map(|offset| offset.0 as i64));
    }

    /// Takes version, checksum and header off the front of a record.
    pub(crate) fn take(rest: &mut &[u8]) -> Result<Self, FeedError> {
        if rest.len() > MAX_RECORD_BYTES {
            return Err(FeedError::TooLong(rest.len()));
        }
        let [version] = varint::take_array(rest)?;
        if version != VERSION {
            return Err(FeedError::Version(version));
        }
        if u64::from_le_bytes(varint::take_array(rest)?) != xxh3_64(rest) {
            return Err(FeedError::Checksum);
        }
        let [is_keyframe, last] = take_marks(rest)?;
        let writer = WriterId(u64::from_le_bytes(varint::take_array(rest)?));
        let settings = Settings::decode(rest)?;
        let partition = Partition(varint::take_u32(rest)?);
        let (flush, part) = (varint::take(rest)?, varint::take(rest)?);
        let kind = if is_keyframe {
            FlushKind::Keyframe
        } else {
            FlushKind::Delta { from: Offset(varint::take(rest)?) }
        };
        let progress = take_progress(rest)?;
        if matches!(kind, FlushKind::Delta { from } if from > progress.next) {
            return Err(FeedError::Malformed("a delta ends before it starts"));
        }
        let keyframe = varint::take_optional(rest)?
            .map(|offset| u64::try_from(offset).map(Offset))
            .transpose()
            .map_err(|_| FeedError::Malformed("an offset is negative"))?;
        Ok(Self { kind, last, writer, settings, partition, flush, part, progress, keyframe })
    }
}

fn put_progress(out: &mut Vec<u8>, progress: &Progress) {
    let Progress { next, append_time, clock, watermark, newest_date } = progress;
    varint::put(out, next.0);
    for time in [append_time, clock, watermark] {
        varint::put_optional(out, time.map(Timestamp::millis));
    }
    varint::put_optional(out, newest_date.map(|date| i64::from(date.days())));
}

fn take_progress(rest: &mut &[u8]) -> Result<Progress, FeedError> {
    let next = Offset(varint::take(rest)?);
    let mut take_time = || {
        let time = varint::take_optional(rest)?;
        let in_range = |millis| Timestamp::from_millis(millis).ok_or(OUT_OF_RANGE);
        time.map(in_range).transpose()
    };
    let (append_time, clock, watermark) = (take_time()?, take_time()?, take_time()?);
    let newest_date = varint::take_optional(rest)?.map(date).transpose()?;
    Ok(Progress { next, append_time, clock, watermark, newest_date })
}

const OUT_OF_RANGE: FeedError = FeedError::Malformed("a time or a date is out of range");

fn date(days: i64) -> Result<BusinessDate, FeedError> {
    i32::try_from(days).ok().and_then(BusinessDate::from_days).ok_or(OUT_OF_RANGE)
}

fn put_marks(out: &mut Vec<u8>, [first, second]: [bool; 2]) {
    out.push(u8::from(first) | (u8::from(second) << 1));
}

fn take_marks(rest: &mut &[u8]) -> Result<[bool; 2], FeedError> {
    match varint::take_array(rest)? {
        [marks @ 0..4] => Ok([marks & 1 != 0, marks & 2 != 0]),
        _ => Err(FeedError::Malformed("a mark is unknown")),
    }
}

/// A count of things that take at least `least` bytes each.
fn take_count(rest: &mut &[u8], least: usize) -> Result<usize, FeedError> {
    let count = usize::try_from(varint::take(rest)?).map_err(|_| FeedError::Count)?;
    if count > rest.len() / least { Err(FeedError::Count) } else { Ok(count) }
}

/// What goes into one record besides its header.
#[derive(Debug, Default)]
pub(crate) struct Body {
    days: Vec<u8>,
    day_count: u64,
    entities: Vec<u8>,
}

/// Bytes of a record at most, besides the days and entities in it and the dates dropped.
pub(crate) const OVERHEAD: usize = 200;

impl Body {
    /// Bytes of days and entities.
    pub(crate) fn len(&self) -> usize {
        self.days.len() + self.entities.len()
    }

    /// Adds lists of a closed day: of its items, or else of its stores. `complete` tells that they
    /// are the last of the day.
    pub(crate) fn day(
        &mut self,
        date: BusinessDate,
        items: bool,
        complete: bool,
        lists: &FinalIndex,
    ) {
        varint::put_signed(&mut self.days, i64::from(date.days()));
        put_marks(&mut self.days, [items, complete]);
        lists.encode(&mut self.days);
        self.day_count += 1;
    }

    /// Adds an entity.
    pub(crate) fn entity(&mut self, update: &EntityUpdate<'_>) {
        let out = &mut self.entities;
        let (is_item, id) = match update.entity {
            Entity::Store(store) => (false, u64::from(store.0)),
            Entity::Item(item) => (true, item.0),
        };
        put_marks(out, [is_item, update.replace]);
        varint::put(out, id);
        put_counts(out, update.totals);
        varint::put(out, update.ids.len() as u64);
        let mut before = 0;
        for (&id, counts) in update.ids.iter().zip(update.counts.chunks_exact(update.totals.len()))
        {
            varint::put(out, id - before);
            put_counts(out, counts);
            before = id;
        }
        varint::put(out, update.removed.len() as u64);
        before = 0;
        for &id in update.removed {
            varint::put(out, id - before);
            before = id;
        }
    }

    /// Moves the entities from byte `at` on to another body.
    pub(crate) fn split_entities(&mut self, at: usize) -> Self {
        Self { entities: self.entities.split_off(at), ..Self::default() }
    }

    /// Bytes of entities.
    pub(crate) fn entity_bytes(&self) -> usize {
        self.entities.len()
    }

    /// The record.
    pub(crate) fn record(&self, header: &Header, dropped: &[BusinessDate]) -> Vec<u8> {
        let mut out = Vec::with_capacity(OVERHEAD + self.len() + 4 * dropped.len());
        out.push(VERSION);
        out.extend_from_slice(&[0; 8]);
        header.put(&mut out);
        varint::put(&mut out, self.day_count);
        out.extend_from_slice(&self.days);
        varint::put(&mut out, dropped.len() as u64);
        for date in dropped {
            varint::put_signed(&mut out, i64::from(date.days()));
        }
        out.extend_from_slice(&self.entities);
        let checksum = xxh3_64(&out[CHECKED_FROM..]);
        out[1..CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
        out
    }
}

fn put_counts(out: &mut Vec<u8>, counts: &[u64]) {
    let (mut bits, mut last) = (0, 0);
    for (slot, &count) in counts.iter().enumerate() {
        bits |= u64::from(count != last) << slot;
        last = if count == 0 { last } else { count };
    }
    varint::put(out, bits);
    for (slot, &count) in counts.iter().enumerate() {
        if bits >> slot & 1 == 1 {
            varint::put(out, count);
        }
    }
}

/// Appends `slots` counts.
fn take_counts(rest: &mut &[u8], slots: usize, counts: &mut Vec<u64>) -> Result<(), FeedError> {
    let bits = varint::take(rest)?;
    if bits >> slots != 0 {
        return Err(FeedError::Malformed("a slot is out of range"));
    }
    let mut last = 0;
    for slot in 0..slots {
        if bits >> slot & 1 == 0 {
            counts.push(last);
            continue;
        }
        let count = varint::take(rest)?;
        if count == last {
            return Err(FeedError::Malformed("a count is marked as different and is not"));
        }
        last = if count == 0 { last } else { count };
        counts.push(count);
    }
    Ok(())
}

/// Lists of a closed day, as taken from a record.
#[derive(Debug)]
pub(crate) struct DayPiece {
    pub(crate) date: BusinessDate,
    /// Whether these are lists of items, not of stores.
    pub(crate) items: bool,
    /// Whether the day ends here.
    pub(crate) complete: bool,
    pub(crate) lists: FinalIndex,
}

/// A record all bytes of which have been looked at, so that it can be applied to its end.
#[derive(Debug)]
pub(crate) struct Checked<'a> {
    pub(crate) days: Vec<DayPiece>,
    pub(crate) dropped: Vec<BusinessDate>,
    entities: &'a [u8],
    slots: usize,
}

impl<'a> Checked<'a> {
    /// Reads what comes after the header.
    pub(crate) fn take(
        mut rest: &'a [u8],
        header: &Header,
        slots: usize,
        scratch: &mut Scratch,
    ) -> Result<Self, FeedError> {
        let days = take_days(&mut rest)?;
        let dropped = (0..take_count(&mut rest, 1)?)
            .map(|_| date(varint::take_signed(&mut rest)?))
            .collect::<Result<Vec<_>, FeedError>>()?;
        if !dropped.is_empty() && !header.last {
            return Err(FeedError::Malformed("days are dropped before the end of a flush"));
        }
        let entities = rest;
        while !rest.is_empty() {
            let (_, replace) = scratch.take(&mut rest, slots)?;
            if !replace && header.kind == FlushKind::Keyframe {
                return Err(FeedError::Malformed("an entity of a keyframe does not replace"));
            }
        }
        Ok(Self { days, dropped, entities, slots })
    }

    /// Gives all entities, with the stamp and the progress of the flush.
    pub(crate) fn entities(
        &self,
        progress: &Progress,
        scratch: &mut Scratch,
        mut give: impl FnMut(EntityUpdate<'_>),
    ) {
        let mut rest = self.entities;
        // All of them have been taken once: the only error is that none is left.
        while let Ok((entity, replace)) = scratch.take(&mut rest, self.slots) {
            give(EntityUpdate {
                entity,
                stamp: progress.next,
                progress,
                replace,
                totals: &scratch.totals,
                ids: &scratch.ids,
                counts: &scratch.counts,
                removed: &scratch.removed,
            });
        }
    }
}

fn take_days(rest: &mut &[u8]) -> Result<Vec<DayPiece>, FeedError> {
    // A date, a mark and a count at least.
    let count = take_count(rest, 3)?;
    let mut days = Vec::new();
    for _ in 0..count {
        let date = date(varint::take_signed(rest)?)?;
        let [items, complete] = take_marks(rest)?;
        if complete && !items {
            return Err(FeedError::Malformed("a closed day ends without its items"));
        }
        days.push(DayPiece { date, items, complete, lists: FinalIndex::decode(rest)? });
    }
    Ok(days)
}

/// The entity taken last; its buffers are used again for the next. Of each two bytes of a record it
/// holds at most the counts of one row.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    totals: Vec<u64>,
    ids: Vec<u64>,
    counts: Vec<u64>,
    removed: Vec<u64>,
}

impl Scratch {
    /// Takes an entity off the front of `rest`; gives whose values they are, and whether they replace.
    fn take(&mut self, rest: &mut &[u8], slots: usize) -> Result<(Entity, bool), FeedError> {
        let [is_item, replace] = take_marks(rest)?;
        let entity = if is_item {
            Entity::Item(ItemId(varint::take(rest)?))
        } else {
            Entity::Store(StoreId(varint::take_u32(rest)?))
        };
        self.totals.clear();
        take_counts(rest, slots, &mut self.totals)?;
        let rows = take_count(rest, 2)?;
        self.ids.clear();
        self.counts.clear();
        for _ in 0..rows {
            take_id(rest, &mut self.ids)?;
            take_counts(rest, slots, &mut self.counts)?;
        }
        let removed = take_count(rest, 1)?;
        self.removed.clear();
        for _ in 0..removed {
            take_id(rest, &mut self.removed)?;
        }
        if replace && removed > 0 {
            return Err(FeedError::Malformed("rows are removed of an entity that is replaced"));
        }
        Ok((entity, replace))
    }
}

/// Appends the next of ascending ids.
fn take_id(rest: &mut &[u8], ids: &mut Vec<u64>) -> Result<(), FeedError> {
    let step = varint::take(rest)?;
    let id = match ids.last() {
        None => step,
        Some(_) if step == 0 => return Err(FeedError::Malformed("an id is there twice")),
        Some(last) => last.checked_add(step).ok_or(VarintError::Malformed)?,
    };
    ids.push(id);
    Ok(())
}
