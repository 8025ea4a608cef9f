//! The view itself: reading and waiting.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use model::{BusinessDate, Offset, Partition, PartitionCount, Position, Timestamp};
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use window::{Config, Entry, Progress, WindowKind};

use crate::{
    as_of::AsOf,
    cell::Cell,
    chain::Days,
    finals::Finals,
    index::{Index, IndexKind},
    query::{Query, ReadError, Span, Subject, WaitError, Window},
    reading::Reading,
    render::{self, RenderBudget, Rendered, Source, Text},
    rows,
    shape::Shape,
    writer::PartitionWriter,
};

/// Settings of a view.
#[derive(Debug, Clone)]
pub struct ViewConfig {
    /// Partitions of the stream.
    pub partitions: PartitionCount,
    /// The settings of the aggregation that fills the view.
    pub window: Config,
    /// The most bytes of rendered answers kept for the next reader.
    pub max_rendered_bytes: usize,
}

/// What the log holds, for telling how far the view lags behind.
pub trait StreamEnd: fmt::Debug + Send + Sync {
    /// Offset the next batch of the partition will get.
    fn next_offset(&self, partition: Partition) -> Offset;

    /// How long ago it was last known that there is nothing from that offset on. Zero for a log of this process.
    fn unconfirmed(&self, partition: Partition) -> Duration {
        let _ = partition;
        Duration::ZERO
    }
}

/// All current top lists, in memory, readable while they change.
///
/// Each partition is written by one [`PartitionWriter`], on a thread of its own. Readers take at most the
/// lock of one shard of a map, for as long as it takes to rank one entity's rows.
#[derive(Debug)]
pub struct View {
    pub(crate) shape: Shape,
    count: PartitionCount,
    pub(crate) partitions: Box<[PartitionState]>,
    /// Partitions not ready.
    missing: AtomicU32,
    /// Days of the newest date any partition has seen; `i32::MIN` before the first.
    newest_date: AtomicI32,
    /// The same for each partition, to tell `newest_date` from.
    newest_dates: Mutex<Box<[i32]>>,
    stores: Index,
    items: Index,
    pub(crate) finals: Finals,
    budget: RenderBudget,
    end: Arc<dyn StreamEnd>,
    created: Timestamp,
    counters: Counters,
}

#[derive(Debug)]
pub(crate) struct PartitionState {
    /// Everything before `next` is in the lists.
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) ready: AtomicBool,
    /// Whether a writer exists.
    pub(crate) taken: AtomicBool,
    /// Whether entities may have a part of the partition.
    pub(crate) filled: AtomicBool,
}

#[derive(Debug, Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    rows: AtomicI64,
    bytes: AtomicI64,
}

/// The size of a view, and how often its rendered answers were used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Stores known.
    pub stores: usize,
    /// Items known.
    pub items: usize,
    /// Rows held: (store, item) pairs, counted once for the store and once for the item.
    pub rows: usize,
    /// Bytes held by cells and rows, without the spare room of the maps.
    pub bytes: usize,
    /// Closed days held, counted once for each partition.
    pub closed_days: usize,
    /// Bytes held by closed days.
    pub closed_day_bytes: usize,
    /// Bytes held by rendered answers.
    pub rendered_bytes: usize,
    /// Answers that were rendered before.
    pub render_hits: u64,
    /// Answers that had to be rendered.
    pub render_misses: u64,
}

/// A list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// The window it is about.
    pub window: Window,
    /// Ids and counts, in rank order; no count is 0.
    pub entries: Vec<Entry>,
    /// How current it is.
    pub as_of: AsOf,
}

/// A list, written.
#[derive(Debug, Clone)]
pub struct Answer {
    text: Text,
    as_of: AsOf,
}

impl Answer {
    /// The JSON document.
    pub fn body(&self) -> Bytes {
        self.text.body.clone()
    }

    /// What it says of the position: the text of [`AsOf::position_text`].
    pub fn position_text(&self) -> &Bytes {
        &self.text.position
    }

    /// The entity tag, in the form of the HTTP header. It covers all but `asOf`, so it is a weak one
    /// where there is an `asOf`.
    pub fn etag(&self) -> &Bytes {
        &self.text.etag
    }

    /// How current it is.
    pub fn as_of(&self) -> &AsOf {
        &self.as_of
    }
}

/// Where the list of a subject is.
#[derive(Clone, Copy)]
enum Place {
    Entity(IndexKind, u64),
    Chain(IndexKind),
}

impl Place {
    fn of(subject: Subject) -> Self {
        match subject {
            Subject::Store(store) => Self::Entity(IndexKind::Stores, u64::from(store.0)),
            Subject::Item(item) => Self::Entity(IndexKind::Items, item.0),
            Subject::TopItems => Self::Chain(IndexKind::Items),
            Subject::TopStores => Self::Chain(IndexKind::Stores),
        }
    }
}

impl View {
    /// An empty view, no partition of which is ready.
    pub fn new(config: &ViewConfig, end: Arc<dyn StreamEnd>) -> Arc<Self> {
        let shape = Shape::new(&config.window);
        let partitions = config.partitions.iter().map(|_| PartitionState {
            progress: watch::Sender::new(Progress::default()),
            ready: AtomicBool::new(false),
            taken: AtomicBool::new(false),
            filled: AtomicBool::new(false),
        });
        Arc::new(Self {
            count: config.partitions,
            partitions: partitions.collect(),
            missing: AtomicU32::new(config.partitions.get()),
            newest_date: AtomicI32::new(i32::MIN),
            newest_dates: Mutex::new(config.partitions.iter().map(|_| i32::MIN).collect()),
            stores: Index::new(IndexKind::Stores, &shape),
            items: Index::new(IndexKind::Items, &shape),
            finals: Finals::new(config.partitions),
            budget: RenderBudget::new(config.max_rendered_bytes),
            end,
            created: Timestamp::now(),
            counters: Counters::default(),
            shape,
        })
    }

    /// The writer of a partition.
    ///
    /// # Panics
    /// If there is no such partition, or if it has a writer already.
    pub fn writer(self: &Arc<Self>, partition: Partition) -> PartitionWriter {
        PartitionWriter::new(self.clone(), partition)
    }

    /// Whether all partitions are ready.
    pub fn is_ready(&self) -> bool {
        self.missing.load(Ordering::SeqCst) == 0
    }

    /// The kinds of windows kept.
    pub fn kinds(&self) -> &[WindowKind] {
        self.shape.layout.kinds()
    }

    /// The longest list kept.
    pub fn max_k(&self) -> u32 {
        self.shape.max_k as u32
    }

    /// What the view has of all partitions.
    pub fn position(&self) -> Position {
        let partitions = (0_u32..).map(Partition).zip(&self.partitions);
        partitions.map(|(p, state)| (p, state.progress.borrow().next)).collect()
    }

    /// How far a partition has been applied.
    ///
    /// # Panics
    /// If there is no such partition.
    pub fn progress(&self, partition: Partition) -> Progress {
        *self.partitions[partition.0 as usize].progress.borrow()
    }

    /// Waits until the view has `position`, at most for `timeout`.
    ///
    /// # Errors
    /// [`WaitError`] if it has not come so far in time, or never can.
    pub async fn wait_for(&self, position: &Position, timeout: Duration) -> Result<(), WaitError> {
        let last = Partition(self.partitions.len() as u32 - 1);
        if let Some((partition, _)) = position.iter().find(|&(p, _)| p > last) {
            return Err(WaitError::UnknownPartition { partition, last });
        }
        let deadline = Instant::now() + timeout;
        for (partition, wanted) in position.iter() {
            let mut progress = self.partitions[partition.0 as usize].progress.subscribe();
            let applied = progress.wait_for(|progress| progress.next >= wanted);
            if timeout_at(deadline, applied).await.is_err() {
                let have = self.progress(partition).next;
                return Err(WaitError::NotYet { partition, have, wanted });
            }
        }
        Ok(())
    }

    /// Reads a list.
    ///
    /// `now` tells how old the answer is, if it is not current. May scan all entities if
    /// the list is a chain-wide one; see [`View::answer_cached`].
    ///
    /// # Errors
    /// [`ReadError`] says why there is none.
    pub fn list(&self, query: &Query, now: Timestamp) -> Result<List, ReadError> {
        let reading = self.begin(query, now)?;
        let (list, _) = self.read(query, reading)?;
        Ok(list)
    }

    /// Reads a list and writes it, or takes it from the answers written before.
    ///
    /// # Errors
    /// As [`View::list`].
    pub fn answer(&self, query: &Query, now: Timestamp) -> Result<Answer, ReadError> {
        if let Some(answer) = self.answer_cached(query, now)? {
            return Ok(answer);
        }
        self.counters.misses.fetch_add(1, Ordering::Relaxed);
        let reading = self.begin(query, now)?;
        let (list, source) = self.read(query, reading)?;
        let body = render::render(query, &list.window, &list.entries);
        let rendered = Rendered::new(*query, source, body, list.as_of.clone());
        let answer = Answer { text: rendered.text(), as_of: list.as_of };
        self.keep(rendered);
        Ok(answer)
    }

    /// The answer, if it was written before and nothing has changed since. Never takes long.
    ///
    /// # Errors
    /// As [`View::list`], but an entity never seen is no error here.
    pub fn answer_cached(
        &self,
        query: &Query,
        now: Timestamp,
    ) -> Result<Option<Answer>, ReadError> {
        let mut reading = self.begin(query, now)?;
        let text = match Place::of(query.subject) {
            Place::Entity(kind, id) => self.index(kind).cells.get(&id).and_then(|cell| {
                reading.see(&cell);
                let source = reading.source(cell.version);
                cell.rendered.lock().get(query, &source, &reading.as_of)
            }),
            Place::Chain(kind) => {
                let chain = &self.index(kind).chain;
                let version = chain.version();
                reading.clock = reading.clock.max(chain.clock());
                chain.rendered.lock().get(query, &reading.source(version), &reading.as_of)
            }
        };
        if text.is_some() {
            self.counters.hits.fetch_add(1, Ordering::Relaxed);
        }
        Ok(text.map(|text| Answer { text, as_of: reading.as_of }))
    }

    /// Its size now. Walks the shards of the maps; for a scrape, not for a hot path.
    pub fn stats(&self) -> Stats {
        let (closed_days, closed_day_bytes) = self.finals.size();
        let (stores, items) = (self.stores.cells.len(), self.items.cells.len());
        let held = self.counters.bytes.load(Ordering::Relaxed) as usize;
        Stats {
            stores,
            items,
            rows: self.counters.rows.load(Ordering::Relaxed) as usize,
            bytes: held + (stores + items) * Cell::base_bytes(self.shape.slots),
            closed_days,
            closed_day_bytes,
            rendered_bytes: self.budget.bytes(),
            render_hits: self.counters.hits.load(Ordering::Relaxed),
            render_misses: self.counters.misses.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn index(&self, kind: IndexKind) -> &Index {
        match kind {
            IndexKind::Stores => &self.stores,
            IndexKind::Items => &self.items,
        }
    }

    /// The newest date any partition has seen.
    pub(crate) fn newest_date(&self) -> Option<BusinessDate> {
        BusinessDate::from_days(self.newest_date.load(Ordering::SeqCst))
    }

    /// What the chain-wide lists of days are made from, besides the cells.
    pub(crate) fn days(&self) -> Days<'_> {
        Days { finals: &self.finals, shape: &self.shape, partitions: &self.partitions }
    }

    /// A partition has seen `date`.
    pub(crate) fn raise_newest_date(&self, partition: Partition, date: BusinessDate) {
        let mut dates = self.newest_dates.lock();
        let known = &mut dates[partition.0 as usize];
        *known = date.days().max(*known);
        self.newest_date.fetch_max(date.days(), Ordering::SeqCst);
    }

    /// What the partition has seen is forgotten.
    pub(crate) fn forget_newest_date(&self, partition: Partition) {
        let mut dates = self.newest_dates.lock();
        dates[partition.0 as usize] = i32::MIN;
        let newest = dates.iter().copied().max().unwrap_or(i32::MIN);
        self.newest_date.store(newest, Ordering::SeqCst);
    }

    pub(crate) fn set_ready(&self, partition: Partition, ready: bool) {
        let was = self.partitions[partition.0 as usize].ready.swap(ready, Ordering::SeqCst);
        match (was, ready) {
            (false, true) => self.missing.fetch_sub(1, Ordering::SeqCst),
            (true, false) => self.missing.fetch_add(1, Ordering::SeqCst),
            _ => 0,
        };
    }

    pub(crate) fn add_size(&self, rows: isize, bytes: isize) {
        self.counters.rows.fetch_add(rows as i64, Ordering::Relaxed);
        self.counters.bytes.fetch_add(bytes as i64, Ordering::Relaxed);
    }

    /// Checks the query and notes the state of the partitions concerned.
    fn begin(&self, query: &Query, now: Timestamp) -> Result<Reading, ReadError> {
        self.check_ready()?;
        if !(1..=self.max_k()).contains(&query.k) {
            return Err(ReadError::LengthOutOfRange { k: query.k, max: self.max_k() });
        }
        let span = self.span(query)?;
        let mut reading = Reading::new(query.kind, span, self.concerned(query.subject));
        for p in reading.partitions.clone().map(Partition) {
            let progress = self.progress(p);
            reading.add(p, &progress, self.lag_at(p, &progress, now));
            if let Span::Day(date) = span {
                reading.is_final &= self.shape.is_closed(date, progress.newest_date)
                    || self.finals.contains(p, date);
            }
        }
        Ok(reading)
    }

    fn span(&self, query: &Query) -> Result<Span, ReadError> {
        let kind = query.kind;
        if !self.shape.keeps(kind) {
            return Err(ReadError::WindowNotKept { kind, kept: self.kinds().to_vec() });
        }
        if let Some(slot) = self.shape.layout.slot(kind) {
            return Ok(Span::Slot(slot));
        }
        match (query.date.or_else(|| self.newest_date()), query.subject) {
            (Some(date), _) => self.check_date(date).map(|()| Span::Day(date)),
            (None, subject) => Err(unknown(subject)),
        }
    }

    fn check_ready(&self) -> Result<(), ReadError> {
        match self.missing.load(Ordering::SeqCst) {
            0 => Ok(()),
            missing => {
                let partitions = self.partitions.len() as u32;
                Err(ReadError::NotReady { missing, partitions })
            }
        }
    }

    fn check_date(&self, date: BusinessDate) -> Result<(), ReadError> {
        let (first, last) = self.shape.dates_kept(self.newest_date().ok_or(ReadError::NoDate)?);
        // What was dropped when days were kept for less long, or is by the workers, is not there.
        let dropped =
            self.partitions.iter().filter_map(|p| p.progress.borrow().dropped_until).max();
        let first = dropped.map_or(first, |dropped| first.max(dropped.plus_days(1)));
        if date < first || date > last {
            return Err(ReadError::DateNotKept { date, first, last });
        }
        Ok(())
    }

    /// The partitions that have to do with a subject.
    fn concerned(&self, subject: Subject) -> Range<u32> {
        let count = self.partitions.len() as u32;
        match subject {
            Subject::Store(store) => {
                let p = self.count.of(store).0;
                p..p + 1
            }
            _ => 0..count,
        }
    }

    /// At most so old are the answers about a partition at `now`: see [`AsOf::lag`].
    ///
    /// # Panics
    /// If there is no such partition.
    pub fn lag(&self, partition: Partition, now: Timestamp) -> Duration {
        self.lag_at(partition, &self.progress(partition), now)
    }

    fn lag_at(&self, partition: Partition, progress: &Progress, now: Timestamp) -> Duration {
        let unconfirmed = self.end.unconfirmed(partition);
        if progress.next >= self.end.next_offset(partition) {
            return unconfirmed;
        }
        // Nothing applied: the log was empty when the view was made.
        unconfirmed.max(now.since(progress.append_time.unwrap_or(self.created)))
    }

    fn read(&self, query: &Query, mut reading: Reading) -> Result<(List, Source), ReadError> {
        let k = query.k as usize;
        let (entries, version) = match Place::of(query.subject) {
            Place::Entity(kind, id) => {
                let index = self.index(kind);
                let cell = index.cells.get(&id).filter(|cell| !cell.parts.is_empty());
                let cell = cell.ok_or_else(|| unknown(query.subject))?;
                reading.see(&cell);
                (rows::top(self.entries(kind, id, &cell, &reading), k), cell.version)
            }
            Place::Chain(kind) => {
                let Index { chain, cells, .. } = self.index(kind);
                let list = chain.list(reading.span, k, &self.days(), cells);
                reading.clock = reading.clock.max(chain.clock());
                (list.entries, list.version)
            }
        };
        // Meanwhile the day may have been dropped, or a partition have started anew.
        self.check_ready()?;
        reading.date().map_or(Ok(()), |date| self.check_date(date))?;
        let source = reading.source(version);
        Ok((List { window: source.window, entries, as_of: reading.as_of }, source))
    }

    /// All rows of an entity that count in the window, in no order.
    ///
    /// The lock of the cell is held: a day that is not found closed has not been closed, so its slot
    /// has not been taken by another date.
    fn entries(&self, kind: IndexKind, id: u64, cell: &Cell, reading: &Reading) -> Vec<Entry> {
        let mut entries = Vec::new();
        for partition in reading.partitions.clone().map(Partition) {
            let part = cell.part(partition);
            let slot = match reading.span {
                Span::Slot(slot) => Some(slot),
                Span::Day(date) => {
                    if let Some(day) = self.finals.get(partition, date) {
                        entries.extend(kind.of(&day).get(id).map_or(Vec::new(), |(_, list)| list));
                        continue;
                    }
                    part.and_then(|part| self.shape.open_slot(date, part.newest_date))
                }
            };
            if let (Some(part), Some(slot)) = (part, slot) {
                part.rows.collect_into(slot, self.shape.slots, &mut entries);
            }
        }
        entries
    }

    /// Keeps an answer for the next reader.
    fn keep(&self, rendered: Rendered) {
        match Place::of(rendered.query.subject) {
            Place::Chain(kind) => {
                self.index(kind).chain.rendered.lock().put(rendered);
            }
            Place::Entity(kind, id) => {
                if let Some(cell) = self.index(kind).cells.get(&id) {
                    let cache = &mut *cell.rendered.lock();
                    let gained = cache.put(rendered);
                    self.budget.add((kind, id), cache, gained);
                }
                while let Some((kind, id)) = self.budget.victim() {
                    if let Some(cell) = self.index(kind).cells.get(&id) {
                        self.budget.evict(&mut cell.rendered.lock());
                    }
                }
            }
        }
    }
}

fn unknown(subject: Subject) -> ReadError {
    match subject {
        Subject::Store(store) => ReadError::UnknownStore(store),
        Subject::Item(item) => ReadError::UnknownItem(item),
        Subject::TopItems | Subject::TopStores => ReadError::NoDate,
    }
}
