//! Whatever the core hands on, in whatever order the partitions flush, and however often old updates
//! come again: every list is the one that all counts give.

mod common;

use std::collections::VecDeque;

use common::{
    Call, Event, ITEMS, LATENESS, RETENTION, STORES, Step, Truth, expected, is_known, newest,
    partitions, ready_view, store_of, tell,
};
use model::{BusinessDate, ItemId, Partition, StoreId, Timestamp};
use proptest::{collection, prelude::*};
use view::{Format, Query, ReadError, Subject, View};
use window::{Progress, Sink, WindowKind};

#[derive(Debug, Clone)]
struct Turn {
    partition: usize,
    step: Step,
    /// Which of the calls so far come again.
    replay: Vec<usize>,
    read: Read,
}

/// What is read after a turn. The view keeps up to date, and has told, only what somebody reads.
#[derive(Debug, Clone, Copy)]
enum Read {
    Nothing,
    Everything,
    /// The lists of the chain of one date, so many days before the newest.
    ChainDay(i32),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..STORES, 0..ITEMS, 1_u64..6, 0..LATENESS)
            .prop_map(|(store, item, quantity, back)| Event::Sale { store, item, quantity, back }),
        1 => (0..STORES, 0..ITEMS, 2_u64..5)
            .prop_map(|(store, item, divisor)| Event::Expire { store, item, divisor }),
    ]
}

fn turn() -> impl Strategy<Value = Turn> {
    let days = prop_oneof![6 => Just(0), 2 => Just(1), 1 => Just(2), 1 => Just(3)];
    (
        0..partitions().get() as usize,
        (collection::vec(event(), 0..40), days, collection::vec(event(), 0..15), any::<u64>()),
        collection::vec(0_usize..60, 0..6),
        prop_oneof![
            2 => Just(Read::Nothing),
            1 => Just(Read::Everything),
            2 => (0..=LATENESS).prop_map(Read::ChainDay),
        ],
    )
        .prop_map(|(partition, (before, turn, after, choices), replay, read)| Turn {
            partition,
            step: Step {
                before: of_partition(before, partition),
                turn,
                after: of_partition(after, partition),
                choices,
            },
            replay,
            read,
        })
}

fn of_partition(mut events: Vec<Event>, partition: usize) -> Vec<Event> {
    events.retain(|event| {
        let (Event::Sale { store, .. } | Event::Expire { store, .. }) = *event;
        partitions().of(StoreId(store)).0 as usize == partition
    });
    events
}

fn subjects() -> impl Iterator<Item = Subject> {
    let stores = (0..=STORES).map(|store| Subject::Store(StoreId(store)));
    let items = (0..=ITEMS).map(|item| Subject::Item(ItemId(item)));
    stores.chain(items).chain([Subject::TopItems, Subject::TopStores])
}

fn check(view: &View, truths: &[Truth]) {
    for subject in subjects() {
        check_list(view, truths, subject, WindowKind::All, None);
        check_list(view, truths, subject, WindowKind::Hour1, None);
        check_list(view, truths, subject, WindowKind::Day, None);
        if let Some(newest) = newest(truths) {
            for back in -1..=RETENTION {
                let date = Some(newest.plus_days(-back));
                check_list(view, truths, subject, WindowKind::Day, date);
            }
        }
    }
}

fn check_chain_day(view: &View, truths: &[Truth], back: i32) {
    let date = newest(truths).map(|newest| newest.plus_days(-back));
    for subject in [Subject::TopItems, Subject::TopStores] {
        check_list(view, truths, subject, WindowKind::Day, date);
    }
}

fn check_list(
    view: &View,
    truths: &[Truth],
    subject: Subject,
    kind: WindowKind,
    date: Option<BusinessDate>,
) {
    let k = 1 + (date.map_or(0, BusinessDate::days) % 3) as u32;
    let query = Query { subject, kind, date, k, format: Format::Legacy };
    let now = Timestamp::from_millis(0).unwrap();
    // First, for it may be one rendered before; reading the list may bring it up to date.
    let answer = view.answer(&query, now);
    let read = view.list(&query, now);
    let newest = newest(truths);
    let kept = |date: BusinessDate| {
        newest.is_some_and(|n| date <= n && n.days() - date.days() < RETENTION)
    };
    if kind == WindowKind::Day && date.is_some_and(|date| !kept(date)) {
        assert!(matches!(read, Err(ReadError::DateNotKept { .. })), "{query:?} {read:?}");
        return;
    }
    if !is_known(truths, subject) {
        let unknown = |e| matches!(e, ReadError::UnknownStore(_) | ReadError::UnknownItem(_));
        assert!(read.clone().is_err_and(unknown), "{query:?} {read:?}");
        return;
    }
    if kind == WindowKind::Day && newest.is_none() {
        assert_eq!(read, Err(ReadError::NoDate));
        return;
    }
    let list = read.unwrap();
    let day = date.or(newest).unwrap_or_else(common::base_date);
    let entries = expected(truths, subject, kind, day, k as usize);
    assert_eq!(list.entries, entries, "{query:?} newest {newest:?}");
    assert_eq!(list.window.date, (kind == WindowKind::Day).then_some(day));

    let concerned: Vec<usize> = match subject {
        Subject::Store(store) => vec![partitions().of(store).0 as usize],
        _ => (0..truths.len()).collect(),
    };
    let is_final = concerned.iter().all(|&p| {
        truths[p].progress.newest_date.is_some_and(|n| n.days() - day.days() >= LATENESS)
    });
    assert_eq!(list.window.is_final, kind == WindowKind::Day && is_final, "{query:?}");
    let next = concerned.iter().map(|&p| (Partition(p as u32), truths[p].progress.next));
    assert_eq!(list.as_of.next, next.collect::<Vec<_>>());
    let watermark = concerned.iter().filter_map(|&p| truths[p].progress.watermark).min();
    assert_eq!(list.as_of.watermark, watermark);
    if kind == WindowKind::Hour1 {
        let clock = concerned.iter().filter_map(|&p| truths[p].progress.clock).max();
        assert_eq!(list.window.bounds, clock.and_then(|clock| kind.bounds(clock)));
    }

    let name = match subject {
        Subject::Store(_) | Subject::TopItems => "itemID",
        Subject::Item(_) | Subject::TopStores => "storeID",
    };
    let rows: Vec<String> = entries
        .iter()
        .map(|(id, count)| format!("{{\"{name}\":{id},\"numberOfItems\":{count}}}"))
        .collect();
    let answer = answer.unwrap();
    assert_eq!(answer.body(), format!("{{\"stores\":[{}]}}", rows.join(",")), "{query:?}");
    assert_eq!(answer.as_of(), &list.as_of);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_list_is_the_one_that_all_counts_give(turns in collection::vec(turn(), 1..25)) {
        let (view, mut writers, _) = ready_view();
        let mut truths = vec![Truth::new(); writers.len()];
        let mut told: Vec<VecDeque<Call>> = vec![VecDeque::new(); writers.len()];
        for turn in turns {
            let p = turn.partition;
            let calls = truths[p].step(&turn.step);
            for (i, call) in calls.into_iter().enumerate() {
                if let Some(old) = turn.replay.get(i).and_then(|&at| told[p].get(at)) {
                    old.make(&mut writers[p]);
                }
                call.make(&mut writers[p]);
                told[p].push_front(call);
            }
            match turn.read {
                Read::Nothing => {}
                Read::Everything => check(&view, &truths),
                Read::ChainDay(back) => check_chain_day(&view, &truths, back),
            }
        }
        check(&view, &truths);
        prop_assert!(view.stats().rendered_bytes <= common::config().max_rendered_bytes);
    }
}

/// A date that is closed in one partition only has totals that do not show in any slot.
#[test]
fn a_date_closed_in_some_partitions_goes_on_in_the_others() {
    let (view, mut writers, _) = ready_view();
    let mut truths = vec![Truth::new(); writers.len()];
    let sale = |p, item, quantity| Event::Sale {
        store: store_of(Partition(p)).0,
        item,
        quantity,
        back: 0,
    };
    let step = |before, turn, after| Step { before, turn, after, choices: 4 };
    let mut flush = |truths: &mut [Truth], p: usize, step: &Step| {
        tell(&truths[p].step(step), &mut writers[p]);
    };
    let large = (0..20).map(|item| sale(0, item, 100 + item)).collect();
    let small = (0..20).map(|item| sale(1, item, 1)).collect();
    flush(&mut truths, 1, &step(small, 0, Vec::new()));
    flush(&mut truths, 0, &step(large, 2, (0..20).map(|item| sale(0, item, 1)).collect()));
    // Only this list is read: others in the same slot would have all changes told.
    let check_date = |truths: &[Truth]| {
        let date = Some(common::base_date());
        check_list(&view, truths, Subject::TopItems, WindowKind::Day, date);
    };
    check_date(&truths);
    for item in [19, 2, 18] {
        flush(&mut truths, 1, &step(vec![sale(1, item, 1)], 0, Vec::new()));
        check_date(&truths);
    }
    flush(&mut truths, 1, &step(vec![sale(1, 0, 200)], 3, Vec::new()));
    check(&view, &truths);
}

/// The list of a date that is still open goes on when another partition begins with a later date, which closes
/// none: what was answered before is not the answer any more.
#[test]
fn an_open_date_goes_on_after_a_later_one_has_come() {
    for read_between in [false, true] {
        let (view, mut writers, _) = ready_view();
        let mut truths = vec![Truth::new(); writers.len()];
        let mut flush = |truths: &mut [Truth], p: usize, item, quantity| {
            let store = store_of(Partition(p as u32)).0;
            let sale = Event::Sale { store, item, quantity, back: 0 };
            let step = Step { before: vec![sale], turn: 0, after: Vec::new(), choices: 4 };
            tell(&truths[p].step(&step), &mut writers[p]);
        };
        flush(&mut truths, 0, 1, 6);
        check_chain_day(&view, &truths, 0);
        truths[1].progress.newest_date = Some(common::base_date().plus_days(1));
        flush(&mut truths, 1, 2, 1);
        if read_between {
            check_chain_day(&view, &truths, 0);
        }
        flush(&mut truths, 0, 1, 7);
        check_chain_day(&view, &truths, 1);
    }
}

/// A run of the core that starts again from an older state is followed until it has caught up.
#[test]
fn a_new_run_may_start_from_an_older_state() {
    let (view, mut writers, _) = ready_view();
    let mut truths = vec![Truth::new(); writers.len()];
    let store = store_of(Partition(0));
    let sale = |item| Event::Sale { store: store.0, item, quantity: 5, back: 0 };
    let step = |item, choices| Step { before: vec![sale(item)], turn: 0, after: vec![], choices };
    let first = truths[0].step(&step(1, 0));
    tell(&first, &mut writers[0]);
    let mut restarted = truths[0].clone();
    for item in [2, 1, 3] {
        tell(&truths[0].step(&step(item, 4)), &mut writers[0]);
    }
    check(&view, &truths);

    writers[0].not_ready();
    tell(&first, &mut writers[0]);
    writers[0].ready();
    assert_eq!(view.progress(Partition(0)).next, restarted.progress.next);
    let query = Query {
        subject: Subject::Store(store),
        kind: WindowKind::All,
        date: None,
        k: 3,
        format: Format::V1,
    };
    let list = view.list(&query, Timestamp::from_millis(0).unwrap()).unwrap();
    assert_eq!(list.entries, [(1, 5)]);
    for item in [2, 1, 3] {
        tell(&restarted.step(&step(item, 4)), &mut writers[0]);
    }
    check(&view, &truths);
}

/// Days that were dropped when days were kept for less long are not answered with empty lists.
#[test]
fn dates_that_were_dropped_before_are_not_kept() {
    let (view, mut writers, _) = ready_view();
    let date = common::base_date();
    let progress = Progress {
        newest_date: Some(date),
        dropped_until: Some(date.plus_days(-2)),
        ..Progress::default()
    };
    writers[1].progress(&progress);
    let read = |back: i32| {
        let (subject, date) = (Subject::TopItems, Some(date.plus_days(-back)));
        let query = Query { subject, kind: WindowKind::Day, date, k: 1, format: Format::V1 };
        view.list(&query, Timestamp::from_millis(0).unwrap())
    };
    assert!(read(1).is_ok());
    let (first, last) = (date.plus_days(-1), date);
    let refused = ReadError::DateNotKept { date: date.plus_days(-2), first, last };
    assert_eq!(read(2), Err(refused));
}
