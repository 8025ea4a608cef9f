//! Reading the feed of a partition.

use std::{collections::BTreeSet, sync::Arc};

use model::{BusinessDate, Offset, Partition};
use window::{FinalDay, FinalIndex, Progress, Settings, Sink};

use super::{
    codec::{FeedError, FlushKind, Header, WriterId},
    contents::{Contents, DayPiece},
    packing::Unpacker,
};
use crate::PartitionWriter;

/// The most writers told apart. More are only seen over a long time, as runs of workers that ended.
const MAX_RUNS: usize = 16;

/// Follows the feed of one partition: takes its records in order, and applies them to the view.
///
/// What it relies on, and what holds when, is said in the docs of [`crate::feed`].
#[derive(Debug)]
pub struct Replica {
    writer: PartitionWriter,
    partition: Partition,
    settings: Settings,
    slots: usize,
    /// `None` until a keyframe is complete.
    progress: Option<Progress>,
    /// The writers seen, the one heard of last at the end.
    runs: Vec<Run>,
    /// Closed days the view has.
    days: BTreeSet<BusinessDate>,
    gaps: u64,
    unpacker: Unpacker,
    plain: Vec<u8>,
    contents: Contents,
}

/// What came of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It has been applied; its flush goes on.
    Applied,
    /// It has been applied, and with it its flush has ended: the position has moved.
    Published,
    /// Passed over: the view has everything its flush says.
    Known,
    /// Passed over: this very part has been seen before.
    Repeated,
    /// Passed over: a delta, before any keyframe was complete.
    Early,
    /// Passed over: its flush starts after the position, so that something is missing in between.
    Gap,
    /// Passed over: a part of its flush is missing, or was passed over.
    Partial,
}

/// A record that was refused; nothing of it has been applied. What it said will be missing, until
/// another writer or the next keyframe says it too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the record at offset {offset} of the feed of partition {partition} is refused")]
pub struct DamagedRecord {
    /// Which partition.
    pub partition: Partition,
    /// Its offset in the feed.
    pub offset: Offset,
    /// What is wrong with it.
    pub source: FeedError,
}

/// The flush that a writer is in, or was in last.
#[derive(Debug)]
struct Run {
    writer: WriterId,
    flush: u64,
    /// The part expected next.
    next_part: u64,
    /// Why the rest of the flush is passed over, if it is.
    passed: Option<Outcome>,
    /// Where the flush goes.
    to: Offset,
    /// A closed day that is not whole yet.
    open_day: Option<FinalDay>,
}

impl Run {
    fn start(header: &Header) -> Self {
        Self {
            writer: header.writer,
            flush: header.flush,
            next_part: 0,
            passed: None,
            to: header.progress.next,
            open_day: None,
        }
    }

    /// Takes note of a part. Gives why it is passed over, if what was seen of the flush says so.
    fn admit(&mut self, header: &Header) -> Option<Outcome> {
        if (header.flush, header.part) < (self.flush, self.next_part) {
            return Some(Outcome::Repeated);
        }
        if header.flush > self.flush {
            *self = Self::start(header);
        }
        if header.part > self.next_part {
            self.pass(Outcome::Partial);
        }
        self.next_part = header.part.saturating_add(1);
        self.passed
    }

    /// Passes over the rest of the flush.
    fn pass(&mut self, outcome: Outcome) {
        self.passed = Some(outcome);
        self.open_day = None;
    }

    /// Adds lists to the closed day under way; gives the day once it is whole.
    fn add_day(&mut self, piece: DayPiece) -> Result<Option<Arc<FinalDay>>, FeedError> {
        let DayPiece { date, items, complete, lists } = piece;
        let (stores, none) = (FinalIndex::default(), FinalIndex::default());
        let mut day = self.open_day.take().unwrap_or(FinalDay { date, stores, items: none });
        let stores_after_items = !items && day.items != FinalIndex::default();
        if day.date != date || stores_after_items {
            return Err(FeedError::Malformed("the parts of a closed day are mixed up"));
        }
        (if items { &mut day.items } else { &mut day.stores }).append(&lists)?;
        if complete {
            return Ok(Some(Arc::new(day)));
        }
        self.open_day = Some(day);
        Ok(None)
    }
}

impl Replica {
    /// A replica that has nothing: whatever the view has of the partition is forgotten, and the partition is
    /// not ready until a keyframe is complete.
    pub fn new(mut writer: PartitionWriter) -> Self {
        writer.forget();
        Self {
            partition: writer.partition(),
            settings: writer.shape().settings,
            slots: writer.shape().slots,
            writer,
            progress: None,
            runs: Vec::new(),
            days: BTreeSet::new(),
            gaps: 0,
            unpacker: Unpacker::default(),
            plain: Vec::new(),
            contents: Contents::default(),
        }
    }

    /// Where a new replica starts to read, given the last record of the feed: at the keyframe it names. `None`
    /// is the first record there is: the feed is empty, or no keyframe was complete when the record was made.
    ///
    /// If that offset has been trimmed, the first record there is will do: another keyframe follows.
    ///
    /// # Errors
    /// [`FeedError`] if the record is damaged; start with the first record there is then.
    pub fn start(last_record: Option<&[u8]>) -> Result<Option<Offset>, FeedError> {
        last_record.map_or(Ok(None), |mut record| Ok(Header::take(&mut record)?.keyframe))
    }

    /// Takes the next record of the feed, which is at `offset`.
    ///
    /// # Errors
    /// [`DamagedRecord`] if the bytes are not a record of this partition, made with the settings of this
    /// view. Nothing of it has been applied then, and the records after it can be.
    pub fn apply(&mut self, offset: Offset, record: &[u8]) -> Result<Outcome, DamagedRecord> {
        let partition = self.partition;
        self.take(record).map_err(|source| DamagedRecord { partition, offset, source })
    }

    /// Whether a keyframe has been complete, so that the partition can be read.
    pub fn is_ready(&self) -> bool {
        self.progress.is_some()
    }

    /// How far it has come; `None` until it is ready.
    pub fn progress(&self) -> Option<&Progress> {
        self.progress.as_ref()
    }

    /// Deltas that could not be applied because something before them is missing.
    pub fn gaps(&self) -> u64 {
        self.gaps
    }

    fn take(&mut self, mut record: &[u8]) -> Result<Outcome, FeedError> {
        let header = Header::take(&mut record)?;
        header.settings.check(&self.settings)?;
        if header.partition != self.partition {
            let (found, wanted) = (header.partition, self.partition);
            return Err(FeedError::Partition { found, wanted });
        }
        let mut run = self.take_run(&header);
        let outcome = self.part(&mut run, &header, record);
        if outcome.is_err() {
            run.pass(Outcome::Partial);
        }
        self.runs.push(run);
        if outcome == Ok(Outcome::Published) {
            self.forget_days_under_way(header.progress.next);
        }
        outcome
    }

    /// The run that a record belongs to, taken out of the list.
    fn take_run(&mut self, header: &Header) -> Run {
        if let Some(at) = self.runs.iter().position(|run| run.writer == header.writer) {
            return self.runs.remove(at);
        }
        if self.runs.len() == MAX_RUNS {
            self.runs.remove(0);
        }
        Run::start(header)
    }

    /// Flushes that go no further than the position will be passed over.
    fn forget_days_under_way(&mut self, position: Offset) {
        for run in self.runs.iter_mut().filter(|run| run.to <= position) {
            run.open_day = None;
        }
    }

    fn part(&mut self, run: &mut Run, header: &Header, body: &[u8]) -> Result<Outcome, FeedError> {
        if let Some(passed) = run.admit(header) {
            return Ok(passed);
        }
        if let Some(passed) = self.judge(header) {
            run.pass(passed);
            self.gaps += u64::from(passed == Outcome::Gap);
            return Ok(passed);
        }
        self.unpacker.take(body, &mut self.plain)?;
        self.contents.take(&self.plain, header, self.slots)?;
        self.apply_contents(run, header)
    }

    /// Why a flush is passed over, if it is, going by what it covers.
    fn judge(&self, header: &Header) -> Option<Outcome> {
        let position = self.progress.map(|progress| progress.next);
        match (header.kind, position) {
            (_, Some(position)) if header.progress.next <= position => Some(Outcome::Known),
            (FlushKind::Delta { from }, Some(position)) if from > position => Some(Outcome::Gap),
            (FlushKind::Delta { .. }, None) => Some(Outcome::Early),
            _ => None,
        }
    }

    /// Applies a part to its end.
    fn apply_contents(&mut self, run: &mut Run, header: &Header) -> Result<Outcome, FeedError> {
        // All days first: if they cannot be put together, nothing is applied.
        let mut closed = Vec::new();
        for piece in self.contents.days.drain(..) {
            closed.extend(run.add_day(piece)?);
        }
        if header.last && run.open_day.is_some() {
            return Err(FeedError::Malformed("the flush ends in the middle of a closed day"));
        }
        for day in closed {
            self.days.insert(day.date);
            self.writer.day_closed(&day);
        }
        let Self { contents, writer, .. } = self;
        contents.entities(&header.progress, |entity, change| writer.change(entity, change));
        if !header.last {
            return Ok(Outcome::Applied);
        }
        self.publish(&header.progress);
        Ok(Outcome::Published)
    }

    /// Ends a flush.
    fn publish(&mut self, progress: &Progress) {
        // Another writer may have dropped more.
        let dropped = self.progress.and_then(|known| known.dropped_until);
        let progress =
            &Progress { dropped_until: progress.dropped_until.max(dropped), ..*progress };
        // A delta that drops a day may be among those missed.
        let first_kept =
            progress.newest_date.map(|newest| self.writer.shape().dates_kept(newest).0);
        let old = self.days.iter().copied().filter(|&date| Some(date) < first_kept);
        let old: Vec<BusinessDate> = old.chain(self.contents.dropped.drain(..)).collect();
        for date in old {
            self.days.remove(&date);
            self.writer.day_dropped(date);
        }
        self.writer.progress(progress);
        if self.progress.replace(*progress).is_none() {
            self.writer.ready();
        }
    }
}
