//! Writing the feed of a partition.

use std::sync::Arc;

use bytes::Bytes;
use model::{BusinessDate, MAX_RECORD_BYTES, Offset, Partition};
use window::{Config, EntityUpdate, FinalDay, FinalIndex, Progress, Settings, Sink};

use super::{
    body::Body,
    codec::{FlushKind, Header, OVERHEAD, WriterId, record},
    packing::Packer,
};

/// How large records become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedLimits {
    /// A record ends before it has more bytes than this before packing, unless it is one entity that has.
    pub target_bytes: usize,
    /// No record has more bytes than this, packed or not; [`MAX_RECORD_BYTES`] at most.
    pub max_bytes: usize,
}

impl Default for FeedLimits {
    fn default() -> Self {
        Self { target_bytes: 256 << 10, max_bytes: MAX_RECORD_BYTES }
    }
}

/// Makes the records of the feed of one partition: one run of one worker.
///
/// Records must be appended in the order in which they are made. An append that may have
/// failed is sent again; what is there twice is passed over. If one is given up, call
/// [`FeedWriter::lost`].
#[derive(Debug)]
pub struct FeedWriter {
    id: WriterId,
    partition: Partition,
    settings: Settings,
    limits: FeedLimits,
    /// Number of the next flush.
    flush: u64,
    /// Where the last flush ended; `None` if there is nothing a delta could go on from.
    flushed: Option<Offset>,
    keyframe: Option<Offset>,
    body: Body,
    plain: Vec<u8>,
    packer: Packer,
}

impl FeedWriter {
    /// A writer whose first flush has to be a keyframe.
    ///
    /// `id` must be drawn at random for each run. `keyframe` is the last one known to be complete, as
    /// [`super::Replica::start`] reads it from the last record of the feed.
    pub fn new(
        config: &Config,
        partition: Partition,
        id: WriterId,
        limits: FeedLimits,
        keyframe: Option<Offset>,
    ) -> Self {
        let limits = FeedLimits { max_bytes: limits.max_bytes.min(MAX_RECORD_BYTES), ..limits };
        let settings = Settings::of(config);
        Self {
            id,
            partition,
            settings,
            limits,
            flush: 0,
            flushed: None,
            keyframe,
            body: Body::default(),
            plain: Vec::new(),
            packer: Packer::default(),
        }
    }

    /// Whether the next flush has to be a keyframe: at first, after [`FeedWriter::lost`], and after a
    /// flush that did not come to its end, or had an entity that fits no record.
    pub fn wants_keyframe(&self) -> bool {
        self.flushed.is_none()
    }

    /// Starts a delta, for [`window::Aggregator::flush`] to write into. `progress` is that of the core;
    /// `emit` takes each record as it is made.
    ///
    /// # Panics
    /// If a keyframe is wanted.
    pub fn delta<E: FnMut(Bytes)>(&mut self, progress: &Progress, emit: E) -> Flush<'_, E> {
        let from = self.flushed.take().expect("a keyframe comes first");
        self.begin(FlushKind::Delta { from }, progress, emit)
    }

    /// Starts a keyframe, for [`window::Aggregator::flush_all`] to write into; otherwise as
    /// [`FeedWriter::delta`].
    pub fn keyframe<E: FnMut(Bytes)>(&mut self, progress: &Progress, emit: E) -> Flush<'_, E> {
        self.flushed = None;
        self.begin(FlushKind::Keyframe, progress, emit)
    }

    fn begin<E: FnMut(Bytes)>(
        &mut self,
        kind: FlushKind,
        progress: &Progress,
        emit: E,
    ) -> Flush<'_, E> {
        let header = Header {
            kind,
            last: false,
            writer: self.id,
            settings: self.settings,
            partition: self.partition,
            flush: self.flush,
            part: 0,
            progress: *progress,
            keyframe: self.keyframe,
        };
        self.flush += 1;
        self.body.clear();
        Flush { writer: self, header, dropped: Vec::new(), fits: true, emit }
    }

    /// All records of a keyframe have been appended, the first of them at `begins_at` in the feed: this is
    /// where new replicas start from now on. Gives `false` if they do not, as it had an entity that fits no record:
    /// it has no end then, and replicas go on starting at the one before.
    pub fn keyframe_acknowledged(&mut self, begins_at: Offset) -> bool {
        let complete = !self.wants_keyframe();
        if complete {
            self.keyframe = Some(begins_at);
        }
        complete
    }

    /// A record will not be appended: replicas would miss it, so the next flush has to be a keyframe.
    pub fn lost(&mut self) {
        self.flushed = None;
    }
}

/// A flush being written. It ends with [`Sink::progress`]; dropped before, it has not happened.
#[derive(Debug)]
pub struct Flush<'a, E> {
    writer: &'a mut FeedWriter,
    header: Header,
    dropped: Vec<BusinessDate>,
    /// Whether all records have been within the limit.
    fits: bool,
    emit: E,
}

impl<E: FnMut(Bytes)> Flush<'_, E> {
    /// Emits a record of what there is.
    fn emit(&mut self) {
        let FeedWriter { body, plain, packer, limits, .. } = &mut *self.writer;
        let dropped = if self.header.last { self.dropped.as_slice() } else { &[] };
        plain.clear();
        body.put(plain, dropped);
        body.clear();
        let record = record(&self.header, plain, packer);
        self.fits &= record.len().max(plain.len()) <= limits.max_bytes;
        // Without one part the others are of no use, and the flush does not end.
        if self.fits {
            (self.emit)(record.into());
        }
        self.header.part += 1;
    }

    /// Leaves room for `bytes` more.
    fn make_room(&mut self, bytes: usize) {
        if self.writer.body.len() > 0
            && self.writer.body.len() + bytes > self.writer.limits.target_bytes
        {
            self.emit();
        }
    }

    fn day_lists(&mut self, date: BusinessDate, items: bool, lists: &FinalIndex) {
        let mut pieces = lists.pieces(self.writer.limits.target_bytes).peekable();
        while let Some(piece) = pieces.next() {
            self.make_room(OVERHEAD + piece.bytes());
            self.writer.body.day(date, items, items && pieces.peek().is_none(), &piece);
        }
    }
}

impl<E: FnMut(Bytes)> Sink for Flush<'_, E> {
    fn day_closed(&mut self, day: &Arc<FinalDay>) {
        self.day_lists(day.date, false, &day.stores);
        self.day_lists(day.date, true, &day.items);
    }

    fn day_dropped(&mut self, date: BusinessDate) {
        self.dropped.push(date);
    }

    /// Adds the values of an entity. Its stamp and progress are those of the flush.
    fn entity(&mut self, update: EntityUpdate<'_>) {
        let FeedWriter { body, limits, .. } = &mut *self.writer;
        let bytes = body.stage(&update);
        if body.len() > 0 && body.len() + bytes > limits.target_bytes {
            self.emit();
            self.writer.body.stage(&update);
        }
        self.writer.body.add_staged();
    }

    fn progress(&mut self, progress: &Progress) {
        debug_assert_eq!(*progress, self.header.progress, "the flush was started with it");
        self.header.last = true;
        self.emit();
        self.writer.flushed = self.fits.then_some(progress.next);
    }
}
