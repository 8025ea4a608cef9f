//! A log in memory, for tests.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use futures_util::{FutureExt, future, future::BoxFuture};
use model::{Offset, Partition, PartitionCount, Timestamp};
use tokio::sync::watch;

use crate::{
    AppendError, Bounds, Log, MAX_RECORD_BYTES, ReadError, Record, Retention, TrimError,
    budget::ReadBudget,
};

/// A log in memory: the whole contract but durability across restarts, and no bound on what it
/// holds. For tests.
#[derive(Debug)]
pub struct MemoryLog {
    partitions: PartitionCount,
    held: Vec<watch::Sender<Held>>,
}

/// The records of one partition.
#[derive(Debug, Default)]
struct Held {
    earliest: Offset,
    records: VecDeque<(Timestamp, Bytes)>,
    bytes: u64,
}

impl MemoryLog {
    /// An empty log.
    pub fn new(partitions: PartitionCount) -> Arc<Self> {
        let held = partitions.iter().map(|_| watch::Sender::default()).collect();
        Arc::new(Self { partitions, held })
    }

    fn held(&self, partition: Partition) -> &watch::Sender<Held> {
        &self.held[partition.0 as usize]
    }
}

impl Held {
    fn bounds(&self) -> Bounds {
        let next = Offset(self.earliest.0 + self.records.len() as u64);
        Bounds { earliest: self.earliest, next }
    }

    fn append(&mut self, payload: Bytes) -> Offset {
        let offset = self.bounds().next;
        self.bytes += payload.len() as u64;
        self.records.push_back((Timestamp::now(), payload));
        offset
    }

    fn read(&self, from: Offset, max_bytes: usize) -> Vec<Record> {
        let mut budget = ReadBudget::new(max_bytes);
        let skip = (from.0 - self.earliest.0) as usize;
        (from.0..)
            .zip(self.records.range(skip..))
            .take_while(|(_, (_, payload))| budget.admits(payload.len()))
            .map(|(offset, (_, payload))| Record {
                offset: Offset(offset),
                payload: payload.clone(),
            })
            .collect()
    }

    fn trim(&mut self, retention: &Retention) {
        while let Some((appended, payload)) = self.records.front() {
            if !retention.trims(self.earliest, *appended, self.bytes) {
                break;
            }
            self.bytes -= payload.len() as u64;
            self.records.pop_front();
            self.earliest = self.earliest.next();
        }
    }
}

impl Log for MemoryLog {
    fn partitions(&self) -> PartitionCount {
        self.partitions
    }

    fn append(
        &self,
        partition: Partition,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<Offset, AppendError>> {
        let bytes = payload.len();
        if bytes > MAX_RECORD_BYTES {
            let error = AppendError::TooLarge { bytes, limit: MAX_RECORD_BYTES };
            return future::err(error).boxed();
        }
        let mut offset = Offset(0);
        self.held(partition).send_modify(|held| offset = held.append(payload));
        future::ok(offset).boxed()
    }

    fn read(
        &self,
        partition: Partition,
        from: Offset,
        max_bytes: usize,
    ) -> BoxFuture<'static, Result<Vec<Record>, ReadError>> {
        let mut changes = self.held(partition).subscribe();
        async move {
            loop {
                {
                    let held = changes.borrow_and_update();
                    if held.bounds().readable(partition, from)? {
                        return Ok(held.read(from, max_bytes));
                    }
                }
                let dropped = |_| ReadError::Stopped("it was closed".to_owned());
                changes.changed().await.map_err(dropped)?;
            }
        }
        .boxed()
    }

    fn bounds(&self, partition: Partition) -> Bounds {
        self.held(partition).borrow().bounds()
    }

    fn trim(
        &self,
        partition: Partition,
        retention: Retention,
    ) -> BoxFuture<'static, Result<Bounds, TrimError>> {
        let held = self.held(partition);
        held.send_modify(|held| held.trim(&retention));
        future::ok(self.bounds(partition)).boxed()
    }
}
