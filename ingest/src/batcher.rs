//! One task per partition: everything queued becomes a batch, one append at a time.
//!
//! Nothing lingers: a batch is what came in while the one before was being appended, so batches grow
//! with the load by themselves. Where threads wait for a core, a batcher lets them go first: else it would run as soon as
//! one request has woken it, before those that other connections have ready, and batches would be many and small.
//! With one append in flight, batches become durable in the order of their sequence numbers, which is what
//! lets the job recognise those it has applied.
//!
//! Under more load than the job can follow, a batcher waits for it, so that what is durable also shows
//! soon: then the queue fills, and more is refused.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use log::{AppendError, Log};
use model::{Batch, Offset, Partition, ProducerId, Purchase, Sequence, Timestamp};
use telemetry::IngestMetrics;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    failure::Failure,
    queue::{Depth, Submission},
};

/// Pauses between attempts while the log has too much queued: doubled each time.
const MIN_BACK_OFF: Duration = Duration::from_millis(1);
const MAX_BACK_OFF: Duration = Duration::from_millis(100);

/// When a batch is full, and when an empty one is due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchLimits {
    pub(crate) purchases: usize,
    pub(crate) bytes: usize,
    pub(crate) tick_interval: Duration,
}

/// With more full batches than this durable and not shown yet, the next one waits.
const MAX_AHEAD: u64 = 2;

/// What comes after the stream, as far as ingest has to know: it is not to be left behind.
pub trait Downstream: std::fmt::Debug + Send + Sync {
    /// Resolves when everything before `next` has been applied, or when it is no use to wait longer.
    fn reached(&self, partition: Partition, next: Offset) -> BoxFuture<'static, ()>;
}

/// Appends the batches of one partition.
#[derive(Debug)]
pub(crate) struct Batcher {
    pub(crate) partition: Partition,
    pub(crate) producer: ProducerId,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) downstream: Option<Arc<dyn Downstream>>,
    pub(crate) limits: BatchLimits,
    pub(crate) metrics: IngestMetrics,
    pub(crate) queue: mpsc::UnboundedReceiver<Submission>,
    pub(crate) depth: Depth,
    pub(crate) shutdown: CancellationToken,
    pub(crate) failure: Arc<Failure>,
}

/// What a batcher has taken from the queue and not appended yet, and where it stands.
#[derive(Debug, Default)]
struct Progress {
    backlog: VecDeque<Pending>,
    /// Batches appended that may not show yet, with their purchases, and the sum of these.
    ahead: VecDeque<(Offset, u64)>,
    purchases_ahead: u64,
    next_sequence: u64,
    append_time: Timestamp,
}

/// A submission, possibly begun.
#[derive(Debug)]
struct Pending {
    rest: std::vec::IntoIter<Purchase>,
    /// Whether some are in a batch.
    begun: bool,
    done: oneshot::Sender<Offset>,
}

/// Why the batcher woke.
enum Woke {
    Purchases,
    Tick,
    Closed,
}

impl Batcher {
    /// Runs until shutdown, and then until everything queued is appended; or until the log stops.
    pub(crate) async fn run(self) {
        let (failure, partition) = (Arc::clone(&self.failure), self.partition);
        if let Err(error) = self.append_all().await {
            tracing::error!(%partition, %error, "ingest has stopped: the log takes no more");
            failure.tell();
        }
    }

    /// # Errors
    /// Why the log has stopped. What was queued is dropped then, which tells those who wait.
    async fn append_all(mut self) -> Result<(), AppendError> {
        let mut progress = Progress::default();
        let mut tick_at = Instant::now() + self.limits.tick_interval;
        loop {
            match self.wait(&mut progress, tick_at).await {
                Woke::Purchases => self.append_batch(&mut progress).await?,
                Woke::Tick => self.append_tick(&mut progress).await?,
                Woke::Closed => return Ok(()),
            }
            tick_at = Instant::now() + self.limits.tick_interval;
        }
    }

    /// Waits for something to do, and takes what is queued, up to about a batch.
    async fn wait(&mut self, progress: &mut Progress, tick_at: Instant) -> Woke {
        // Also when there is always something to do.
        if self.shutdown.is_cancelled() {
            self.queue.close();
        }
        if progress.backlog.is_empty() {
            tokio::select! {
                biased;
                submission = self.queue.recv() => match submission {
                    Some(submission) => progress.push(submission),
                    None => return Woke::Closed,
                },
                () = self.shutdown.cancelled(), if !self.queue.is_closed() => {
                    self.queue.close();
                }
                () = tokio::time::sleep_until(tick_at) => return Woke::Tick,
            }
        }
        // What the threads that serve are about to read belongs to this batch as well.
        std::thread::yield_now();
        while progress.backlog.len() < self.limits.purchases {
            match self.queue.try_recv() {
                Ok(submission) => progress.push(submission),
                Err(_) => break,
            }
        }
        if progress.backlog.is_empty() { Woke::Closed } else { Woke::Purchases }
    }

    /// Waits until not too much is ahead of what shows.
    async fn keep_pace(&self, progress: &mut Progress) {
        let Some(downstream) = &self.downstream else { return };
        while progress.purchases_ahead > MAX_AHEAD * self.limits.purchases as u64
            && let Some((offset, purchases)) = progress.ahead.pop_front()
        {
            downstream.reached(self.partition, offset.next()).await;
            progress.purchases_ahead -= purchases;
        }
    }

    async fn append_batch(&mut self, progress: &mut Progress) -> Result<(), AppendError> {
        self.keep_pace(progress).await;
        let abandoned = progress.skip_abandoned();
        self.depth.release(abandoned);
        self.metrics.abandoned.inc_by(abandoned);
        if progress.backlog.is_empty() {
            return Ok(());
        }
        let (batch, served) = progress.next_batch(self.producer, &self.limits);
        let purchases = batch.purchases.len() as u64;
        let lines = batch.purchases.iter().map(|p| p.lines.len() as u64).sum();
        let payload = Bytes::from(batch.encode());
        self.metrics.batch_purchases.observe(purchases as f64);
        self.metrics.batch_bytes.observe(payload.len() as f64);
        let offset = self.append(payload).await?;
        progress.next_sequence += purchases;
        if self.downstream.is_some() {
            progress.ahead.push_back((offset, purchases));
            progress.purchases_ahead += purchases;
        }
        self.depth.release(purchases);
        self.metrics.purchases.inc_by(purchases);
        self.metrics.lines.inc_by(lines);
        for done in served {
            // Whoever waited may have gone away: the purchase is in the log all the same.
            let _ = done.send(offset);
        }
        Ok(())
    }

    async fn append_tick(&mut self, progress: &mut Progress) -> Result<(), AppendError> {
        let batch = progress.batch_of(self.producer, Vec::new());
        self.append(Bytes::from(batch.encode())).await?;
        self.metrics.ticks.inc();
        Ok(())
    }

    /// Appends, trying again with the same bytes while the log has too much queued.
    async fn append(&self, payload: Bytes) -> Result<Offset, AppendError> {
        let start = Instant::now();
        let mut back_off = MIN_BACK_OFF;
        loop {
            match self.log.append(self.partition, payload.clone()).await {
                Err(AppendError::Overloaded(_)) => {
                    self.metrics.append_retries.inc();
                    tokio::time::sleep(back_off).await;
                    back_off = (2 * back_off).min(MAX_BACK_OFF);
                }
                Err(error) => {
                    // Before anyone who waits is told that there will be no offset.
                    self.failure.set(error.clone());
                    return Err(error);
                }
                Ok(offset) => {
                    self.metrics.append_duration.observe(start.elapsed().as_secs_f64());
                    return Ok(offset);
                }
            }
        }
    }
}

impl Progress {
    fn push(&mut self, submission: Submission) {
        let Submission { purchases, done } = submission;
        self.backlog.push_back(Pending { rest: purchases.into_iter(), begun: false, done });
    }

    /// Leaves out what nobody waits for any more, unless some of it is in the log already; gives how many purchases
    /// that is. Whoever sent them was told that they may not have been taken, or has gone: taking them now would only
    /// make others wait, and count twice what is sent again without a key.
    fn skip_abandoned(&mut self) -> u64 {
        let mut abandoned = 0;
        self.backlog.retain(|pending| {
            let skip = !pending.begun && pending.done.is_closed();
            abandoned += if skip { pending.rest.len() as u64 } else { 0 };
            !skip
        });
        abandoned
    }

    /// Takes a batch off the front of the backlog, and those who get their answer with it.
    fn next_batch(
        &mut self,
        producer: ProducerId,
        limits: &BatchLimits,
    ) -> (Batch, Vec<oneshot::Sender<Offset>>) {
        let mut purchases = Vec::new();
        let mut served = Vec::new();
        let mut bytes = 0;
        while let Some(pending) = self.backlog.front_mut() {
            let before = pending.rest.len();
            while purchases.len() < limits.purchases && bytes < limits.bytes {
                let Some(purchase) = pending.rest.next() else { break };
                bytes += weight(&purchase);
                purchases.push(purchase);
            }
            if pending.rest.len() > 0 {
                pending.begun |= pending.rest.len() < before;
                break;
            }
            served.extend(self.backlog.pop_front().map(|pending| pending.done));
        }
        (self.batch_of(producer, purchases), served)
    }

    fn batch_of(&mut self, producer: ProducerId, purchases: Vec<Purchase>) -> Batch {
        // The clock of the machine may be set back; the append time of a partition never goes back.
        self.append_time = self.append_time.max(Timestamp::now());
        Batch {
            producer,
            first_sequence: Sequence(self.next_sequence),
            append_time: self.append_time,
            purchases,
        }
    }
}

/// The most bytes a purchase takes in a batch, apart from the rare long quantity.
fn weight(purchase: &Purchase) -> usize {
    const HEAD: usize = 32;
    const KEY: usize = 16;
    let lines: usize = purchase
        .lines
        .iter()
        .map(|line| varint_len(line.item.0) + varint_len(line.quantity.into()))
        .sum();
    HEAD + lines + if purchase.key.is_some() { KEY } else { 0 }
}

/// Length of a number as [`model::varint::put`] writes it.
fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{BusinessDate, CustomerId, IdempotencyKey, ItemId, Line, StoreId};

    fn purchase(customer: u32, lines: usize) -> Purchase {
        Purchase {
            store: StoreId(u32::MAX),
            customer: CustomerId(customer),
            date: BusinessDate::from_days(0).unwrap(),
            event_time: Timestamp::MAX,
            key: Some(IdempotencyKey([7; 16])),
            lines: vec![Line { item: ItemId(u64::MAX), quantity: u32::MAX }; lines],
        }
    }

    fn limits(purchases: usize, bytes: usize) -> BatchLimits {
        BatchLimits { purchases, bytes, tick_interval: Duration::from_secs(1) }
    }

    fn progress(submissions: &[usize]) -> Progress {
        let mut progress = Progress::default();
        let mut customer = 0..;
        for &count in submissions {
            let purchases =
                customer.by_ref().take(count).map(|customer| purchase(customer, 1)).collect();
            progress.push(Submission { purchases, done: oneshot::channel().0 });
        }
        progress
    }

    /// Purchases of each batch, and how many are answered with it.
    fn batches(progress: &mut Progress, limits: &BatchLimits) -> Vec<(Vec<u32>, usize)> {
        let mut all = Vec::new();
        while !progress.backlog.is_empty() {
            let (batch, served) = progress.next_batch(ProducerId(1), limits);
            all.push((batch.purchases.iter().map(|p| p.customer.0).collect(), served.len()));
        }
        all
    }

    #[test]
    fn submissions_share_batches_and_large_ones_are_split() {
        let mut progress = progress(&[1, 1, 5, 2]);
        let got = batches(&mut progress, &limits(3, usize::MAX));
        assert_eq!(got, [(vec![0, 1, 2], 2), (vec![3, 4, 5], 0), (vec![6, 7, 8], 2)]);
    }

    #[test]
    fn what_nobody_waits_for_is_left_out_unless_it_is_begun() {
        for (first, left_out, batch) in [
            // One of the four is in the log.
            (2, 2 + 3, vec![(vec![2, 3, 4], 1)]),
            // None is.
            (1, 4 + 2 + 3, vec![]),
        ] {
            let mut progress = progress(&[1, 4, 2, 3]);
            let (done, waits) = oneshot::channel();
            progress.backlog[0].done = done;
            assert_eq!(progress.next_batch(ProducerId(1), &limits(first, usize::MAX)).1.len(), 1);
            // All others have gone.
            assert_eq!(progress.skip_abandoned(), left_out);
            assert_eq!(batches(&mut progress, &limits(10, usize::MAX)), batch);
            drop(waits);
        }
    }

    #[test]
    fn a_batch_is_full_after_so_many_bytes() {
        let mut progress = progress(&[1, 1, 1]);
        let got = batches(&mut progress, &limits(10, weight(&purchase(0, 1)) + 1));
        assert_eq!(got, [(vec![0, 1], 2), (vec![2], 1)]);
    }

    #[test]
    fn the_weight_is_an_upper_bound() {
        for lines in [1, 10, 1000] {
            let mut progress = Progress::default();
            let batch = progress.batch_of(ProducerId(1), vec![purchase(u32::MAX, lines)]);
            let header = progress.batch_of(ProducerId(1), Vec::new()).encode().len();
            let encoded = batch.encode().len();
            let weight = weight(&batch.purchases[0]);
            assert!(encoded - header <= weight && weight <= encoded, "{encoded} {weight}");
        }
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::MAX] {
            let mut out = Vec::new();
            model::varint::put(&mut out, value);
            assert_eq!(varint_len(value), out.len());
        }
    }
}
