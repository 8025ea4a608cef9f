//! Readers beside writers: neither positions nor lists go back, a list is never older than its
//! position, and never mixes the purchases of two dates.

mod common;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use common::{base_date, partitions, store_of};
use model::{BusinessDate, ItemId, Offset, Partition, StoreId, Timestamp};
use serde_json::Value;
use view::{Format, PartitionWriter, Query, Subject, View};
use window::{Entity, EntityUpdate, FinalDay, FinalIndex, Layout, Progress, Sink, WindowKind};

const FLUSHES_PER_DATE: u64 = 5;
const FLUSHES: u64 = 400;
/// Each date sells items of its own, `10 × days` and the next ones, and item 0 always sells.
const ITEMS_PER_DATE: u64 = 3;

/// One flush is one sale of each item of the date in one store.
struct Shop {
    store: StoreId,
    layout: Layout,
    writer: PartitionWriter,
}

fn items_of(date: BusinessDate) -> impl Iterator<Item = u64> {
    (0..ITEMS_PER_DATE).map(move |n| 10 * date.days() as u64 + n)
}

fn date_of(flush: u64) -> BusinessDate {
    base_date().plus_days((flush / FLUSHES_PER_DATE) as i32)
}

impl Shop {
    fn flush(&mut self, flush: u64) {
        let (date, sold_today) = (date_of(flush), flush % FLUSHES_PER_DATE + 1);
        let clock = Timestamp::from_millis(flush as i64 * 60_000);
        let progress = Progress {
            next: Offset(flush + 1),
            append_time: clock,
            clock,
            watermark: clock,
            newest_date: Some(date),
            dropped_until: None,
        };
        if sold_today == 1 && flush >= 2 * FLUSHES_PER_DATE {
            self.close(date.plus_days(-2));
        }
        let mut rows: BTreeMap<u64, Vec<u64>> =
            items_of(date).map(|item| (item, self.row(date, sold_today, sold_today))).collect();
        rows.insert(0, self.row(date, flush + 1, 0));
        for (&item, row) in &rows {
            self.update(Entity::Item(ItemId(item)), &progress, row, &[self.store.0.into()], row);
        }
        let sold = (ITEMS_PER_DATE + 1) * (flush + 1);
        let totals = self.row(date, sold, ITEMS_PER_DATE * sold_today);
        let ids: Vec<u64> = rows.keys().copied().collect();
        let counts: Vec<u64> = rows.into_values().flatten().collect();
        self.update(Entity::Store(self.store), &progress, &totals, &ids, &counts);
        self.writer.progress(&progress);
    }

    fn row(&self, date: BusinessDate, all: u64, today: u64) -> Vec<u64> {
        let mut row = vec![0; self.layout.slots()];
        row[self.layout.slot(WindowKind::All).unwrap()] = all;
        row[self.layout.slot(WindowKind::Hour1).unwrap()] = all;
        row[self.layout.day_slot(date).unwrap()] = today;
        row
    }

    fn close(&mut self, date: BusinessDate) {
        let mut day =
            FinalDay { date, stores: FinalIndex::default(), items: FinalIndex::default() };
        let list: Vec<_> = items_of(date).map(|item| (item, FLUSHES_PER_DATE)).collect();
        day.stores.push(self.store.0.into(), ITEMS_PER_DATE * FLUSHES_PER_DATE, &list);
        for (item, count) in list {
            day.items.push(item, count, &[(self.store.0.into(), count)]);
        }
        self.writer.day_closed(&Arc::new(day));
        if date >= base_date().plus_days(2) {
            self.writer.day_dropped(date.plus_days(-2));
        }
    }

    fn update(
        &mut self,
        entity: Entity,
        progress: &Progress,
        totals: &[u64],
        ids: &[u64],
        counts: &[u64],
    ) {
        self.writer.entity(EntityUpdate {
            entity,
            stamp: progress.next,
            progress,
            replace: false,
            complete: false,
            totals,
            ids,
            counts,
            removed: &[],
        });
    }
}

/// What a reader has seen so far of one question.
#[derive(Default)]
struct Seen {
    next: Vec<(Partition, Offset)>,
    counts: BTreeMap<(Option<BusinessDate>, u64), u64>,
}

impl Seen {
    fn check(&mut self, view: &View, subject: Subject, kind: WindowKind) {
        let query = Query { subject, kind, date: None, k: 3, format: Format::V1 };
        let Ok(list) = view.list(&query, Timestamp::now()) else { return };
        self.check_position(&list.as_of.next);
        for &(id, count) in &list.entries {
            let before = self.counts.insert((list.window.date, id), count).unwrap_or(0);
            assert!(before <= count, "{query:?} {id}: {before} then {count}");
        }
        let applied: u64 = list.as_of.next.iter().map(|(_, next)| next.0).sum();
        match (subject, list.window.date) {
            (Subject::Store(_) | Subject::TopItems, None) => {
                // Item 0 has the most, unless a partition has nothing yet.
                let first = list.entries.first().map_or(0, |entry| entry.1);
                assert!(first >= applied, "{query:?} {list:?}");
            }
            (Subject::Store(_), Some(date)) => {
                let all_alike = list.entries.windows(2).all(|pair| pair[0].1 == pair[1].1);
                assert!(all_alike, "a flush is seen in part: {list:?}");
                check_date(date, list.entries.iter().map(|entry| entry.0));
                let done = list.entries.iter().all(|entry| entry.1 == FLUSHES_PER_DATE);
                assert!(done || !list.window.is_final, "{list:?}");
            }
            (Subject::TopItems, Some(date)) => {
                check_date(date, list.entries.iter().map(|entry| entry.0));
            }
            _ => {}
        }
        self.check_answer(view, &query);
    }

    fn check_answer(&mut self, view: &View, query: &Query) {
        let Ok(answer) = view.answer(query, Timestamp::now()) else { return };
        self.check_position(&answer.as_of().next);
        let body: Value = serde_json::from_slice(&answer.body()).unwrap();
        let position = answer.as_of().position().to_string();
        assert_eq!(body["asOf"]["position"], position);
        if let (Some(date), Some(items)) =
            (body["window"]["date"].as_str(), body["items"].as_array())
        {
            check_date(date.parse().unwrap(), items.iter().map(|i| i["itemID"].as_u64().unwrap()));
        }
    }

    fn check_position(&mut self, next: &[(Partition, Offset)]) {
        assert!(
            self.next.iter().zip(next).all(|(before, now)| before <= now),
            "{:?} then {next:?}",
            self.next
        );
        self.next = next.to_vec();
    }
}

fn check_date(date: BusinessDate, mut items: impl Iterator<Item = u64>) {
    assert!(items.all(|item| items_of(date).any(|of_date| of_date == item)), "{date}");
}

fn read(view: &View, store: StoreId, writing: &AtomicUsize) {
    let questions = [
        (Subject::Store(store), WindowKind::All),
        (Subject::Store(store), WindowKind::Day),
        (Subject::Item(ItemId(0)), WindowKind::Hour1),
        (Subject::Item(ItemId(0)), WindowKind::Day),
        (Subject::TopItems, WindowKind::All),
        (Subject::TopItems, WindowKind::Day),
        (Subject::TopStores, WindowKind::Hour1),
        (Subject::TopStores, WindowKind::Day),
    ];
    let mut seen: Vec<Seen> = questions.iter().map(|_| Seen::default()).collect();
    loop {
        let last = writing.load(Ordering::SeqCst) == 0;
        for (seen, &(subject, kind)) in seen.iter_mut().zip(&questions) {
            seen.check(view, subject, kind);
        }
        if last {
            return;
        }
    }
}

#[test]
fn readers_see_neither_the_past_again_nor_a_flush_in_part() {
    let (view, writers, _) = common::ready_view();
    let stores: Vec<StoreId> = partitions().iter().map(store_of).collect();
    let writing = AtomicUsize::new(writers.len());
    let start = Barrier::new(writers.len() + 2);
    thread::scope(|scope| {
        for (writer, &store) in writers.into_iter().zip(&stores) {
            let mut shop = Shop { store, layout: Layout::new(&common::config().window), writer };
            let (start, writing) = (&start, &writing);
            scope.spawn(move || {
                start.wait();
                (0..FLUSHES).for_each(|flush| shop.flush(flush));
                writing.fetch_sub(1, Ordering::SeqCst);
            });
        }
        for &store in &stores[..2] {
            let (view, start, writing) = (&view, &start, &writing);
            scope.spawn(move || {
                start.wait();
                read(view, store, writing);
            });
        }
    });
    let last = Query {
        subject: Subject::TopItems,
        kind: WindowKind::All,
        date: None,
        k: 1,
        format: Format::V1,
    };
    let list = view.list(&last, Timestamp::now()).unwrap();
    assert_eq!(list.entries, [(0, FLUSHES * u64::from(partitions().get()))]);
}
