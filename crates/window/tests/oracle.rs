//! The core against a brute-force oracle: random purchases, out of order and late, ticks, retries,
//! all kinds of windows, every k, ties, expiry, closing days, restarts from snapshots.
//!
//! The oracle keeps every purchase that was to be counted and answers each question by summing all of
//! them. It knows nothing of panes being subtracted, candidates, bounds, slots or snapshots.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use model::{
    Batch, BusinessDate, CustomerId, IdempotencyKey, ItemId, Line, Offset, ProducerId, Purchase,
    Sequence, StoreId, Timestamp,
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use window::{
    Aggregator, Config, Entity, EntityUpdate, Entry, FinalDay, Layout, Progress, Restore,
    SideOutput, Sink, WindowKind,
};

/// What a reader of the updates knows.
#[derive(Debug, Default, Clone, PartialEq)]
struct Reader {
    entities: HashMap<Entity, Rows>,
    days: BTreeMap<BusinessDate, Arc<FinalDay>>,
    progress: Progress,
}

#[derive(Debug, Default, Clone, PartialEq)]
struct Rows {
    stamp: Offset,
    totals: Vec<u64>,
    by_id: BTreeMap<u64, Vec<u64>>,
}

impl Sink for Reader {
    fn day_closed(&mut self, day: &Arc<FinalDay>) {
        self.days.insert(day.date, day.clone());
    }

    fn day_dropped(&mut self, date: BusinessDate) {
        assert!(self.days.remove(&date).is_some(), "only a day that was kept is dropped");
    }

    fn entity(&mut self, update: EntityUpdate<'_>) {
        let slots = update.totals.len();
        assert!(update.ids.is_sorted() && update.removed.is_sorted());
        assert_eq!(update.counts.len(), update.ids.len() * slots);
        let known = self.entities.entry(update.entity).or_default();
        assert!(update.stamp >= known.stamp, "stamps do not go back");
        known.stamp = update.stamp;
        known.totals = update.totals.to_vec();
        if update.replace {
            known.by_id.clear();
        }
        for (place, &id) in update.ids.iter().enumerate() {
            known.by_id.insert(id, update.counts[place * slots..][..slots].to_vec());
        }
        for id in update.removed {
            known.by_id.remove(id);
        }
    }

    fn progress(&mut self, progress: &Progress) {
        assert!(progress.next >= self.progress.next);
        self.progress = *progress;
    }
}

fn ranked(counts: impl IntoIterator<Item = Entry>, k: usize) -> Vec<Entry> {
    let mut list: Vec<Entry> = counts.into_iter().filter(|&(_, count)| count > 0).collect();
    list.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    list.truncate(k);
    list
}

impl Reader {
    fn list(&self, entity: Entity, slot: usize, k: usize) -> (u64, Vec<Entry>) {
        let Some(known) = self.entities.get(&entity) else { return (0, vec![]) };
        let list = ranked(known.by_id.iter().map(|(&id, counts)| (id, counts[slot])), k);
        (known.totals[slot], list)
    }
}

/// The oracle.
struct Oracle {
    config: Config,
    sold: Vec<Sold>,
    next: HashMap<u64, u64>,
    keys: Vec<(i64, IdempotencyKey)>,
    clock: Option<i64>,
    newest: Option<i32>,
    appended: Option<i64>,
    late: BTreeSet<(u64, u32)>,
}

struct Sold {
    store: u32,
    item: u64,
    quantity: u64,
    time: i64,
    date: i32,
    in_day: bool,
}

impl Oracle {
    fn new(config: Config) -> Self {
        Self {
            config,
            sold: vec![],
            next: HashMap::new(),
            keys: vec![],
            clock: None,
            newest: None,
            appended: None,
            late: BTreeSet::new(),
        }
    }

    fn apply(&mut self, offset: u64, batch: &Batch) {
        let time = batch.append_time.millis();
        if let (Some(clock), Some(before)) = (self.clock, self.appended) {
            let moved = clock + (time - before).max(0);
            self.clock = Some(moved.min(time).max(clock));
        }
        let now = self.appended.map_or(time, |before| before.max(time));
        self.appended = Some(now);
        let retention = self.config.key_retention.as_millis() as i64;
        self.keys.retain(|&(appended, _)| appended >= now - retention);
        let next = self.next.entry(batch.producer.0).or_insert(batch.first_sequence.0);
        for (place, purchase) in batch.purchases.iter().enumerate() {
            let sequence = batch.first_sequence.0 + place as u64;
            if sequence < *next {
                continue;
            }
            *next = sequence + 1;
            if let Some(key) = purchase.key {
                if self.keys.iter().any(|&(_, known)| known == key) {
                    continue;
                }
                self.keys.push((now, key));
                if self.keys.len() > self.config.max_keys {
                    self.keys.remove(0);
                }
            }
            let (time, date) = (purchase.event_time.millis(), purchase.date.days());
            self.clock = Some(self.clock.map_or(time, |clock| clock.max(time)));
            self.newest = Some(self.newest.map_or(date, |newest| newest.max(date)));
            let in_day = self.newest.unwrap() - date < self.config.lateness_days as i32;
            if !in_day && self.config.kinds.contains(&WindowKind::Day) {
                self.late.insert((offset, place as u32));
            }
            for line in &purchase.lines {
                self.sold.push(Sold {
                    store: purchase.store.0,
                    item: line.item.0,
                    quantity: line.quantity.into(),
                    time,
                    date,
                    in_day,
                });
            }
        }
    }

    fn pane(time: i64) -> i64 {
        time.div_euclid(10_000)
    }

    fn in_window(&self, sold: &Sold, kind: WindowKind, date: Option<i32>) -> bool {
        match kind {
            WindowKind::All => true,
            WindowKind::Day => sold.in_day && Some(sold.date) == date,
            _ => {
                let panes = kind.length().unwrap().as_secs() as i64 / 10;
                Self::pane(sold.time) > Self::pane(self.clock.unwrap()) - panes
            }
        }
    }

    /// Totals and full lists of everything, for one window.
    fn sums(&self, kind: WindowKind, date: Option<i32>) -> HashMap<Entity, BTreeMap<u64, u64>> {
        let mut sums: HashMap<Entity, BTreeMap<u64, u64>> = HashMap::new();
        for sold in self.sold.iter().filter(|sold| self.in_window(sold, kind, date)) {
            let (store, item) =
                (Entity::Store(StoreId(sold.store)), Entity::Item(ItemId(sold.item)));
            *sums.entry(store).or_default().entry(sold.item).or_default() += sold.quantity;
            *sums.entry(item).or_default().entry(sold.store.into()).or_default() += sold.quantity;
        }
        sums
    }
}

#[derive(Default)]
struct Late(BTreeSet<(u64, u32)>);

impl SideOutput for Late {
    fn late(&mut self, offset: Offset, place: u32, _: &Purchase) {
        assert!(self.0.insert((offset.0, place)), "late once");
    }
}

/// Compares everything a reader can ask with the oracle, for every k up to the greatest.
fn check(reader: &Reader, oracle: &Oracle, entities: &BTreeSet<Entity>) {
    let layout = Layout::new(&oracle.config);
    let greatest = oracle.config.k as usize;
    let compare = |slot: usize, sums: &HashMap<Entity, BTreeMap<u64, u64>>, what: &str| {
        for &entity in entities {
            let counts = sums.get(&entity).into_iter().flatten().map(|(&id, &count)| (id, count));
            let total: u64 = counts.clone().map(|(_, count)| count).sum();
            let all = ranked(counts, greatest);
            for k in 1..=greatest {
                let expected = (total, all[..k.min(all.len())].to_vec());
                assert_eq!(reader.list(entity, slot, k), expected, "{what} {entity:?} k={k}");
            }
        }
    };
    for &kind in layout.kinds().iter().filter(|&&kind| kind != WindowKind::Day) {
        if kind == WindowKind::All || oracle.clock.is_some() {
            compare(layout.slot(kind).unwrap(), &oracle.sums(kind, None), kind.name());
        }
    }
    if !layout.keeps(WindowKind::Day) {
        return;
    }
    let Some(newest) = oracle.newest.and_then(BusinessDate::from_days) else { return };
    for date in layout.open_dates(newest) {
        let sums = oracle.sums(WindowKind::Day, Some(date.days()));
        compare(layout.day_slot(date).unwrap(), &sums, &format!("day {date}"));
    }
    check_final_days(reader, oracle, entities, newest, &layout);
}

fn check_final_days(
    reader: &Reader,
    oracle: &Oracle,
    entities: &BTreeSet<Entity>,
    newest: BusinessDate,
    layout: &Layout,
) {
    let retention = oracle.config.day_retention_days as i32;
    let dates: BTreeSet<i32> = oracle.sold.iter().map(|sold| sold.date).collect();
    for date in dates {
        let date = BusinessDate::from_days(date).unwrap();
        let sums = oracle.sums(WindowKind::Day, Some(date.days()));
        let sold_in_time = sums.values().flatten().any(|(_, &count)| count > 0);
        let kept = !layout.is_open(date, newest) && newest.days() - date.days() < retention;
        let Some(day) = reader.days.get(&date).filter(|_| kept) else {
            assert!(!(kept && sold_in_time), "day {date} is missing");
            assert!(!reader.days.contains_key(&date), "day {date} is there");
            continue;
        };
        for &entity in entities {
            let counts: Vec<Entry> = (sums.get(&entity).into_iter().flatten())
                .map(|(&id, &count)| (id, count))
                .filter(|&(_, count)| count > 0)
                .collect();
            let total = counts.iter().map(|&(_, count)| count).sum();
            let expected =
                (!counts.is_empty()).then(|| (total, ranked(counts, oracle.config.k as usize)));
            let got = match entity {
                Entity::Store(id) => day.stores.get(id.0.into()),
                Entity::Item(id) => day.items.get(id.0),
            };
            assert_eq!(got, expected, "final day {date} {entity:?}");
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Batch(Batch),
    /// Undecodable record.
    Skip,
    Flush,
    /// Flush, then compare everything.
    Check,
    Snapshot {
        full: bool,
    },
    Restart,
}

fn any_purchase(stores: u32, items: u64) -> impl Strategy<Value = Purchase> {
    let quantity = prop_oneof![
        12 => 0_u32..4,
        1 => Just(u32::MAX),
        1 => Just(1 << 31),
        // Counts up to 65,535 are kept in another way than greater ones, and so are the bounds next to them.
        1 => 65_530_u32..65_540,
        1 => Just(32_768),
    ];
    let line =
        (0..items, quantity).prop_map(|(item, quantity)| Line { item: ItemId(item), quantity });
    let lines = prop_oneof![
        4 => prop::collection::vec(line.clone(), 0..6),
        1 => prop::collection::vec(line, 20..60),
    ];
    let time = prop_oneof![
        6 => 0_i64..100_000,
        3 => 0_i64..4_000_000,
        1 => 0_i64..200_000_000,
    ];
    let key = prop_oneof![3 => Just(None), 1 => (0_u8..6).prop_map(Some)];
    (0..stores, any::<u32>(), 0_i32..6, time, key, lines).prop_map(
        |(store, customer, day, time, key, lines)| Purchase {
            store: StoreId(store),
            customer: CustomerId(customer),
            date: BusinessDate::from_days(18_000 + day).unwrap(),
            event_time: Timestamp::from_millis(1_555_200_000_000 + time).unwrap(),
            key: key.map(|key| IdempotencyKey([key; 16])),
            lines,
        },
    )
}

fn any_steps() -> impl Strategy<Value = (Config, Vec<Step>)> {
    let config = (
        1_u32..5,
        prop::sample::subsequence(WindowKind::ALL.to_vec(), 1..=6),
        // Up to 12 slots, more than a record has narrow counts for.
        prop_oneof![3 => 1_u32..4, 1 => 4_u32..=7],
        0_u32..4,
        1_usize..5,
    )
        .prop_map(|(k, kinds, lateness_days, extra, max_keys)| Config {
            kinds,
            k,
            disorder: Duration::from_secs(5),
            lateness_days,
            day_retention_days: lateness_days + extra,
            key_retention: Duration::from_mins(1),
            max_keys,
        });
    let batch = (1_u32..8, 1_u64..60).prop_flat_map(|(stores, items)| {
        (
            1_u64..3,
            0_u64..12,
            0_i64..100_000,
            prop::collection::vec(any_purchase(stores, items), 0..5),
        )
    });
    let batch = batch.prop_map(|(producer, first, appended, purchases)| {
        Step::Batch(Batch {
            producer: ProducerId(producer),
            first_sequence: Sequence(first),
            append_time: Timestamp::from_millis(1_555_200_000_000 + appended).unwrap(),
            purchases,
        })
    });
    let step = prop_oneof![
        30 => batch,
        1 => Just(Step::Skip),
        4 => Just(Step::Flush),
        2 => Just(Step::Check),
        3 => any::<bool>().prop_map(|full| Step::Snapshot { full }),
        1 => Just(Step::Restart),
    ];
    (config, prop::collection::vec(step, 1..60), any::<bool>()).prop_map(
        |(config, mut steps, fresh_sequences)| {
            if fresh_sequences {
                number(&mut steps);
            }
            (config, steps)
        },
    )
}

/// Gives the batches the sequences that a producer without retries gives them.
fn number(steps: &mut [Step]) {
    let mut next: HashMap<u64, u64> = HashMap::new();
    for step in steps {
        if let Step::Batch(batch) = step {
            let next = next.entry(batch.producer.0).or_default();
            batch.first_sequence = Sequence(*next);
            *next += batch.purchases.len() as u64;
        }
    }
}

/// The state under test with what surrounds it: the log it reads, the snapshots it left, the reader
/// it hands on to.
struct Subject {
    config: Config,
    state: Aggregator,
    log: Vec<Option<Batch>>,
    saved: Vec<Vec<u8>>,
    reader: Reader,
    late: Late,
}

impl Subject {
    fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
            state: Aggregator::new(config.clone()),
            log: vec![],
            saved: vec![],
            reader: Reader::default(),
            late: Late::default(),
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Batch(batch) => self.append(Some(batch.clone())),
            Step::Skip => self.append(None),
            Step::Flush | Step::Check => self.state.flush(&mut self.reader),
            Step::Snapshot { full } => self.save(*full || self.saved.is_empty()),
            Step::Restart => self.restart(),
        }
    }

    fn append(&mut self, record: Option<Batch>) {
        self.log.push(record);
        self.catch_up();
    }

    /// Applies what is in the log and not in the state.
    fn catch_up(&mut self) {
        let from = self.state.progress().next.0;
        for (offset, record) in self.log.iter().enumerate().skip(from as usize) {
            let offset = Offset(offset as u64);
            match record {
                Some(batch) => drop(self.state.apply(offset, batch, &mut self.late)),
                None => self.state.skip(offset),
            }
        }
    }

    fn save(&mut self, full: bool) {
        let snapshot = self.state.snapshot(full);
        if snapshot.full {
            self.saved.clear();
        }
        self.saved.extend(snapshot.to_chunks());
    }

    /// Starts again from the last snapshot, if there is one.
    fn restart(&mut self) {
        self.state = Aggregator::new(self.config.clone());
        if !self.saved.is_empty() {
            let mut restore = Restore::new(self.config.clone());
            self.saved.iter().for_each(|chunk| restore.chunk(chunk).unwrap());
            self.state = restore.finish().unwrap();
        }
        let from = self.state.progress().next.0;
        self.late.0.retain(|&(offset, _)| offset < from);
        self.catch_up();
        self.reader = Reader::default();
        self.state.flush_all(&mut self.reader);
    }
}

fn run(config: &Config, steps: &[Step]) {
    let mut subject = Subject::new(config);
    let mut oracle = Oracle::new(config.clone());
    let mut entities = BTreeSet::new();
    for step in steps.iter().chain([&Step::Check, &Step::Restart, &Step::Check]) {
        if let Step::Batch(batch) = step {
            oracle.apply(subject.log.len() as u64, batch);
            for purchase in &batch.purchases {
                entities.insert(Entity::Store(purchase.store));
                entities.extend(purchase.lines.iter().map(|line| Entity::Item(line.item)));
            }
        }
        subject.step(step);
        if let Step::Check = step {
            assert_eq!(subject.reader.progress.next.0, subject.log.len() as u64);
            assert_eq!(subject.late.0, oracle.late);
            check(&subject.reader, &oracle, &entities);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_answer_equals_the_oracle((config, steps) in any_steps()) {
        run(&config, &steps);
    }
}

/// Candidates are a function of the stream: with restarts or without, flushed often or seldom, the
/// rows handed on are the same.
#[test]
fn restarts_and_flushes_leave_no_trace() {
    let mut runner = TestRunner::deterministic();
    for _ in 0..300 {
        let (config, steps) = any_steps().new_tree(&mut runner).unwrap().current();
        let mut subject = Subject::new(&config);
        for step in &steps {
            subject.step(step);
        }
        let mut straight = Subject::new(&config);
        subject.log.iter().for_each(|record| straight.append(record.clone()));
        assert_eq!(everything(subject), everything(straight));
    }
}

/// All rows, totals and days.
fn everything(mut subject: Subject) -> Reader {
    let mut reader = Reader::default();
    subject.state.flush_all(&mut reader);
    reader
}
