//! The form of the records.
//!
//! Grammar, numbers as in [`model::varint`] (`u` unsigned, `i` signed, `o` optional), version 3:
//!
//! - record: version byte `03` · checksum (8 bytes, little endian: XXH3 of all that follows) · header ·
//!   bytes `u` of the body in plain form · the body as a frame of Zstandard (RFC 8878)
//! - header: mark (1: keyframe, 2: last part, added) · writer (8 bytes, little endian) ·
//!   windows, length of the lists, lateness `u` each · partition `u` · flush `u` · part `u` ·
//!   from `u`, less in a keyframe · progress · where the last complete keyframe began `o`
//! - progress: next `u` · append time `o` · event time `o` · watermark `o` · newest date `o` ·
//!   last date dropped `o`
//! - body: days · dropped · entity until the end
//! - days: count `u` · (date `i` · mark: 1: items, 2: the day is complete, added · the lists as in
//!   [`window::FinalIndex::encode`]) each; the stores of a day come first
//! - dropped: count `u` · date `i` each; none but in a last part
//! - entity: mark (1: item, 2: replaces, 4: all its pairs are rows, added) · id `u` · totals as counts, less where
//!   all pairs are rows: there they are the sums · rows `u` · (id `u` · counts) each · removed `u` ·
//!   id `u` each; all ids but the first less the one before
//! - counts: bits of the slots that differ from the last count before them that is not 0 (if there
//!   is none: from 0), in as few bytes, little endian, as leave the highest bit free · those counts `u`. A pair that
//!   sold once has the same count in most windows.
//!
//! The highest bit of the bits marks a row of a store that is *shared*: a row of the item, with the store's id, as well.
//! So what a pair has is said once for both its sides. An item that is not there beside its shared rows is one all
//! pairs of which are rows, and that does not replace.
//!
//! Every value has exactly one plain form.

use model::{
    BusinessDate, MAX_RECORD_BYTES, Offset, Partition, Timestamp,
    varint::{self, VarintError},
};
use window::{Progress, Settings, SettingsError};
use xxhash_rust::xxh3::xxh3_64;

use super::packing::Packer;

const VERSION: u8 = 3;

/// The oldest that is still read: it has no last date dropped.
const OLDEST: u8 = 2;

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
    #[error("unknown version {0} of the feed, this build reads versions {OLDEST} to {VERSION}")]
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
    /// The packed part cannot be unpacked, or is longer than any record.
    #[error("the packed part cannot be unpacked")]
    Packed,
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
        if !(OLDEST..=VERSION).contains(&version) {
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
        let progress = take_progress(rest, version)?;
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
    let Progress { next, append_time, clock, watermark, newest_date, dropped_until } = progress;
    varint::put(out, next.0);
    for time in [append_time, clock, watermark] {
        varint::put_optional(out, time.map(Timestamp::millis));
    }
    for date in [newest_date, dropped_until] {
        varint::put_optional(out, date.map(|date| i64::from(date.days())));
    }
}

fn take_progress(rest: &mut &[u8], version: u8) -> Result<Progress, FeedError> {
    let next = Offset(varint::take(rest)?);
    let mut take_time = || {
        let time = varint::take_optional(rest)?;
        let in_range = |millis| Timestamp::from_millis(millis).ok_or(OUT_OF_RANGE);
        time.map(in_range).transpose()
    };
    let (append_time, clock, watermark) = (take_time()?, take_time()?, take_time()?);
    let mut take_date = || varint::take_optional(rest)?.map(date).transpose();
    let newest_date = take_date()?;
    let dropped_until = if version == OLDEST { None } else { take_date()? };
    Ok(Progress { next, append_time, clock, watermark, newest_date, dropped_until })
}

const OUT_OF_RANGE: FeedError = FeedError::Malformed("a time or a date is out of range");

pub(crate) fn date(days: i64) -> Result<BusinessDate, FeedError> {
    i32::try_from(days).ok().and_then(BusinessDate::from_days).ok_or(OUT_OF_RANGE)
}

pub(crate) fn put_marks<const N: usize>(out: &mut Vec<u8>, marks: [bool; N]) {
    out.push(marks.iter().rev().fold(0, |bits, &mark| bits << 1 | u8::from(mark)));
}

pub(crate) fn take_marks<const N: usize>(rest: &mut &[u8]) -> Result<[bool; N], FeedError> {
    let [bits] = varint::take_array(rest)?;
    if bits >> N != 0 {
        return Err(FeedError::Malformed("a mark is unknown"));
    }
    Ok(std::array::from_fn(|mark| bits >> mark & 1 == 1))
}

/// A count of things that take at least `least` bytes each.
pub(crate) fn take_count(rest: &mut &[u8], least: usize) -> Result<usize, FeedError> {
    let count = usize::try_from(varint::take(rest)?).map_err(|_| FeedError::Count)?;
    if count > rest.len() / least { Err(FeedError::Count) } else { Ok(count) }
}

/// Bytes of a record at most, besides the days and entities in it and the dates dropped.
pub(crate) const OVERHEAD: usize = 200;

/// The record that has `plain`, packed, behind its header.
pub(crate) fn record(header: &Header, plain: &[u8], packer: &mut Packer) -> Vec<u8> {
    let mut out = Vec::with_capacity(OVERHEAD + plain.len());
    out.push(VERSION);
    out.extend_from_slice(&[0; 8]);
    header.put(&mut out);
    packer.put(&mut out, plain);
    let checksum = xxh3_64(&out[CHECKED_FROM..]);
    out[1..CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
    out.shrink_to_fit();
    out
}
