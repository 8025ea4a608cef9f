//! The suite every backend must pass: the contract on [`Log`], scenario by scenario.
//!
//! A backend's test implements [`Backend`] and names it in [`conformance!`](crate::conformance),
//! and in [`conformance_durable!`](crate::conformance_durable) if it survives a restart, in
//! [`conformance_trim!`](crate::conformance_trim) if it trims when it is asked to, and in
//! [`conformance_durable_trim!`](crate::conformance_durable_trim) if it does both. Each scenario becomes a
//! test of its own.

#![allow(
    clippy::missing_panics_doc,
    reason = "a scenario panics where a backend breaks the contract"
)]

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{join_all, try_join_all},
};
use model::{Offset, Partition, PartitionCount, Timestamp};

use crate::{AppendError, Bounds, Log, MAX_RECORD_BYTES, ReadError, Record, Retention};

/// How the suite gets at a backend. One value is one place for data, empty at first.
pub trait Backend {
    /// Opens the log; for a durable one, with what it held when it was closed.
    fn open(&self, partitions: PartitionCount) -> impl Future<Output = Arc<dyn Log>>;
    /// Closes the log that was opened last.
    fn close(&self) -> impl Future<Output = ()>;
}

/// A test for each scenario of the contract; the expression gives a fresh [`Backend`].
#[macro_export]
macro_rules! conformance {
    ($backend:expr) => {
        $crate::conformance!(
            @tests $backend;
            an_empty_log_is_empty
            offsets_are_dense_and_partitions_independent
            bytes_come_back_as_they_went_in
            calls_keep_their_order
            concurrent_appends_lose_nothing
            an_acknowledged_record_is_visible
            an_unpolled_append_is_not_withdrawn
            reads_stop_at_the_byte_limit
            a_read_at_the_end_waits
            many_readers_wait_at_once
            a_waiting_read_does_not_miss_a_race
            beyond_the_end_is_out_of_range
            large_records_pass_and_too_large_ones_do_not
        );
    };
    (@tests $backend:expr; $($scenario:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $scenario() {
            $crate::conformance::$scenario($backend).await;
        }
    )*};
}

/// The scenarios of a backend that trims when it is asked to.
#[macro_export]
macro_rules! conformance_trim {
    ($backend:expr) => {
        $crate::conformance!(
            @tests $backend;
            trim_by_size
            trim_by_age
            trim_stops_at_not_past
            trim_without_a_rule_keeps_all
            trim_everything_and_go_on
            readers_and_trims_agree
        );
    };
}

/// The scenarios of a backend that survives a restart.
#[macro_export]
macro_rules! conformance_durable {
    ($backend:expr) => {
        $crate::conformance!(
            @tests $backend;
            records_and_offsets_survive
        );
    };
}

/// The scenarios of a backend that does both.
#[macro_export]
macro_rules! conformance_durable_trim {
    ($backend:expr) => {
        $crate::conformance!(
            @tests $backend;
            trims_survive
            an_emptied_partition_keeps_its_place
        );
    };
}

const NOTHING: Retention =
    Retention { not_past: Offset(u64::MAX), older_than: None, max_bytes: None };
const ALL: usize = usize::MAX;
const P0: Partition = Partition(0);

fn count(partitions: u32) -> PartitionCount {
    PartitionCount::new(partitions).expect("the suite asks for a valid number")
}

fn bounds(earliest: u64, next: u64) -> Bounds {
    Bounds { earliest: Offset(earliest), next: Offset(next) }
}

/// A payload that no other place shares, `len` bytes long or as long as its name.
fn payload(partition: Partition, number: u64, len: usize) -> Bytes {
    let mut bytes = format!("{partition}/{number}/").into_bytes();
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.push(state as u8);
    }
    bytes.into()
}

async fn fill(log: &dyn Log, partition: Partition, numbers: std::ops::Range<u64>, len: usize) {
    let appends = numbers.clone().map(|n| log.append(partition, payload(partition, n, len)));
    let offsets = try_join_all(appends).await.expect("appended");
    assert!(offsets.into_iter().map(|offset| offset.0).eq(numbers), "offsets are dense, in order");
}

/// Reads from `from` up to the next offset, in steps of `max_bytes`.
async fn read_all(log: &dyn Log, partition: Partition, from: u64, max_bytes: usize) -> Vec<Record> {
    let next = log.bounds(partition).next;
    let mut records: Vec<Record> = Vec::new();
    let mut from = Offset(from);
    while from < next {
        let some = log.read(partition, from, max_bytes).await.expect("readable");
        from = some.last().expect("a read gives at least one record").offset.next();
        records.extend(some);
    }
    records
}

/// The partition holds exactly the payloads of `numbers`, at those offsets.
async fn assert_holds(
    log: &dyn Log,
    partition: Partition,
    numbers: std::ops::Range<u64>,
    len: usize,
) {
    assert_eq!(log.bounds(partition), bounds(numbers.start, numbers.end));
    let expected: Vec<_> = numbers
        .clone()
        .map(|n| Record { offset: Offset(n), payload: payload(partition, n, len) })
        .collect();
    for max_bytes in [0, 3 * len, ALL] {
        let held = read_all(log, partition, numbers.start, max_bytes).await;
        assert!(held == expected, "partition {partition} holds what was appended");
    }
    if let Some(before) = numbers.start.checked_sub(1) {
        let (from, earliest) = (Offset(before), Offset(numbers.start));
        let trimmed = log.read(partition, from, ALL).await;
        assert_eq!(trimmed, Err(ReadError::Trimmed { partition, from, earliest }));
    }
}

/// Fails the test instead of hanging it.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("done within 30 s")
}

/// A new log starts at offset 0.
pub async fn an_empty_log_is_empty(backend: impl Backend) {
    let log = backend.open(count(3)).await;
    assert_eq!(log.partitions(), count(3));
    for partition in count(3).iter() {
        assert_eq!(log.bounds(partition), bounds(0, 0));
    }
    assert_eq!(log.trim(P0, NOTHING).await, Ok(bounds(0, 0)));
}

/// Every partition counts from 0 without gaps.
pub async fn offsets_are_dense_and_partitions_independent(backend: impl Backend) {
    let log = backend.open(count(3)).await;
    for number in 0..20 {
        for partition in count(3).iter().skip(1) {
            fill(&*log, partition, number..number + 1, 10).await;
        }
    }
    assert_holds(&*log, P0, 0..0, 10).await;
    assert_holds(&*log, Partition(1), 0..20, 10).await;
    assert_holds(&*log, Partition(2), 0..20, 10).await;
}

/// No length is special, and neither is any byte.
pub async fn bytes_come_back_as_they_went_in(backend: impl Backend) {
    let log = backend.open(count(1)).await;
    let lens = [0, 1, 7, 8, 255, 4095, 4096, 4097, 40_000, 65_536, 100_000];
    let payloads: Vec<Bytes> =
        lens.iter().map(|len| (0..*len).map(|i: u32| (i % 256) as u8).collect()).collect();
    for payload in &payloads {
        log.append(P0, payload.clone()).await.expect("appended");
    }
    let held = read_all(&*log, P0, 0, ALL).await;
    assert!(held.iter().map(|record| &record.payload).eq(&payloads));
}

/// Records of one caller keep the order of its calls, whoever is polled first.
pub async fn calls_keep_their_order(backend: impl Backend) {
    let log = backend.open(count(1)).await;
    let mut appends: Vec<_> = (0..100).map(|n| log.append(P0, payload(P0, n, 10))).collect();
    appends.reverse();
    let offsets = try_join_all(appends).await.expect("appended");
    assert!(offsets.into_iter().map(|offset| offset.0).eq((0..100).rev()));
    assert_holds(&*log, P0, 0..100, 10).await;
}

/// Appends from many tasks each get an offset of their own, and their record is there.
pub async fn concurrent_appends_lose_nothing(backend: impl Backend) {
    const TASKS: u64 = 8;
    const EACH: u64 = 50;
    let log = backend.open(count(2)).await;
    let tasks = (0..TASKS).map(|task| {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            let partition = Partition(task as u32 % 2);
            let mut taken = Vec::new();
            for number in task * EACH..(task + 1) * EACH {
                let payload = payload(partition, number, 100);
                let offset = log.append(partition, payload.clone()).await.expect("appended");
                taken.push((partition, Record { offset, payload }));
            }
            taken
        })
    });
    let taken: Vec<_> = join_all(tasks).await.into_iter().flat_map(|t| t.expect("ran")).collect();
    for partition in count(2).iter() {
        let mut expected: Vec<_> =
            taken.iter().filter(|(p, _)| *p == partition).map(|(_, r)| r.clone()).collect();
        expected.sort_by_key(|record| record.offset);
        assert_eq!(log.bounds(partition), bounds(0, TASKS * EACH / 2));
        assert!(read_all(&*log, partition, 0, ALL).await == expected);
    }
}

/// Once an append has resolved, its record is counted and readable.
pub async fn an_acknowledged_record_is_visible(backend: impl Backend) {
    let log = backend.open(count(1)).await;
    for number in 0..50 {
        let offset = log.append(P0, payload(P0, number, 10)).await.expect("appended");
        assert!(log.bounds(P0).next > offset);
        let read = soon(log.read(P0, offset, ALL)).await;
        assert_eq!(read.expect("readable")[0].payload, payload(P0, number, 10));
    }
}

/// The record is queued by the call; dropping the future does not take it back.
pub async fn an_unpolled_append_is_not_withdrawn(backend: impl Backend) {
    let log = backend.open(count(1)).await;
    drop(log.append(P0, payload(P0, 0, 10)));
    assert_eq!(log.append(P0, payload(P0, 1, 10)).await, Ok(Offset(1)));
    assert_holds(&*log, P0, 0..2, 10).await;
}

/// A read gives what fits, and at least one record.
pub async fn reads_stop_at_the_byte_limit(backend: impl Backend) {
    let log = backend.open(count(1)).await;
    fill(&*log, P0, 0..10, 100).await;
    for (max_bytes, records) in [(0, 1), (99, 1), (199, 1), (200, 2), (450, 4), (ALL, 10)] {
        let read = log.read(P0, Offset(0), max_bytes).await.expect("readable");
        assert_eq!(read.len(), records, "within {max_bytes} bytes");
    }
    fill(&*log, P0, 10..11, 100).await;
    log.append(P0, Bytes::new()).await.expect("appended");
    let read = log.read(P0, Offset(10), 50).await.expect("readable");
    assert_eq!(read.len(), 1, "nothing follows a record that is over the limit by itself");
}

/// A read at the next offset resolves with the record that gets it, and not before.
pub async fn a_read_at_the_end_waits(backend: impl Backend) {
    let log = backend.open(count(2)).await;
    fill(&*log, P0, 0..1, 10).await;
    let mut read = log.read(P0, Offset(1), ALL);
    assert!((&mut read).now_or_never().is_none());
    fill(&*log, Partition(1), 0..1, 10).await;
    assert!((&mut read).now_or_never().is_none(), "another partition does not matter");
    fill(&*log, P0, 1..2, 10).await;
    let expected = vec![Record { offset: Offset(1), payload: payload(P0, 1, 10) }];
    assert_eq!(soon(read).await, Ok(expected));
}

/// One append wakes all who wait for it.
pub async fn many_readers_wait_at_once(backend: impl Backend) {
    let log = backend.open(count(1)).await;
    let mut reads: Vec<_> = (0..50).map(|_| log.read(P0, Offset(0), ALL)).collect();
    for read in &mut reads {
        assert!(read.now_or_never().is_none());
    }
    fill(&*log, P0, 0..1, 10).await;
    for read in soon(join_all(reads)).await {
        assert_eq!(read.expect("readable")[0].offset, Offset(0));
    }
}

/// A reader that follows the tail while it moves sees every record once, in order.
pub async fn a_waiting_read_does_not_miss_a_race(backend: impl Backend) {
    const RECORDS: u64 = 300;
    let log = backend.open(count(1)).await;
    let follower = {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            let mut seen = Vec::new();
            while (seen.len() as u64) < RECORDS {
                let from = Offset(seen.len() as u64);
                seen.extend(log.read(P0, from, 1000).await.expect("readable"));
            }
            seen
        })
    };
    for number in 0..RECORDS {
        log.append(P0, payload(P0, number, 50)).await.expect("appended");
    }
    let seen = soon(follower).await.expect("ran");
    for (number, record) in (0..).zip(seen) {
        assert_eq!(record, Record { offset: Offset(number), payload: payload(P0, number, 50) });
    }
}

/// A read past the next offset is an error, not a wait.
pub async fn beyond_the_end_is_out_of_range(backend: impl Backend) {
    let log = backend.open(count(1)).await;
    fill(&*log, P0, 0..2, 10).await;
    for from in [Offset(3), Offset(u64::MAX)] {
        let error = ReadError::OutOfRange { partition: P0, from, next: Offset(2) };
        assert_eq!(log.read(P0, from, ALL).await, Err(error));
    }
}

/// The largest record passes; one byte more is refused and leaves no trace.
pub async fn large_records_pass_and_too_large_ones_do_not(backend: impl Backend) {
    let log = backend.open(count(1)).await;
    let (bytes, limit) = (MAX_RECORD_BYTES + 1, MAX_RECORD_BYTES);
    let refused = log.append(P0, vec![7; bytes].into()).await;
    assert_eq!(refused, Err(AppendError::TooLarge { bytes, limit }));
    let largest = Bytes::from(vec![7; limit]);
    assert_eq!(log.append(P0, largest.clone()).await, Ok(Offset(0)));
    let read = log.read(P0, Offset(0), 10).await.expect("readable");
    assert!(read == [Record { offset: Offset(0), payload: largest.clone() }]);
    // Also behind others, with which a backend may put it together.
    let small = Bytes::from(vec![1; 200_000]);
    let queued = [&small, &small, &largest].map(|payload| log.append(P0, payload.clone()));
    assert_eq!(soon(try_join_all(queued)).await, Ok(vec![Offset(1), Offset(2), Offset(3)]));
    let read = soon(log.read(P0, Offset(3), 10)).await.expect("readable");
    assert!(read == [Record { offset: Offset(3), payload: largest }]);
}

/// The oldest records go until the rest is small enough.
pub async fn trim_by_size(backend: impl Backend) {
    let log = backend.open(count(2)).await;
    fill(&*log, P0, 0..10, 100).await;
    fill(&*log, Partition(1), 0..10, 100).await;
    let retention = Retention { max_bytes: Some(450), ..NOTHING };
    assert_eq!(log.trim(P0, retention).await, Ok(bounds(6, 10)));
    assert_eq!(log.trim(P0, retention).await, Ok(bounds(6, 10)));
    assert_holds(&*log, P0, 6..10, 100).await;
    assert_holds(&*log, Partition(1), 0..10, 100).await;
}

/// Records appended before an instant go, later ones stay.
pub async fn trim_by_age(backend: impl Backend) {
    let log = backend.open(count(1)).await;
    fill(&*log, P0, 0..5, 10).await;
    let after_the_first = next_millisecond();
    fill(&*log, P0, 5..10, 10).await;
    let long_ago = after_the_first.minus(Duration::from_hours(1));
    let retention = |instant| Retention { older_than: Some(instant), ..NOTHING };
    assert_eq!(log.trim(P0, retention(long_ago)).await, Ok(bounds(0, 10)));
    assert_eq!(log.trim(P0, retention(after_the_first)).await, Ok(bounds(5, 10)));
    assert_holds(&*log, P0, 5..10, 10).await;
}

/// An instant after every one that was.
fn next_millisecond() -> Timestamp {
    let now = Timestamp::now();
    while Timestamp::now() <= now {
        std::hint::spin_loop();
    }
    Timestamp::now()
}

/// Whatever the rules say, records from `not_past` on stay.
pub async fn trim_stops_at_not_past(backend: impl Backend) {
    let log = backend.open(count(1)).await;
    fill(&*log, P0, 0..10, 10).await;
    let later = Timestamp::now().plus(Duration::from_hours(1));
    for (not_past, earliest) in [(0, 0), (4, 4), (2, 4), (7, 7)] {
        let retention =
            Retention { not_past: Offset(not_past), older_than: Some(later), max_bytes: Some(0) };
        assert_eq!(log.trim(P0, retention).await, Ok(bounds(earliest, 10)));
    }
    assert_holds(&*log, P0, 7..10, 10).await;
}

/// A retention without age or size trims nothing.
pub async fn trim_without_a_rule_keeps_all(backend: impl Backend) {
    let log = backend.open(count(1)).await;
    fill(&*log, P0, 0..3, 10).await;
    assert_eq!(log.trim(P0, NOTHING).await, Ok(bounds(0, 3)));
    assert_holds(&*log, P0, 0..3, 10).await;
}

/// A partition may become empty; offsets go on from where they were.
pub async fn trim_everything_and_go_on(backend: impl Backend) {
    let log = backend.open(count(1)).await;
    fill(&*log, P0, 0..10, 10).await;
    let retention = Retention { max_bytes: Some(0), ..NOTHING };
    assert_eq!(log.trim(P0, retention).await, Ok(bounds(10, 10)));
    let read = log.read(P0, Offset(10), ALL);
    fill(&*log, P0, 10..12, 10).await;
    assert_eq!(soon(read).await.expect("readable")[0].offset, Offset(10));
    assert_holds(&*log, P0, 10..12, 10).await;
}

/// While records are trimmed, a reader gets them whole or is told that they are gone.
pub async fn readers_and_trims_agree(backend: impl Backend) {
    const RECORDS: u64 = 200;
    let log = backend.open(count(1)).await;
    fill(&*log, P0, 0..RECORDS, 2000).await;
    let reader = {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            let mut from = Offset(0);
            while from < Offset(RECORDS) {
                match log.read(P0, from, 5000).await {
                    Ok(records) => {
                        for (offset, record) in (from.0..).zip(&records) {
                            assert_eq!(record.offset.0, offset);
                            assert_eq!(record.payload, payload(P0, offset, 2000));
                        }
                        from.0 += records.len() as u64;
                    }
                    Err(ReadError::Trimmed { earliest, .. }) if earliest > from => from = earliest,
                    Err(error) => panic!("{error}"),
                }
            }
        })
    };
    for not_past in 1..=RECORDS - 10 {
        let retention =
            Retention { not_past: Offset(not_past), max_bytes: Some(0), older_than: None };
        assert_eq!(log.trim(P0, retention).await, Ok(bounds(not_past, RECORDS)));
    }
    soon(reader).await.expect("the reader saw nothing wrong");
}

/// After a restart everything is as before, and offsets go on.
pub async fn records_and_offsets_survive(backend: impl Backend) {
    for round in 0..3 {
        let log = backend.open(count(2)).await;
        assert_holds(&*log, P0, 0..round * 10, 500).await;
        fill(&*log, P0, round * 10..(round + 1) * 10, 500).await;
        fill(&*log, Partition(1), round..round + 1, 50_000).await;
        backend.close().await;
    }
    let log = backend.open(count(2)).await;
    assert_holds(&*log, P0, 0..30, 500).await;
    assert_holds(&*log, Partition(1), 0..3, 50_000).await;
}

/// What was trimmed in order stays trimmed.
pub async fn trims_survive(backend: impl Backend) {
    let log = backend.open(count(1)).await;
    fill(&*log, P0, 0..10, 100).await;
    log.trim(P0, Retention { max_bytes: Some(300), ..NOTHING }).await.expect("trimmed");
    backend.close().await;
    let log = backend.open(count(1)).await;
    assert_holds(&*log, P0, 7..10, 100).await;
    let trimmed = log.trim(P0, Retention { max_bytes: Some(200), ..NOTHING }).await;
    assert_eq!(trimmed, Ok(bounds(8, 10)), "the bytes held are known after a restart");
}

/// A partition that was trimmed to nothing does not start at 0 again.
pub async fn an_emptied_partition_keeps_its_place(backend: impl Backend) {
    let log = backend.open(count(1)).await;
    fill(&*log, P0, 0..10, 100).await;
    log.trim(P0, Retention { max_bytes: Some(0), ..NOTHING }).await.expect("trimmed");
    backend.close().await;
    let log = backend.open(count(1)).await;
    assert_holds(&*log, P0, 10..10, 100).await;
    fill(&*log, P0, 10..11, 100).await;
    assert_holds(&*log, P0, 10..11, 100).await;
}
