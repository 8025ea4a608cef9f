//! The form of the records: fixed bytes, and bytes that are not records.

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::feed::{Feed, Worker, apply, batches, config, lists, view};
use model::{BusinessDate, ItemId, Offset, Partition, StoreId, Timestamp};
use proptest::{collection, prelude::*, sample::Index};
use view::{
    View,
    feed::{DamagedRecord, FeedError, FeedLimits, FeedWriter, Outcome, Replica, WriterId},
};
use window::{Config, Entity, EntityUpdate, FinalDay, FinalIndex, Progress, Sink};
use xxhash_rust::xxh3::xxh3_64;

fn writer(limits: FeedLimits) -> FeedWriter {
    let id = WriterId(0x0102_0304_0506_0708);
    FeedWriter::new(&config().window, Partition(1), id, limits, None)
}

fn progress(next: u64) -> Progress {
    let time = Timestamp::from_millis(1_000 + next as i64);
    Progress {
        next: Offset(next),
        append_time: time,
        clock: time,
        watermark: None,
        newest_date: BusinessDate::from_days(1),
        dropped_until: BusinessDate::from_days(-4),
    }
}

fn update<'a>(progress: &'a Progress, totals: &'a [u64]) -> EntityUpdate<'a> {
    EntityUpdate {
        entity: Entity::Store(StoreId(7)),
        stamp: progress.next,
        progress,
        replace: true,
        complete: false,
        totals,
        ids: &[],
        counts: &[],
        removed: &[],
    }
}

/// The records of [`keyframe`] and [`delta`].
const RECORDS: [&str; 2] = [
    "03ecbf7a23721748de0308070605040302012b02020100000501da0f01da0f0001020107001928b52ffd2019c90000000002070f840182018401020203030200a902198201000000",
    "03b706f60912d6abe20208070605040302012b0202010100050601dc0f01dc0f000102010701501b28b52ffd201bd90000020100010709020309010300011101808080808020100100020104",
];
const RECORDS_BEFORE: [&str; 2] = [
    "023a9b5fc6008552820308070605040302012b02020100000501da0f01da0f000102001928b52ffd2019c90000000002070f840182018401020203030200a902198201000000",
    "02c70bd98207d26cff0208070605040302012b0202010100050601dc0f01dc0f00010201501b28b52ffd201bd90000020100010709020309010300011101808080808020100100020104",
];

/// A keyframe of one entity.
fn keyframe(writer: &mut FeedWriter) -> Vec<Bytes> {
    let mut records = Vec::new();
    let progress = progress(5);
    let mut flush = writer.keyframe(&progress, |record| records.push(record));
    flush.entity(EntityUpdate {
        ids: &[3, 300],
        counts: &[2, 0, 2, 2, 2, 130, 130, 130, 0, 0],
        ..update(&progress, &[132, 130, 132, 2, 2])
    });
    flush.progress(&progress);
    records
}

/// A delta after it, with a closed day, one that is dropped, and an item.
fn delta(writer: &mut FeedWriter) -> Vec<Bytes> {
    let mut records = Vec::new();
    let progress = progress(6);
    let mut stores = FinalIndex::default();
    stores.push(7, 9, &[(3, 9)]);
    let day = FinalDay {
        date: BusinessDate::from_days(-1).unwrap(),
        stores,
        items: FinalIndex::default(),
    };
    let mut flush = writer.delta(&progress, |record| records.push(record));
    flush.day_closed(&Arc::new(day));
    flush.day_dropped(BusinessDate::from_days(-9).unwrap());
    flush.entity(EntityUpdate {
        entity: Entity::Item(ItemId(1 << 40)),
        replace: false,
        removed: &[1, 5],
        ..update(&progress, &[0, 0, 0, 0, 1])
    });
    flush.progress(&progress);
    records
}

#[test]
fn records_have_the_bytes_they_always_had() {
    let mut writer = writer(FeedLimits::default());
    let first = keyframe(&mut writer);
    writer.keyframe_acknowledged(Offset(40));
    let second = delta(&mut writer);
    let hex = |records: &[Bytes]| {
        let [record] = records else { panic!("one record each") };
        record.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
    };
    assert_eq!([hex(&first), hex(&second)], RECORDS);
}

/// As they were before they said which days have been dropped.
#[test]
fn records_of_the_version_before_are_read() {
    let bytes = |hex: &str| -> Bytes {
        let digits = (0..hex.len()).step_by(2).map(|at| &hex[at..at + 2]);
        digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
    };
    let view = view();
    let replica = ready_replica(&view, &RECORDS_BEFORE.map(bytes));
    let expected = Progress { dropped_until: None, ..progress(6) };
    assert_eq!(replica.progress(), Some(expected).as_ref());
}

/// Another writer may keep days for longer, and not know what has been dropped here.
#[test]
fn what_a_replica_has_dropped_stays_dropped() {
    let mut writer = writer(FeedLimits::default());
    let view = view();
    let mut replica = ready_replica(&view, &keyframe(&mut writer));
    for dropped_until in [None, BusinessDate::from_days(-6), BusinessDate::from_days(-3)] {
        let next = replica.progress().unwrap().next.0 + 1;
        let told = Progress { dropped_until, ..progress(next) };
        let mut records = Vec::new();
        writer.delta(&told, |record| records.push(record)).progress(&told);
        assert_eq!(replica.apply(Offset(1), &records[0]), Ok(Outcome::Published));
        let expected = BusinessDate::from_days(-4).max(dropped_until);
        assert_eq!(view.progress(Partition(1)).dropped_until, expected);
    }
}

fn ready_replica(view: &Arc<View>, records: &[Bytes]) -> Replica {
    let mut replica = Replica::new(view.writer(Partition(1)));
    // The other partition, so that the view can be read.
    view.writer(Partition(0)).ready();
    for record in records {
        replica.apply(Offset(0), record).unwrap();
    }
    assert!(replica.is_ready() && view.is_ready());
    replica
}

/// Gives a record a checksum that fits.
fn seal(record: &mut [u8]) {
    if record.len() >= 9 {
        let checksum = xxh3_64(&record[9..]).to_le_bytes();
        record[1..9].copy_from_slice(&checksum);
        record[0] = 2;
    }
}

/// A keyframe of a real core and the records of the delta after it: closed days, all kinds of entities.
fn real_records() -> (Vec<Bytes>, Vec<Bytes>) {
    let batches = batches(11, Partition(1), 60);
    let mut feed = Feed::default();
    let mut worker = Worker::new(1, Partition(1), 1 << 18, &feed);
    apply(&mut worker.state, &batches, 40);
    worker.flush(true);
    worker.append_all(&mut feed);
    let keyframe = feed.records.len();
    apply(&mut worker.state, &batches, 60);
    worker.flush(false);
    worker.append_all(&mut feed);
    let mut records: Vec<Bytes> = feed.records.into_iter().map(|(record, _)| record).collect();
    let deltas = records.split_off(keyframe);
    (records, deltas)
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_taken(
        mut bytes in collection::vec(any::<u8>(), 0..200),
        sealed in any::<bool>(),
    ) {
        if sealed {
            seal(&mut bytes);
        }
        let view = view();
        let mut replica = Replica::new(view.writer(Partition(1)));
        let _ = replica.apply(Offset(0), &bytes);
        let _ = Replica::start(Some(&bytes));
    }

    /// Whatever is wrong: it is refused by the checksum, and by the form if the checksum fits. What
    /// is refused leaves everything as it was.
    #[test]
    fn a_damaged_record_is_refused_and_nothing_of_it_is_applied(
        at in any::<Index>(),
        bit in 0_u8..8,
        cut in any::<bool>(),
    ) {
        let (keyframe, deltas) = real_records();
        let view = view();
        let mut replica = ready_replica(&view, &keyframe);
        let before = (lists(&view), view.stats());
        let mut record = deltas[0].to_vec();
        let at = at.index(record.len());
        if cut {
            record.truncate(at);
        } else {
            record[at] ^= 1 << bit;
        }
        let refused = replica.apply(Offset(17), &record).unwrap_err();
        prop_assert_eq!((refused.partition, refused.offset), (Partition(1), Offset(17)));
        prop_assert!((lists(&view), view.stats()) == before);

        seal(&mut record);
        if replica.apply(Offset(18), &record).is_err() {
            prop_assert!((lists(&view), view.stats()) == before);
        }
    }
}

/// What a refused record said is missing, and what needs it is not applied.
#[test]
fn what_comes_after_a_refused_record_waits_for_a_keyframe() {
    let batches = batches(11, Partition(1), 60);
    let mut feed = Feed::default();
    let mut worker = Worker::new(2, Partition(1), 200, &feed);
    let mut flush = |to, keyframe| {
        apply(&mut worker.state, &batches, to);
        let from = feed.records.len();
        worker.flush(keyframe);
        worker.append_all(&mut feed);
        feed.records[from..].iter().map(|(record, _)| record.clone()).collect::<Vec<Bytes>>()
    };
    let keyframe = flush(45, true);
    let [lost, after, repair] = [(50, false), (55, false), (55, true)].map(|(to, k)| flush(to, k));
    assert!(lost.len() > 2 && after.len() > 2, "deltas of several records");

    let view = view();
    let mut replica = ready_replica(&view, &keyframe);
    let mut damaged = lost[0].to_vec();
    damaged[20] ^= 1;
    assert!(replica.apply(Offset(0), &damaged).is_err());
    for record in &lost[1..] {
        assert_eq!(replica.apply(Offset(0), record), Ok(Outcome::Partial));
    }
    for record in &after {
        assert_eq!(replica.apply(Offset(0), record), Ok(Outcome::Gap));
    }
    assert_eq!(replica.gaps(), 1, "counted once for the flush");
    assert_eq!(replica.progress().map(|progress| progress.next), Some(Offset(45)));
    for record in &repair {
        replica.apply(Offset(0), record).unwrap();
    }
    assert_eq!(replica.progress().map(|progress| progress.next), Some(Offset(55)));
}

#[test]
fn a_record_for_somebody_else_is_refused_with_the_reason() {
    let record = &keyframe(&mut writer(FeedLimits::default()))[0];
    let refused = |replica: &mut Replica, record: &[u8]| {
        let DamagedRecord { source, .. } = replica.apply(Offset(3), record).unwrap_err();
        source
    };
    let view = view();
    let mut other = Replica::new(view.writer(Partition(0)));
    let (found, wanted) = (Partition(1), Partition(0));
    assert_eq!(refused(&mut other, record), FeedError::Partition { found, wanted });

    let mut replica = Replica::new(view.writer(Partition(1)));
    let mut newer = record.to_vec();
    newer[0] = 4;
    assert_eq!(refused(&mut replica, &newer), FeedError::Version(4));
    let long = vec![1; model::MAX_RECORD_BYTES + 1];
    assert_eq!(refused(&mut replica, &long), FeedError::TooLong(long.len()));

    let settings = Config { k: 9, ..config().window };
    let mut longer =
        FeedWriter::new(&settings, Partition(1), WriterId(1), FeedLimits::default(), None);
    let error = refused(&mut replica, &keyframe(&mut longer)[0]);
    assert_eq!(
        error.to_string(),
        "the writer has other settings: length of the lists was 9, now 2; start workers and \
         replicas with the same ones"
    );
    assert_eq!(replica.apply(Offset(4), record), Ok(Outcome::Published));
}

/// An entity that fits no record makes the flush have no end, and the next one a keyframe.
#[test]
fn an_entity_larger_than_a_record_calls_for_a_keyframe() {
    let mut writer = writer(FeedLimits { target_bytes: 100, max_bytes: 400 });
    let view = view();
    let mut replica = ready_replica(&view, &keyframe(&mut writer));
    assert!(!writer.wants_keyframe());
    let (mut records, progress) = (Vec::new(), progress(9));
    let removed: Vec<u64> = (0..1000).collect();
    let mut flush = writer.delta(&progress, |record| records.push(record));
    let small = EntityUpdate { replace: false, ..update(&progress, &[200, 0, 0, 0, 0]) };
    flush.entity(small);
    flush.entity(EntityUpdate { removed: &removed, ..small });
    flush.entity(small);
    flush.progress(&progress);
    assert!(writer.wants_keyframe());
    for record in &records {
        assert_eq!(replica.apply(Offset(1), record), Ok(Outcome::Applied));
    }
    assert_eq!(replica.progress().map(|progress| progress.next), Some(Offset(5)));
}

/// Nor is a keyframe with such an entity complete: replicas are sent to the one before.
#[test]
fn a_keyframe_with_an_entity_larger_than_a_record_is_not_named() {
    let mut writer = writer(FeedLimits { target_bytes: 100, max_bytes: 400 });
    keyframe(&mut writer);
    writer.keyframe_acknowledged(Offset(40));
    let (mut records, progress) = (Vec::new(), progress(9));
    let removed: Vec<u64> = (0..1000).collect();
    let mut flush = writer.keyframe(&progress, |record| records.push(record));
    let small = update(&progress, &[200, 0, 0, 0, 0]);
    flush.entity(small);
    flush.entity(EntityUpdate { removed: &removed, ..small });
    flush.progress(&progress);
    assert_eq!(records.len(), 1, "what comes before that entity");
    assert!(!writer.keyframe_acknowledged(Offset(50)));
    assert!(writer.wants_keyframe());
    let next = keyframe(&mut writer);
    assert_eq!(Replica::start(Some(&next[0])), Ok(Some(Offset(40))));
}

/// Days are closed as soon as they are whole, and dropped when a flush ends.
#[test]
fn a_worker_may_drop_a_day_before_the_view_would() {
    let mut writer = writer(FeedLimits { target_bytes: 1, ..FeedLimits::default() });
    let view = view();
    let mut replica = ready_replica(&view, &keyframe(&mut writer));
    let mut records = delta(&mut writer);
    let (next, date) = (progress(8), BusinessDate::from_days(-1).unwrap());
    let mut flush = writer.delta(&next, |record| records.push(record));
    flush.day_dropped(date);
    flush.entity(update(&next, &[200, 0, 0, 0, 0]));
    flush.entity(update(&next, &[300, 0, 0, 0, 0]));
    flush.progress(&next);
    let mut days = Vec::new();
    for record in &records {
        replica.apply(Offset(1), record).unwrap();
        days.push(view.stats().closed_days);
    }
    // Stores of the day, its items, an entity; then two entities.
    assert_eq!(days, [0, 1, 1, 1, 0]);
}

/// A new replica starts at the keyframe that the last record names.
#[test]
fn the_last_record_says_where_to_start() {
    let mut writer = writer(FeedLimits::default());
    let first = keyframe(&mut writer);
    assert_eq!(Replica::start(None), Ok(None));
    assert_eq!(Replica::start(Some(&first[0])), Ok(None), "it is not known to be complete");
    writer.keyframe_acknowledged(Offset(40));
    assert_eq!(Replica::start(Some(&delta(&mut writer)[0])), Ok(Some(Offset(40))));
    assert_eq!(Replica::start(Some(&[2; 40])), Err(FeedError::Checksum));
}
