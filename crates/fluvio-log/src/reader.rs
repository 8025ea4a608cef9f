//! Reads one partition: its leader sends what there is, in large pieces, and what is new as soon as it is there; each
//! piece is kept for the reads to come.
//!
//! [`Reader`] is asked; [`Follower`], a task of its own, has the connection: so giving up a read does not break off
//! what is under way. The follower receives where readers go on. If one asks for another offset, it begins anew
//! there, with a new connection: readers far apart from each other, in one partition of one log, hold each other up.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use fluvio_protocol::{
    link::ErrorCode,
    record::{MemoryRecords, RecordSet},
};
use fluvio_spu_schema::{
    Isolation as WireIsolation,
    server::{
        stream_fetch::{StreamFetchRequest, StreamFetchResponse},
        update_offset::{OffsetUpdate, UpdateOffsetsRequest},
    },
};
use log::{Bounds, ReadBudget, ReadError, Record};
use model::Offset;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    ClusterError,
    back_off::BackOff,
    link::Link,
    partition::{Part, Shared},
};

/// Bytes of a piece: at least the largest batch the server takes, with its envelope, for a part of a batch is of no
/// use.
const PIECE_BYTES: i32 = 3 << 20;

/// A piece must come within this time after its records were acknowledged to whoever appended them.
const PIECE_TIME: Duration = Duration::from_secs(5);

type Request = StreamFetchRequest<RecordSet<MemoryRecords>>;
type Piece = StreamFetchResponse<RecordSet<MemoryRecords>>;

pub(crate) struct Reader {
    shared: Arc<Shared>,
    /// The last piece, in order, without gaps.
    piece: Mutex<VecDeque<Record>>,
    /// Told when there is another.
    arrived: watch::Sender<()>,
    /// The offset asked for last.
    wanted: watch::Sender<Option<Offset>>,
    stop: CancellationToken,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            shared,
            piece: Mutex::default(),
            arrived: watch::Sender::new(()),
            wanted: watch::Sender::new(None),
            stop,
        })
    }

    /// As [`log::Log::read`] says; ends with [`ReadError::Stopped`] when the log is closed.
    pub(crate) async fn read(
        self: Arc<Self>,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let read = self.stop.run_until_cancelled(self.wait_and_read(from, max_bytes)).await;
        read.unwrap_or_else(|| Err(closed()))
    }

    async fn wait_and_read(
        &self,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let (mut bounds, mut arrived) = (self.shared.watch(), self.arrived.subscribe());
        loop {
            let known = *bounds.borrow_and_update();
            arrived.mark_unchanged();
            if from >= known.earliest
                && let Some(records) = self.take(from, max_bytes)
            {
                return Ok(records);
            }
            known.readable(self.shared.partition, from)?;
            self.wanted.send_replace(Some(from));
            let told = tokio::select! {
                told = arrived.changed() => told,
                told = bounds.changed() => told,
            };
            told.map_err(|_| closed())?;
        }
    }

    /// Records from `from` on, if they are here; those before it are not needed any more.
    fn take(&self, from: Offset, max_bytes: usize) -> Option<Vec<Record>> {
        let mut piece = self.piece.lock();
        let first = piece.front()?.offset;
        if from < first || from > piece.back()?.offset {
            return None;
        }
        piece.drain(..(from.0 - first.0) as usize);
        let mut budget = ReadBudget::new(max_bytes);
        let taken = piece.iter().take_while(|record| budget.admits(record.payload.len()));
        Some(taken.cloned().collect())
    }

    /// The offset that a reader waits for, once one does.
    async fn wanted(&self) -> Offset {
        let mut wanted = self.wanted.subscribe();
        loop {
            let from = *wanted.borrow_and_update();
            if let Some(from) = from.filter(|&from| self.take(from, 0).is_none()) {
                return from;
            }
            // The sender is here: it does not go away.
            let _ = wanted.changed().await;
        }
    }

    fn put(&self, records: VecDeque<Record>) {
        *self.piece.lock() = records;
        self.arrived.send_replace(());
    }
}

fn closed() -> ReadError {
    ReadError::Stopped("it was closed".to_owned())
}

/// Receives what readers want.
pub(crate) struct Follower {
    pub(crate) reader: Arc<Reader>,
    pub(crate) link: Link,
    pub(crate) back_off: BackOff,
}

impl Follower {
    pub(crate) async fn run(mut self) {
        let stop = self.reader.stop.clone();
        let follow = async {
            loop {
                let from = self.reader.wanted().await;
                if let Err(error) = self.follow(from).await {
                    self.reader.shared.fails(Part::Read, &error, &mut self.back_off).await;
                }
            }
        };
        stop.run_until_cancelled(follow).await;
    }

    /// Receives from `next` on, as long as that is where readers go on.
    async fn follow(&mut self, mut next: Offset) -> Result<(), ClusterError> {
        let reader = Arc::clone(&self.reader);
        let mut recoveries = reader.shared.recoveries();
        let mut pieces = self.link.subscribe(self.request(next)).await?;
        loop {
            let piece = tokio::select! {
                piece = self.link.answer(&mut pieces) => piece?,
                () = overdue(&reader.shared, next) => {
                    return Err(self.link.refused("it does not send what is there"));
                }
                _ = recoveries.changed() => {
                    return Err(self.link.refused("it was out of reach, or does not lead any more"));
                }
            };
            let session = piece.stream_id;
            let Some(records) = self.check(piece, next)? else { return Ok(()) };
            next = Offset(next.0 + records.len() as u64);
            reader.put(records);
            // The next piece may be on its way while this one is read.
            self.acknowledge(session, next).await?;
            if reader.wanted().await != next {
                self.link.disconnect();
                return Ok(());
            }
        }
    }

    fn request(&self, from: Offset) -> Request {
        let mut request = Request::default();
        self.link.topic().clone_into(&mut request.topic);
        request.partition = self.link.partition();
        request.fetch_offset = from.0 as i64;
        request.max_bytes = PIECE_BYTES;
        request.isolation = WireIsolation::ReadCommitted;
        request
    }

    /// The records of a piece, `None` if they are gone.
    fn check(
        &mut self,
        piece: Piece,
        from: Offset,
    ) -> Result<Option<VecDeque<Record>>, ClusterError> {
        let told = piece.partition;
        let shared = &self.reader.shared;
        match told.error_code {
            ErrorCode::None => {}
            ErrorCode::OffsetEvicted { next_available, .. } => {
                self.reader.wanted.send_replace(None);
                let earliest = Offset(next_available.max(0) as u64);
                shared.grow(Bounds { earliest, next: Offset(0) });
                self.link.disconnect();
                return Ok(None);
            }
            error => return Err(self.link.refused(format!("{error:?}"))),
        }
        let records = records(told.records, from);
        if records.is_empty() {
            return Err(self.link.refused(format!("it sends no whole batch at offset {from}")));
        }
        if records.iter().zip(from.0..).any(|(record, offset)| record.offset.0 != offset) {
            return Err(self.link.refused(format!("the records from offset {from} on have gaps")));
        }
        shared.works(Part::Read, &mut self.back_off);
        shared.grow(Bounds {
            earliest: Offset(told.log_start_offset.max(0) as u64),
            next: Offset(told.high_watermark.max(0) as u64),
        });
        Ok(Some(records))
    }

    /// Asks for the next piece.
    async fn acknowledge(&mut self, session: u32, next: Offset) -> Result<(), ClusterError> {
        let update = OffsetUpdate { offset: next.0 as i64, session_id: session };
        let request = UpdateOffsetsRequest::new(vec![update]);
        let answer = self.link.call(request, Duration::ZERO).await?;
        match answer.status.first() {
            Some(status) if status.error == ErrorCode::None => Ok(()),
            status => Err(self.link.refused(format!("it does not go on: {status:?}"))),
        }
    }
}

/// Resolves when there has been something at `next` for so long that it ought to have come.
async fn overdue(shared: &Shared, next: Offset) {
    let mut bounds = shared.watch();
    // The sender is in `shared`: it does not go away.
    let _ = bounds.wait_for(|known| known.next > next).await;
    tokio::time::sleep(PIECE_TIME).await;
}

/// The records of whole batches from `from` on; a batch may begin before it.
fn records(set: RecordSet<MemoryRecords>, from: Offset) -> VecDeque<Record> {
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
