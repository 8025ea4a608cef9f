//! Reads one partition: what is before its end is fetched in large pieces and kept for the reads to come.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use fluvio_protocol::{link::ErrorCode, record::RecordSet};
use fluvio_spu_schema::{
    Isolation as WireIsolation,
    fetch::{DefaultFetchRequest, FetchPartition, FetchableTopic},
};
use log::{Bounds, ReadBudget, ReadError, Record};
use model::Offset;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{
    ClusterError,
    back_off::BackOff,
    link::Link,
    partition::{Part, Shared},
};

/// Bytes asked for at a time: at least the largest batch the server takes, with its envelope, for a piece
/// of a batch is of no use.
const FETCH_BYTES: i32 = 3 << 20;

/// Before a leader that gave nothing is asked again.
const EMPTY_PAUSE: Duration = Duration::from_millis(25);

pub(crate) struct Reader {
    shared: Arc<Shared>,
    /// Records fetched and not asked for yet, in order, without gaps.
    fetched: Mutex<VecDeque<Record>>,
    link: tokio::sync::Mutex<(Link, BackOff)>,
    stop: CancellationToken,
}

/// Counts a reader that waits at the end, as long as it does.
struct Waiting<'a>(&'a Shared);

impl<'a> Waiting<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.waiting.send_modify(|waiting| *waiting += 1);
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|waiting| *waiting -= 1);
    }
}

impl Reader {
    pub(crate) fn new(
        shared: Arc<Shared>,
        link: Link,
        back_off: BackOff,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let link = tokio::sync::Mutex::new((link, back_off));
        Arc::new(Self { shared, fetched: Mutex::default(), link, stop })
    }

    /// As [`log::Log::read`] says; ends with [`ReadError::Stopped`] when the log is closed.
    pub(crate) async fn read(
        self: Arc<Self>,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let stop = self.stop.clone();
        let read = stop.run_until_cancelled(self.wait_and_read(from, max_bytes)).await;
        read.unwrap_or_else(|| Err(ReadError::Stopped("it was closed".to_owned())))
    }

    async fn wait_and_read(
        self: Arc<Self>,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let mut bounds = self.shared.watch();
        loop {
            let known = *bounds.borrow_and_update();
            if from >= known.earliest
                && let Some(records) = self.take(from, max_bytes)
            {
                return Ok(records);
            }
            if known.readable(self.shared.partition, from)? {
                // A task of its own: whoever gives up waiting does not break the fetch off.
                let this = Arc::clone(&self);
                let fetch = tokio::spawn(async move {
                    let stop = this.stop.clone();
                    stop.run_until_cancelled(this.fetch(from)).await.unwrap_or(Ok(()))
                });
                fetch.await.map_err(|error| ReadError::Stopped(error.to_string()))??;
            } else {
                let _waiting = Waiting::new(&self.shared);
                let closed = |_| ReadError::Stopped("it was closed".to_owned());
                bounds.changed().await.map_err(closed)?;
            }
        }
    }

    /// Records from `from` on, if they are here; those before it are not needed any more.
    fn take(&self, from: Offset, max_bytes: usize) -> Option<Vec<Record>> {
        let mut fetched = self.fetched.lock();
        let first = fetched.front()?.offset;
        if from < first || from > fetched.back()?.offset {
            return None;
        }
        fetched.drain(..(from.0 - first.0) as usize);
        let mut budget = ReadBudget::new(max_bytes);
        let taken = fetched.iter().take_while(|record| budget.admits(record.payload.len()));
        Some(taken.cloned().collect())
    }

    /// Fetches from `from` on, which is before the end; tries until it succeeds.
    async fn fetch(&self, from: Offset) -> Result<(), ReadError> {
        let (link, back_off) = &mut *self.link.lock().await;
        // Another reader may have fetched the same meanwhile.
        while self.take(from, 0).is_none() {
            match attempt(link, from).await {
                Ok(Fetched { bounds, records }) => {
                    self.shared.works(Part::Read, back_off);
                    self.shared.grow(bounds);
                    self.shared.bounds().readable(self.shared.partition, from)?;
                    if records.is_empty() {
                        // After a change of leaders the end may be before where it was known to be.
                        tokio::time::sleep(EMPTY_PAUSE).await;
                    } else {
                        *self.fetched.lock() = records;
                    }
                }
                Err(error) => self.shared.fails(Part::Read, &error, back_off).await,
            }
        }
        Ok(())
    }
}

struct Fetched {
    bounds: Bounds,
    records: VecDeque<Record>,
}

async fn attempt(link: &mut Link, from: Offset) -> Result<Fetched, ClusterError> {
    let partition = FetchPartition {
        partition_index: link.partition(),
        fetch_offset: from.0 as i64,
        max_bytes: FETCH_BYTES,
        ..Default::default()
    };
    let topic = FetchableTopic { name: link.topic().to_owned(), fetch_partitions: vec![partition] };
    let request = DefaultFetchRequest {
        max_bytes: FETCH_BYTES,
        isolation_level: WireIsolation::ReadCommitted,
        topics: vec![topic],
        ..Default::default()
    };
    let answer = link.call(request, Duration::ZERO).await?;
    let Some(told) = answer.find_partition(link.topic(), link.partition()) else {
        return Err(link.refused("the answer does not name the partition"));
    };
    let mut bounds = Bounds {
        earliest: Offset(told.log_start_offset.max(0) as u64),
        next: Offset(told.high_watermark.max(0) as u64),
    };
    let records = match told.error_code {
        ErrorCode::None => records(told.records, from),
        ErrorCode::OffsetEvicted { next_available, .. } => {
            bounds.earliest = Offset(next_available.max(0) as u64);
            VecDeque::new()
        }
        error => return Err(link.refused(format!("{error:?}"))),
    };
    if records.iter().zip(from.0..).any(|(record, offset)| record.offset.0 != offset) {
        return Err(link.refused(format!("the records from offset {from} on have gaps")));
    }
    Ok(Fetched { bounds, records })
}

/// The records of whole batches from `from` on; a batch may begin before it.
fn records(set: RecordSet, from: Offset) -> VecDeque<Record> {
    set.batches
        .into_iter()
        .flat_map(|batch| {
            let base = batch.get_base_offset() as u64;
            batch.own_records().into_iter().zip(base..)
        })
        .filter(|(_, offset)| *offset >= from.0)
        .map(|(record, offset)| Record {
            offset: Offset(offset),
            payload: Bytes::copy_from_slice(record.value.as_ref()),
        })
        .collect()
}
