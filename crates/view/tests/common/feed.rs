//! Purchases through real cores, and views that must be equal.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::AtomicU64},
};

use bytes::Bytes;
use model::{
    Batch, BusinessDate, CustomerId, ItemId, Line, Offset, Partition, PartitionCount, ProducerId,
    Purchase, Sequence, StoreId, Timestamp,
};
use random::Random;
use view::{
    Format, List, Query, ReadError, Subject, View, ViewConfig,
    feed::{FeedLimits, FeedWriter, Outcome, Replica, WriterId},
};
use window::{Aggregator, Config, Restore, SideOutput, WindowKind};

use super::Ends;

pub(crate) const STORES: u32 = 26;
pub(crate) const ITEMS: u64 = 40;
const RETENTION: u32 = 5;

/// Short lists of entities that have many more pairs, so that rows come and go.
pub(crate) fn config() -> ViewConfig {
    ViewConfig {
        partitions: PartitionCount::new(2).unwrap(),
        window: Config {
            kinds: vec![WindowKind::All, WindowKind::Day, WindowKind::Hour1, WindowKind::Minute1],
            k: 2,
            lateness_days: 2,
            day_retention_days: RETENTION,
            ..Config::default()
        },
        max_rendered_bytes: 20_000,
    }
}

pub(crate) fn view() -> Arc<View> {
    View::new(&config(), Arc::new(Ends([const { AtomicU64::new(0) }; 3])))
}

struct NoSide;

impl SideOutput for NoSide {
    fn late(&mut self, _: Offset, _: u32, _: &Purchase) {}
}

pub(crate) fn apply(state: &mut Aggregator, batches: &[Batch], to: usize) {
    for (offset, batch) in
        batches.iter().enumerate().take(to).skip(state.progress().next.0 as usize)
    {
        state.apply(Offset(offset as u64), batch, &mut NoSide);
    }
}

/// The batches of a partition: some minutes a batch now and then, some days a turn now and then.
pub(crate) fn batches(seed: u64, partition: Partition, count: usize) -> Vec<Batch> {
    let mut random = Random::stream(seed, u64::from(partition.0));
    let stores: Vec<StoreId> = (0..STORES)
        .map(StoreId)
        .filter(|&store| config().partitions.of(store) == partition)
        .collect();
    let mut time = super::EPOCH;
    let mut date = super::base_date();
    let mut sequence = 0;
    let mut batch = || {
        time += [3_000, 15_000, 40_000, 2_000_000][random.below(4).min(random.below(4)) as usize];
        if random.chance(9) {
            date = date.plus_days(1 + random.below(2) as i32);
        }
        let count = if random.chance(8) { 0 } else { 1 + random.below(7) };
        let purchases = (0..count).map(|_| purchase(&mut random, &stores, date, time));
        let purchases: Vec<Purchase> = purchases.collect();
        let batch = Batch {
            producer: ProducerId(1),
            first_sequence: Sequence(sequence),
            append_time: at(time),
            purchases,
        };
        sequence += count;
        batch
    };
    (0..count).map(|_| batch()).collect()
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn purchase(random: &mut Random, stores: &[StoreId], date: BusinessDate, time: i64) -> Purchase {
    let store = stores[random.below(stores.len() as u64).min(random.below(20)) as usize];
    let lines = (0..=random.below(4)).map(|_| Line {
        item: ItemId(random.below(ITEMS).min(random.below(3 * ITEMS))),
        quantity: random.below(6) as u32,
    });
    let lines = lines.collect();
    let late = random.below(4000) as i64;
    Purchase {
        store,
        customer: CustomerId(1),
        date: date.plus_days(-(random.below(3) as i32)),
        event_time: at(time - late),
        key: None,
        lines,
    }
}

fn subjects() -> impl Iterator<Item = Subject> {
    let stores = (0..=STORES).map(|store| Subject::Store(StoreId(store)));
    let items = (0..=ITEMS).map(|item| Subject::Item(ItemId(item)));
    stores.chain(items).chain([Subject::TopItems, Subject::TopStores])
}

/// Every list there is.
pub(crate) fn lists(view: &View) -> Vec<(Query, Result<List, ReadError>)> {
    let newest = config().partitions.iter().filter_map(|p| view.progress(p).newest_date).max();
    let back = -1..=RETENTION as i32;
    let dates =
        newest.into_iter().flat_map(|newest| back.clone().map(move |b| newest.plus_days(-b)));
    let days = [None].into_iter().chain(dates.map(Some)).map(|date| (WindowKind::Day, date));
    let others = [WindowKind::All, WindowKind::Hour1, WindowKind::Minute1].map(|kind| (kind, None));
    let windows: Vec<_> = others.into_iter().chain(days).collect();
    let queries = subjects().flat_map(|subject| {
        let query = move |&(kind, date)| Query { subject, kind, date, k: 2, format: Format::V1 };
        windows.iter().map(query).collect::<Vec<_>>()
    });
    queries.map(|query| (query, view.list(&query, at(super::EPOCH)))).collect()
}

/// What cores that have come as far write straight into a view of their own.
pub(crate) fn straight(streams: &[Vec<Batch>; 2], to: [usize; 2]) -> Arc<View> {
    let view = view();
    for (partition, batches) in config().partitions.iter().zip(streams) {
        let mut state = Aggregator::new(config().window);
        let mut writer = view.writer(partition);
        writer.not_ready();
        // Not all at once, so that this does not hang on `flush_all` alone.
        let to = to[partition.0 as usize];
        apply(&mut state, batches, to / 2);
        state.flush_all(&mut writer);
        writer.ready();
        for next in to / 2..to {
            apply(&mut state, batches, next + 1);
            state.flush(&mut writer);
        }
    }
    view
}

pub(crate) fn assert_same(replica: &View, straight: &View) {
    for ((query, got), (same, wanted)) in lists(replica).into_iter().zip(lists(straight)) {
        assert_eq!(query, same);
        assert_eq!(got, wanted, "{query:?}");
    }
    let size = |view: &View| (view.stats().rows, view.stats().closed_days);
    assert_eq!(size(replica), size(straight), "rows and closed days");
}

/// The feed of one partition: records, with the purchase offset each goes to.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    pub(crate) records: Vec<(Bytes, Offset)>,
}

impl Feed {
    pub(crate) fn last(&self) -> Option<&[u8]> {
        self.records.last().map(|(record, _)| record.as_ref())
    }
}

/// A run of a worker, with the records it has made and not appended yet.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) state: Aggregator,
    pub(crate) feed: FeedWriter,
    outbox: VecDeque<Made>,
    /// Where the keyframe being appended began.
    begun: Offset,
    /// The records appended last.
    recent: Vec<(Bytes, Offset)>,
    checkpoint: Option<Vec<Vec<u8>>>,
}

#[derive(Debug)]
struct Made {
    record: Bytes,
    to: Offset,
    of_keyframe: bool,
    first: bool,
    last: bool,
}

impl Worker {
    pub(crate) fn new(id: u64, partition: Partition, target_bytes: usize, feed: &Feed) -> Self {
        let limits = FeedLimits { target_bytes, ..FeedLimits::default() };
        let keyframe = Replica::start(feed.last()).unwrap();
        let config = config().window;
        Self {
            feed: FeedWriter::new(&config, partition, WriterId(id), limits, keyframe),
            state: Aggregator::new(config),
            outbox: VecDeque::new(),
            begun: Offset(0),
            recent: Vec::new(),
            checkpoint: None,
        }
    }

    /// What a checkpoint of its state would hold.
    pub(crate) fn save(&mut self) {
        self.checkpoint = Some(self.state.snapshot(true).to_chunks());
    }

    /// Goes on from the checkpoint of another run; from the beginning, if there is none.
    pub(crate) fn restore(&mut self, other: &Self) {
        self.checkpoint.clone_from(&other.checkpoint);
        if let Some(chunks) = &self.checkpoint {
            let mut restore = Restore::new(config().window);
            for chunk in chunks {
                restore.chunk(chunk).unwrap();
            }
            self.state = restore.finish().unwrap();
        }
    }

    /// Makes the records of a flush; gives how many.
    pub(crate) fn flush(&mut self, keyframe: bool) -> usize {
        let of_keyframe = keyframe || self.feed.wants_keyframe();
        let progress = *self.state.progress();
        let mut made = Vec::new();
        if of_keyframe {
            self.state.flush_all(&mut self.feed.keyframe(&progress, |record| made.push(record)));
        } else {
            self.state.flush(&mut self.feed.delta(&progress, |record| made.push(record)));
        }
        let count = made.len();
        for (part, record) in made.into_iter().enumerate() {
            let (first, last) = (part == 0, part + 1 == count);
            self.outbox.push_back(Made { record, to: progress.next, of_keyframe, first, last });
        }
        count
    }

    /// Appends some of the records made.
    pub(crate) fn append(&mut self, count: usize, feed: &mut Feed) {
        for _ in 0..count {
            let Some(made) = self.outbox.pop_front() else { return };
            let offset = Offset(feed.records.len() as u64);
            feed.records.push((made.record.clone(), made.to));
            self.recent.push((made.record, made.to));
            if made.first {
                self.begun = offset;
            }
            if made.last && made.of_keyframe {
                self.feed.keyframe_acknowledged(self.begun);
            }
        }
    }

    /// Appends some of the records appended last again.
    pub(crate) fn append_again(&mut self, count: usize, feed: &mut Feed) {
        let from = self.recent.len().saturating_sub(count);
        feed.records.extend_from_slice(&self.recent[from..]);
    }

    /// Gives up what was not appended.
    pub(crate) fn lose(&mut self) {
        if !self.outbox.is_empty() {
            self.outbox.clear();
            self.feed.lost();
        }
    }

    pub(crate) fn append_all(&mut self, feed: &mut Feed) {
        self.append(usize::MAX, feed);
    }
}

/// A view that follows the feeds of both partitions.
pub(crate) struct Follower {
    pub(crate) view: Arc<View>,
    pub(crate) replicas: Vec<Replica>,
    /// Views offset to read next.
    next: Vec<usize>,
    /// The furthest that anything applied goes.
    furthest: Vec<Offset>,
    pub(crate) outcomes: Vec<Outcome>,
}

impl Follower {
    /// One that starts where the last records tell it to.
    pub(crate) fn join(view: Arc<View>, feeds: &[Feed; 2]) -> Self {
        let replicas = config().partitions.iter().map(|p| Replica::new(view.writer(p))).collect();
        let start =
            |feed: &Feed| Replica::start(feed.last()).unwrap().map_or(0, |at| at.0 as usize);
        let next = feeds.iter().map(start).collect();
        Self { view, replicas, next, furthest: vec![Offset(0); 2], outcomes: Vec::new() }
    }

    pub(crate) fn follow(&mut self, feeds: &[Feed; 2]) {
        for (p, feed) in feeds.iter().enumerate() {
            let replica = &mut self.replicas[p];
            for (at, (record, to)) in feed.records.iter().enumerate().skip(self.next[p]) {
                let before = replica.progress().copied();
                let outcome = replica.apply(Offset(at as u64), record).unwrap();
                if matches!(outcome, Outcome::Applied | Outcome::Published) {
                    self.furthest[p] = self.furthest[p].max(*to);
                }
                let after = replica.progress().copied();
                assert_eq!(before != after, outcome == Outcome::Published);
                assert!(before.map(|b| b.next) <= after.map(|a| a.next), "it went back");
                self.outcomes.push(outcome);
            }
            self.next[p] = feed.records.len();
        }
    }

    /// Where each partition stands, if nothing shows that is newer.
    pub(crate) fn settled(&self) -> Option<[usize; 2]> {
        let at = |p: usize| {
            let next = self.replicas[p].progress()?.next;
            (next >= self.furthest[p]).then_some(next.0 as usize)
        };
        Some([at(0)?, at(1)?])
    }

    /// Compares all lists, if nothing shows that is newer than the position.
    pub(crate) fn check(&self, streams: &[Vec<Batch>; 2]) {
        assert_eq!(self.view.is_ready(), self.replicas.iter().all(Replica::is_ready));
        if let Some(to) = self.settled() {
            assert_same(&self.view, &straight(streams, to));
        }
    }

    /// Gaps seen in both partitions.
    pub(crate) fn gaps(&self) -> u64 {
        self.replicas.iter().map(Replica::gaps).sum()
    }
}
