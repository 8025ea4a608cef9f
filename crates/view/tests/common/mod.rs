//! A truth of its own: counts of all pairs, from which it makes what the core would hand on, and what the
//! view must then answer.

#![allow(dead_code, reason = "each test uses a part")]

pub(crate) mod feed;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use model::{BusinessDate, ItemId, Offset, Partition, PartitionCount, StoreId, Timestamp};
use view::{PartitionWriter, StreamEnd, Subject, View, ViewConfig};
use window::{
    Config, Entity, EntityUpdate, Entry, FinalDay, FinalIndex, Layout, Progress, Sink, WindowKind,
};

pub(crate) const STORES: u32 = 24;
pub(crate) const ITEMS: u64 = 30;
pub(crate) const LATENESS: i32 = 2;
pub(crate) const RETENTION: i32 = 4;
/// Append time of the batch before offset 0.
pub(crate) const EPOCH: i64 = 1_000_000_000_000;

pub(crate) fn partitions() -> PartitionCount {
    PartitionCount::new(3).unwrap()
}

pub(crate) fn base_date() -> BusinessDate {
    "20210101".parse().unwrap()
}

pub(crate) fn config() -> ViewConfig {
    ViewConfig {
        partitions: partitions(),
        window: Config {
            kinds: vec![WindowKind::All, WindowKind::Day, WindowKind::Hour1],
            k: 3,
            lateness_days: LATENESS as u32,
            day_retention_days: RETENTION as u32,
            ..Config::default()
        },
        max_rendered_bytes: 20_000,
    }
}

/// What the log has: set by the test.
#[derive(Debug, Default)]
pub(crate) struct Ends(pub(crate) [AtomicU64; 3]);

impl StreamEnd for Ends {
    fn next_offset(&self, partition: Partition) -> Offset {
        Offset(self.0[partition.0 as usize].load(Ordering::SeqCst))
    }
}

/// A view with all its writers, ready.
pub(crate) fn ready_view() -> (Arc<View>, Vec<PartitionWriter>, Arc<Ends>) {
    let ends = Arc::new(Ends::default());
    let view = View::new(&config(), ends.clone());
    let mut writers: Vec<_> = partitions().iter().map(|p| view.writer(p)).collect();
    writers.iter_mut().for_each(PartitionWriter::ready);
    (view, writers, ends)
}

/// The first store of a partition.
pub(crate) fn store_of(partition: Partition) -> StoreId {
    (0..STORES).map(StoreId).find(|&store| partitions().of(store) == partition).unwrap()
}

/// Makes the calls of a flush.
pub(crate) fn tell(calls: &[Call], sink: &mut impl Sink) {
    for call in calls {
        call.make(sink);
    }
}

/// A step of what the core hands on, to be told again later.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    Closed(Arc<FinalDay>),
    Dropped(BusinessDate),
    Entity(OwnedUpdate),
    Progress(Progress),
}

#[derive(Debug, Clone)]
pub(crate) struct OwnedUpdate {
    pub(crate) entity: Entity,
    pub(crate) stamp: Offset,
    pub(crate) progress: Progress,
    pub(crate) replace: bool,
    pub(crate) totals: Vec<u64>,
    pub(crate) ids: Vec<u64>,
    pub(crate) counts: Vec<u64>,
    pub(crate) removed: Vec<u64>,
}

impl Call {
    pub(crate) fn make(&self, sink: &mut impl Sink) {
        match self {
            Self::Closed(day) => sink.day_closed(day),
            Self::Dropped(date) => sink.day_dropped(*date),
            Self::Progress(progress) => sink.progress(progress),
            Self::Entity(update) => sink.entity(EntityUpdate {
                entity: update.entity,
                stamp: update.stamp,
                progress: &update.progress,
                replace: update.replace,
                complete: false,
                totals: &update.totals,
                ids: &update.ids,
                counts: &update.counts,
                removed: &update.removed,
            }),
        }
    }
}

/// A line sold, or counts that leave the hour.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    /// So many, on a date so many days before the newest.
    Sale { store: u32, item: u64, quantity: u64, back: i32 },
    /// The counts of the pair in the last hour fall to a part of what they are.
    Expire { store: u32, item: u64, divisor: u64 },
}

/// What happens in a partition between two flushes.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) before: Vec<Event>,
    /// The newest date moves on by so many days.
    pub(crate) turn: i32,
    pub(crate) after: Vec<Event>,
    /// Bits that choose among what the protocol leaves open.
    pub(crate) choices: u64,
}

#[derive(Debug, Clone, Default)]
struct Pair {
    all: u64,
    hour: u64,
    days: BTreeMap<BusinessDate, u64>,
}

/// All that is true of one partition.
#[derive(Debug, Clone)]
pub(crate) struct Truth {
    layout: Layout,
    k: usize,
    pub(crate) progress: Progress,
    pairs: BTreeMap<(u32, u64), Pair>,
    /// Rows handed on and not removed, by entity.
    sent: BTreeMap<Entity, BTreeSet<u64>>,
    finals: BTreeSet<BusinessDate>,
}

impl Truth {
    pub(crate) fn new() -> Self {
        let config = config().window;
        Self {
            layout: Layout::new(&config),
            k: config.k as usize,
            progress: Progress::default(),
            pairs: BTreeMap::new(),
            sent: BTreeMap::new(),
            finals: BTreeSet::new(),
        }
    }

    fn newest(&self) -> BusinessDate {
        self.progress.newest_date.unwrap_or_else(base_date)
    }

    /// Takes the step, and gives the flush that tells of it.
    pub(crate) fn step(&mut self, step: &Step) -> Vec<Call> {
        let mut touched = BTreeSet::new();
        let before = self.newest();
        self.progress.newest_date = Some(before);
        self.events(&step.before, &mut touched);
        self.progress.newest_date = Some(before.plus_days(step.turn));
        let mut calls = self.close(before);
        self.events(&step.after, &mut touched);

        let next = self.progress.next.0 + 2 + step.choices % 3;
        let stamp = Offset(next - step.choices % 2);
        let clock = Timestamp::from_millis(EPOCH + (next * 7000) as i64);
        self.progress = Progress {
            next: Offset(next),
            append_time: clock,
            clock,
            watermark: clock.map(|clock| clock.minus(std::time::Duration::from_secs(5))),
            ..self.progress
        };
        let entities: BTreeSet<Entity> = touched
            .iter()
            .flat_map(|&(s, i)| [Entity::Store(StoreId(s)), Entity::Item(ItemId(i))])
            .collect();
        for entity in entities {
            let update = self.update(entity, &touched, stamp, step.choices);
            calls.push(Call::Entity(update));
        }
        calls.push(Call::Progress(self.progress));
        calls
    }

    fn events(&mut self, events: &[Event], touched: &mut BTreeSet<(u32, u64)>) {
        let newest = self.newest();
        for event in events {
            match *event {
                Event::Sale { store, item, quantity, back } => {
                    let pair = self.pairs.entry((store, item)).or_default();
                    pair.all += quantity;
                    pair.hour += quantity;
                    *pair.days.entry(newest.plus_days(-back)).or_default() += quantity;
                    touched.insert((store, item));
                }
                Event::Expire { store, item, divisor } => {
                    if let Some(pair) = self.pairs.get_mut(&(store, item)) {
                        pair.hour /= divisor;
                        touched.insert((store, item));
                    }
                }
            }
        }
    }

    fn close(&mut self, before: BusinessDate) -> Vec<Call> {
        let newest = self.newest();
        let mut calls = Vec::new();
        for date in self.layout.open_dates(before).collect::<Vec<_>>() {
            if !self.layout.is_open(date, newest) {
                self.finals.insert(date);
                calls.push(Call::Closed(Arc::new(self.final_day(date))));
            }
        }
        let (dropped, kept) =
            self.finals.iter().partition(|date| newest.days() - date.days() >= RETENTION);
        self.finals = kept;
        calls.extend(BTreeSet::into_iter(dropped).map(Call::Dropped));
        calls
    }

    fn final_day(&self, date: BusinessDate) -> FinalDay {
        let index = |entities: BTreeSet<Entity>, id: fn(Entity) -> u64| {
            let mut index = FinalIndex::default();
            for entity in entities {
                let rows = self.counts(entity, |pair| pair.days.get(&date).copied().unwrap_or(0));
                let total = rows.iter().map(|row| row.1).sum();
                if total > 0 {
                    index.push(id(entity), total, &top(rows, self.k));
                }
            }
            index
        };
        let id = |entity| match entity {
            Entity::Store(store) => u64::from(store.0),
            Entity::Item(item) => item.0,
        };
        let stores = self.pairs.keys().map(|&(s, _)| Entity::Store(StoreId(s))).collect();
        let items = self.pairs.keys().map(|&(_, i)| Entity::Item(ItemId(i))).collect();
        FinalDay { date, stores: index(stores, id), items: index(items, id) }
    }

    /// Counts of all rows of an entity.
    fn counts(&self, entity: Entity, count: impl Fn(&Pair) -> u64) -> Vec<Entry> {
        let row = |(&(store, item), pair): (&(u32, u64), &Pair)| match entity {
            Entity::Store(s) => (s.0 == store).then(|| (item, count(pair))),
            Entity::Item(i) => (i.0 == item).then(|| (u64::from(store), count(pair))),
        };
        self.pairs.iter().filter_map(row).collect()
    }

    fn row(&self, pair: &Pair) -> Vec<u64> {
        let mut row = vec![0; self.layout.slots()];
        row[self.layout.slot(WindowKind::All).unwrap()] = pair.all;
        row[self.layout.slot(WindowKind::Hour1).unwrap()] = pair.hour;
        for date in self.layout.open_dates(self.newest()) {
            let count = pair.days.get(&date).copied().unwrap_or(0);
            row[self.layout.day_slot(date).unwrap()] = count;
        }
        row
    }

    fn update(
        &mut self,
        entity: Entity,
        touched: &BTreeSet<(u32, u64)>,
        stamp: Offset,
        choices: u64,
    ) -> OwnedUpdate {
        let rows: BTreeMap<u64, Vec<u64>> = self
            .pairs
            .iter()
            .filter_map(|(&(store, item), pair)| match entity {
                Entity::Store(s) => (s.0 == store).then(|| (item, self.row(pair))),
                Entity::Item(i) => (i.0 == item).then(|| (u64::from(store), self.row(pair))),
            })
            .collect();
        let changed = |id: u64| match entity {
            Entity::Store(s) => touched.contains(&(s.0, id)),
            Entity::Item(i) => touched.contains(&(id as u32, i.0)),
        };
        let slots = self.layout.slots();
        let in_slot = |slot: usize| rows.iter().map(|(&id, row)| (id, row[slot])).collect();
        let needed: BTreeSet<u64> =
            (0..slots).flat_map(|slot| top(in_slot(slot), self.k)).map(|(id, _)| id).collect();
        let replace = choices & 4 == 0;
        let keep = choices & 8 == 0;
        let sent = self.sent.entry(entity).or_default();
        let kept: BTreeSet<u64> =
            if keep { sent.union(&needed).copied().collect() } else { needed };
        let ids: Vec<u64> = kept
            .iter()
            .copied()
            .filter(|&id| replace || changed(id) || !sent.contains(&id))
            .collect();
        let removed = if replace { Vec::new() } else { sent.difference(&kept).copied().collect() };
        *sent = kept;
        OwnedUpdate {
            entity,
            stamp,
            progress: self.progress,
            replace,
            totals: (0..slots).map(|slot| rows.values().map(|row| row[slot]).sum()).collect(),
            counts: ids.iter().flat_map(|id| rows[id].clone()).collect(),
            ids,
            removed,
        }
    }
}

fn top(mut entries: Vec<Entry>, k: usize) -> Vec<Entry> {
    entries.retain(|&(_, count)| count > 0);
    entries.sort_by_key(|&(id, count)| (Reverse(count), id));
    entries.truncate(k);
    entries
}

/// What must be answered, from all counts there are.
pub(crate) fn expected(
    truths: &[Truth],
    subject: Subject,
    kind: WindowKind,
    date: BusinessDate,
    k: usize,
) -> Vec<Entry> {
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    for (&(store, item), pair) in truths.iter().flat_map(|truth| &truth.pairs) {
        let count = match kind {
            WindowKind::All => pair.all,
            WindowKind::Day => pair.days.get(&date).copied().unwrap_or(0),
            _ => pair.hour,
        };
        let id = match subject {
            Subject::Store(s) if s.0 == store => item,
            Subject::Item(i) if i.0 == item => u64::from(store),
            Subject::TopItems => item,
            Subject::TopStores => u64::from(store),
            _ => continue,
        };
        *counts.entry(id).or_default() += count;
    }
    top(counts.into_iter().collect(), k)
}

/// Whether anything was ever sold.
pub(crate) fn is_known(truths: &[Truth], subject: Subject) -> bool {
    match subject {
        Subject::TopItems | Subject::TopStores => true,
        _ => !expected(truths, subject, WindowKind::All, base_date(), 1).is_empty(),
    }
}

/// The newest date any partition has seen.
pub(crate) fn newest(truths: &[Truth]) -> Option<BusinessDate> {
    truths.iter().filter_map(|truth| truth.progress.newest_date).max()
}
