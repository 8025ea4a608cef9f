//! Appends to one partition: one request at a time, repeated until it is acknowledged.
//!
//! With one request under way, records are in the stream in the order in which they were queued. Where it
//! is unclear whether a request took effect, it is sent again, all of it: then its records may be in
//! the stream twice, one run after the other and nothing of a later request between, and whoever reads them
//! recognises the second run by the sequence numbers in the batches.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use fluvio_protocol::{
    link::ErrorCode,
    record::{Batch, RawRecords, Record, RecordSet},
};
use fluvio_spu_schema::{
    Isolation as WireIsolation,
    produce::{DefaultPartitionRequest, DefaultProduceRequest, DefaultTopicRequest},
    server::fetch_offset::FetchOffsetsRequest,
};
use log::{AppendError, Bounds};
use model::Offset;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    ClusterError, Isolation,
    back_off::BackOff,
    link::Link,
    partition::{Part, Shared},
    tail::replica,
};

/// The most payload bytes of a request of several records; one that is larger goes alone. The server takes
/// batches of 2 MiB.
const REQUEST_BYTES: usize = 256 * 1024;
/// How long the server may wait for the other replicas.
const COMMIT_TIME: Duration = Duration::from_secs(2);
/// Between two looks whether the other replicas have come up.
const COMMIT_POLL: Duration = Duration::from_millis(50);
/// How long the other replicas are waited for before the records are sent again; then twice as long.
const REPEAT_AFTER: Duration = Duration::from_secs(4);
/// How many times one leader is sent a request that it has. The same for all: each can come to have as much as
/// the one before it.
const MOST_SENT: u32 = 7;

/// A record that waits for its offset.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) payload: Bytes,
    pub(crate) done: oneshot::Sender<Result<Offset, AppendError>>,
}

pub(crate) struct Appender {
    pub(crate) shared: Arc<Shared>,
    pub(crate) link: Link,
    pub(crate) isolation: Isolation,
    pub(crate) queue: mpsc::UnboundedReceiver<Queued>,
    /// Taken from the queue, but did not fit into the request.
    pub(crate) held: Option<Queued>,
    pub(crate) back_off: BackOff,
    /// Give up what is not acknowledged.
    pub(crate) abandon: CancellationToken,
    /// Told of the payload bytes that are no longer queued.
    pub(crate) released: Arc<dyn Fn(usize) + Send + Sync>,
}

/// How many times a request has been sent to the leader that has it now.
#[derive(Default)]
struct Sent {
    leader: Option<String>,
    times: u32,
}

impl Sent {
    fn note(&mut self, leader: Option<&str>) {
        if self.leader.as_deref() != leader {
            *self = Self { leader: leader.map(str::to_owned), times: 0 };
        }
        self.times = (self.times + 1).min(MOST_SENT);
    }
}

impl Appender {
    /// Runs until the queue is closed and empty.
    pub(crate) async fn run(mut self) {
        while let Some(first) = self.next().await {
            let group = self.gather(first);
            let bytes = group.iter().map(|queued| queued.payload.len()).sum();
            let abandon = self.abandon.clone();
            let appended = abandon.run_until_cancelled(self.append(&group)).await;
            (self.released)(bytes);
            for (queued, number) in group.into_iter().zip(0..) {
                let outcome = appended
                    .map(|base| Offset(base.0 + number))
                    .ok_or_else(|| AppendError::Stopped("it was closed".to_owned()));
                // Whoever waited may have gone away: the record is in the stream all the same.
                let _ = queued.done.send(outcome);
            }
        }
    }

    async fn next(&mut self) -> Option<Queued> {
        match self.held.take() {
            Some(held) => Some(held),
            None => self.queue.recv().await,
        }
    }

    /// What else is queued and fits into the request.
    fn gather(&mut self, first: Queued) -> Vec<Queued> {
        let mut bytes = first.payload.len();
        let mut group = vec![first];
        while let Ok(next) = self.queue.try_recv() {
            bytes += next.payload.len();
            if bytes > REQUEST_BYTES {
                self.held = Some(next);
                break;
            }
            group.push(next);
        }
        group
    }

    /// Tries until the records are in the stream; gives the offset of the first.
    async fn append(&mut self, group: &[Queued]) -> Offset {
        let mut sent = Sent::default();
        loop {
            match self.attempt(group, &mut sent).await {
                Ok(base) => {
                    self.shared.works(Part::Append, &mut self.back_off);
                    let next = Offset(base.0 + group.len() as u64);
                    self.shared.grow(Bounds { earliest: Offset(0), next });
                    return base;
                }
                Err(error) => {
                    self.shared.fails(Part::Append, &error, &mut self.back_off).await;
                }
            }
        }
    }

    async fn attempt(&mut self, group: &[Queued], sent: &mut Sent) -> Result<Offset, ClusterError> {
        let request = self.request(group);
        let answer = self.link.call(request, COMMIT_TIME).await?;
        let (topic, partition) = (self.link.topic(), self.link.partition());
        let Some(told) = answer.find_partition_response(topic, partition) else {
            return Err(self.link.refused("the answer does not name the partition"));
        };
        let base = told.base_offset;
        match &told.error_code {
            ErrorCode::None => {}
            // The leader has the records and waits for the other replicas.
            ErrorCode::RequestTimedOut { .. } => {
                sent.note(self.link.address());
                self.committed(base + group.len() as i64, sent.times).await?;
            }
            error => {
                let error = format!("{error:?}");
                return Err(self.link.refused(error));
            }
        }
        u64::try_from(base).map(Offset).map_err(|_| self.link.refused("a negative offset"))
    }

    /// Waits until everything before `next` is on all replicas, as long as the leader answers that has taken it.
    /// Another, or the same after a start, may have other records there by now: after it has gone, the records are
    /// sent again.
    ///
    /// Not for ever at first: a server that led before, and has got some records more than the one that
    /// leads now, is passed over by it until it has as many. Only the records of this request can be those,
    /// as one request is under way at a time; so it is repeated a few times, and nothing else is sent
    /// before it is acknowledged. A replica that is gone is waited for without more of that.
    async fn committed(&mut self, next: i64, times: u32) -> Result<(), ClusterError> {
        let pause = REPEAT_AFTER * (1 << (times - 1));
        let repeat = (times < MOST_SENT).then(|| Instant::now() + pause);
        let mut back_off = BackOff::new();
        loop {
            let request =
                FetchOffsetsRequest::new(self.link.topic().to_owned(), self.link.partition());
            let answer = self.link.call_again(request, Duration::ZERO).await?;
            let replica = replica(self.link.topic(), self.link.partition());
            match answer.find_partition(&replica) {
                Some(told) if told.error_code == ErrorCode::None => {
                    if told.last_stable_offset >= next {
                        return Ok(());
                    }
                }
                _ => return Err(self.link.refused("it does not lead any more")),
            }
            let slow = ClusterError::Refused {
                topic: self.link.topic().to_owned(),
                partition: self.link.partition(),
                problem: "a replica does not follow".to_owned(),
            };
            if repeat.is_some_and(|repeat| Instant::now() >= repeat) {
                return Err(slow);
            }
            self.shared.fails(Part::Append, &slow, &mut back_off).await;
            tokio::time::sleep(COMMIT_POLL).await;
        }
    }

    fn request(&self, group: &[Queued]) -> DefaultProduceRequest {
        let records: Vec<Record> =
            group.iter().map(|queued| Record::new(queued.payload.to_vec())).collect();
        let batch = Batch::<RawRecords>::try_from(Batch::from(records))
            .expect("records that are not compressed always encode");
        let partition = DefaultPartitionRequest {
            partition_index: self.link.partition(),
            records: RecordSet::default().add(batch),
        };
        let mut topic =
            DefaultTopicRequest { name: self.link.topic().to_owned(), ..Default::default() };
        topic.partitions.push(partition);
        let mut request = DefaultProduceRequest {
            isolation: match self.isolation {
                Isolation::ReadCommitted => WireIsolation::ReadCommitted,
                Isolation::ReadUncommitted => WireIsolation::ReadUncommitted,
            },
            timeout: COMMIT_TIME,
            ..Default::default()
        };
        request.topics.push(topic);
        request
    }
}
