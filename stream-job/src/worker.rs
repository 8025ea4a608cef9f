//! One partition's worker: read, apply, flush, save.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use log::{Log, Record};
use model::{Batch, Offset, Partition};
use telemetry::{JobMetrics, JobPartitionMetrics};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use window::{Aggregator, Applied, WindowKind};

use crate::{
    JobConfig, JobError,
    checkpoint::{CheckpointError, CheckpointStore, LastRecord, Saved},
    lag::Lag,
    output::Output,
    saturation::{Limit, Saturation},
    side::{Keep, Outboxes, SideBatch, SideOutput},
};

/// Side outputs waiting for a checkpoint beyond this many bytes bring it forward.
const SIDE_BYTES: usize = 8 << 20;

/// Lines applied since the last checkpoint beyond which the next one is due, so that a restart has
/// less to replay after a high load.
const SAVE_LINES: u64 = 150_000;

/// The least time from one checkpoint that is due to lines to the next, and from when the partition is ready to
/// the first: the others may still be recovering.
const SAVE_PAUSE: Duration = Duration::from_millis(500);

/// How often the size of the state is measured; doing so takes time in proportion to it.
const MEASURE_INTERVAL: Duration = Duration::from_secs(15);

/// The least time to wait for records when a checkpoint is overdue, which has nothing to save or waits for
/// the one being written.
const MIN_PATIENCE: Duration = Duration::from_millis(50);

/// What a worker works with.
pub(crate) struct Worker {
    pub(crate) partition: Partition,
    pub(crate) config: Arc<JobConfig>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) output: Output,
    pub(crate) store: Arc<CheckpointStore>,
    pub(crate) saved_next: Arc<AtomicU64>,
    /// What waits for its topic, if there are topics.
    pub(crate) outboxes: Option<Arc<Outboxes>>,
    pub(crate) metrics: WorkerMetrics,
    pub(crate) lag: Arc<Lag>,
    pub(crate) saturation: Saturation,
    /// Whose turn it is to write a checkpoint, as long as nothing forces one.
    pub(crate) turns: Arc<Semaphore>,
    pub(crate) shutdown: CancellationToken,
    /// Tells the publisher when there will be no more checkpoints.
    pub(crate) _ended: DropGuard,
}

/// The metrics of one worker.
pub(crate) struct WorkerMetrics {
    partition: JobPartitionMetrics,
    late: [Option<telemetry::IntCounter>; 6],
}

impl WorkerMetrics {
    pub(crate) fn new(metrics: &JobMetrics, partition: Partition, kinds: &[WindowKind]) -> Self {
        let late = WindowKind::ALL
            .map(|kind| kinds.contains(&kind).then(|| metrics.late(partition.0, kind.name())));
        Self { partition: metrics.partition(partition.0), late }
    }

    pub(crate) fn of_partition(&self) -> &JobPartitionMetrics {
        &self.partition
    }

    fn applied(&self, applied: &Applied, batch: &Batch) {
        self.partition.purchases.inc_by(applied.purchases);
        self.partition.lines.inc_by(applied.lines);
        self.partition.duplicate_keys.inc_by(applied.duplicate_keys);
        self.partition.duplicate_purchases.inc_by(applied.duplicate_sequences);
        if applied.duplicate_sequences > 0
            && applied.duplicate_sequences == batch.purchases.len() as u64
        {
            self.partition.duplicate_batches.inc();
        }
        for (counter, &late) in self.late.iter().zip(&applied.late) {
            if let Some(counter) = counter.as_ref().filter(|_| late > 0) {
                counter.inc_by(late);
            }
        }
    }
}

/// A worker that has its state.
struct Running {
    worker: Worker,
    runtime: Handle,
    state: Aggregator,
    side: SideBatch,
    saved: Saved,
    saving: Option<Saving>,
    /// The last record applied, if that was since the start.
    last: Option<Record>,
    /// Lines applied since the last snapshot.
    unsaved_lines: u64,
    /// Of which side output too much waits for its topic.
    held_up: Option<SideOutput>,
    /// Whether the next batch has been left in the stream, as the state is over a limit. So it stays: what is in the
    /// state falls out as the stream goes on, and it does not.
    full: bool,
    last_flush: Instant,
    /// Next offset as of the last flush that handed on everything.
    flushed: Offset,
    last_save: Instant,
    last_measure: Instant,
}

/// A checkpoint being written by a thread of its own.
struct Saving {
    started: Instant,
    thread: thread::JoinHandle<Result<Saved, CheckpointError>>,
}

impl Worker {
    /// Goes on from `state`: replays, then follows the stream until shutdown; saves a last checkpoint then.
    pub(crate) fn run(mut self, state: Aggregator, runtime: &Handle) -> Result<(), JobError> {
        let started = Instant::now();
        let saved = self.store.saved()?;
        let restored = state.progress().next;
        self.lag.handed_on(state.progress());
        self.output.begin(&self.config.window);
        let now = Instant::now();
        let mut running = Running {
            worker: self,
            runtime: runtime.clone(),
            state,
            side: SideBatch::default(),
            saved,
            saving: None,
            last: None,
            unsaved_lines: 0,
            held_up: None,
            full: false,
            last_flush: now,
            flushed: restored,
            last_save: now,
            last_measure: now,
        };
        if running.replay(started)? {
            running.measure();
            running.follow()?;
            running.flush();
        }
        running.finish()
    }
}

impl Running {
    /// Applies what the stream held at start, as far as there is room, then shows everything. Gives `false` at
    /// shutdown: what it has is not shown then.
    fn replay(&mut self, started: Instant) -> Result<bool, JobError> {
        let from = self.state.progress().next;
        let end = self.worker.log.bounds(self.worker.partition).next;
        while self.state.progress().next < end && !self.full {
            self.relieve()?;
            if !self.wait_for_room() || !self.apply_unless_closed()? {
                return Ok(false);
            }
        }
        let handed_on = self.worker.output.recovered(&mut self.state);
        if handed_on {
            self.note_handed_on();
        }
        self.worker.metrics.partition.checkpoint_age.reset();
        self.worker.metrics.partition.checkpoint_bytes.set(self.saved.bytes() as i64);
        tracing::info!(
            partition = self.worker.partition.0,
            replayed = self.state.progress().next.0.saturating_sub(from.0),
            took_ms = started.elapsed().as_millis() as u64,
            "{}",
            if handed_on { "partition ready" } else { "partition recovered, but not handed on" }
        );
        Ok(true)
    }

    /// Applies records that the stream holds.
    fn apply_some(&mut self) -> Result<(), JobError> {
        let records = self.runtime.block_on(self.read()).map_err(|e| self.read_error(e))?;
        self.apply(records);
        Ok(())
    }

    /// The next records, when there are some.
    fn read(&self) -> impl Future<Output = Result<Vec<Record>, log::ReadError>> + use<> {
        let Worker { log, partition, config, .. } = &self.worker;
        log.read(*partition, self.state.progress().next, config.read_bytes)
    }

    fn read_error(&self, error: log::ReadError) -> JobError {
        JobError::Read { partition: self.worker.partition, error }
    }

    /// Applies what comes, until shutdown; then what has come by then, so that a start after an
    /// orderly end has nothing to replay.
    fn follow(&mut self) -> Result<(), JobError> {
        while let Some(records) = self.next()? {
            self.apply(records);
            if self.flush_is_due() {
                self.flush();
            }
            // Side outputs wait in memory for the next checkpoint: not without bound.
            self.collect_saved(self.side.bytes() > SIDE_BYTES)?;
            self.save_if_due();
            if self.last_measure.elapsed() >= MEASURE_INTERVAL {
                self.measure();
            }
        }
        let end = self.worker.log.bounds(self.worker.partition).next;
        while self.state.progress().next < end && !self.full {
            self.relieve()?;
            if self.is_held_up() || !self.apply_unless_closed()? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Applies records that the stream holds. Gives `false` if it was closed because it did not answer when
    /// the job was to end: the next start goes on from here.
    fn apply_unless_closed(&mut self) -> Result<bool, JobError> {
        match self.apply_some() {
            Err(JobError::Read { error: log::ReadError::Stopped(reason), .. })
                if self.worker.shutdown.is_cancelled() =>
            {
                tracing::warn!(partition = self.worker.partition.0, reason, "not read to its end");
                Ok(false)
            }
            outcome => outcome.map(|()| true),
        }
    }

    /// The next records; none if it is time for something else. `None` at shutdown.
    fn next(&mut self) -> Result<Option<Vec<Record>>, JobError> {
        let patience = self.patience();
        let held_up = self.is_held_up();
        let shutdown = &self.worker.shutdown;
        if held_up || self.full {
            let room = async { timeout(patience, self.room()).await };
            let waited = self.runtime.block_on(shutdown.run_until_cancelled(room));
            return Ok(waited.map(|_| Vec::new()));
        }
        let read = self.read();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => Ok(None),
                read = timeout(patience, read) => match read {
                    Ok(records) => Ok(Some(records.map_err(|e| self.read_error(e))?)),
                    Err(_) => Ok(Some(Vec::new())),
                },
            }
        })
    }

    /// How long to wait for records before something else is due.
    fn patience(&self) -> Duration {
        let flush = self.worker.output.flush_interval().saturating_sub(self.last_flush.elapsed());
        let save = self.worker.config.checkpoint_interval.saturating_sub(self.last_save.elapsed());
        let save = save.max(MIN_PATIENCE);
        // Batches that change no list, such as ticks, move the position: someone may wait for it.
        if self.state.progress().next == self.flushed { save } else { flush.min(save) }
    }

    /// Applies records, up to the first for which there is no room.
    fn apply(&mut self, records: Vec<Record>) {
        for record in records {
            let Record { offset, ref payload } = record;
            match Batch::decode(payload) {
                Ok(batch) if !self.has_room_for(&batch) => break,
                Ok(batch) => {
                    let applied = self.state.apply(offset, &batch, &mut self.side);
                    self.worker.metrics.applied(&applied, &batch);
                    self.unsaved_lines += applied.lines;
                }
                Err(error) => {
                    tracing::warn!(partition = self.worker.partition.0, offset = offset.0, %error, "dead letter");
                    self.worker.metrics.partition.dead_lettered.inc();
                    self.side.dead_letter(offset, payload);
                    self.state.skip(offset);
                }
            }
            self.last = Some(record);
        }
        self.report_saturation();
    }

    /// Whether a batch may be applied; says so if not. A tick always may: it only lets something fall out. So may
    /// all batches if they come through this process, for its entrance is told when it is full.
    fn has_room_for(&mut self, batch: &Batch) -> bool {
        if batch.is_tick() || !self.worker.output.is_feed() {
            return true;
        }
        let exceeded = Limit::exceeded(&self.state, &self.worker.config);
        if let Some(Limit { most, of, setting }) = exceeded {
            self.full = true;
            tracing::error!(
                partition = self.worker.partition.0,
                next = self.state.progress().next.0,
                "counting stops: the partition holds more than {most} {of}. The stream keeps the purchases that \
                 follow, as long as its retention lets it: raise {setting} if there is memory for more, and restart"
            );
        }
        exceeded.is_none()
    }

    /// Whether too much waits for the topics of the side outputs; says so when that changes. Then no more is
    /// read until they have taken some.
    fn is_held_up(&mut self) -> bool {
        let full = self.worker.outboxes.as_ref().and_then(|outboxes| outboxes.full());
        let partition = self.worker.partition.0;
        match (self.held_up, full) {
            (None, Some(output)) => tracing::error!(
                partition,
                output = output.name(),
                "counting stops: as much as --max-side-bytes allows waits for the topic of this side output"
            ),
            (Some(_), None) if !self.full => tracing::info!(partition, "counting goes on"),
            _ => {}
        }
        self.held_up = full;
        full.is_some()
    }

    /// Resolves when no more waits for the topics than may; never if the state is full.
    async fn room(&self) {
        if self.full {
            std::future::pending::<()>().await;
        }
        if let Some(outboxes) = &self.worker.outboxes {
            outboxes.room().await;
        }
    }

    /// Waits until no more waits for the topics than may. Gives `false` at shutdown.
    fn wait_for_room(&mut self) -> bool {
        while !self.worker.shutdown.is_cancelled() && self.is_held_up() {
            self.runtime.block_on(self.worker.shutdown.run_until_cancelled(self.room()));
        }
        !self.worker.shutdown.is_cancelled()
    }

    /// Has a checkpoint take side outputs that are too many to be kept in memory.
    fn relieve(&mut self) -> Result<(), JobError> {
        let many = self.side.bytes() > SIDE_BYTES;
        self.collect_saved(many)?;
        if many {
            self.save(None);
        }
        Ok(())
    }

    /// Tells the entrance whether the state is over a limit, or held up.
    fn report_saturation(&self) {
        let full = Limit::exceeded(&self.state, &self.worker.config);
        let reason = full.map(|Limit { most, of, setting }| {
            format!(
                "partition {} holds more than {most} {of}: raise {setting} if there is memory for more",
                self.worker.partition
            )
        });
        let held_up = |output: SideOutput| {
            format!(
                "partition {} is held up by the topic of side output '{}': see to that",
                self.worker.partition,
                output.name()
            )
        };
        let reason = reason.or_else(|| self.held_up.map(held_up));
        self.worker.saturation.set(self.worker.partition, reason);
    }

    /// Whether changes have been gathered long enough; at once after a pause.
    fn flush_is_due(&self) -> bool {
        self.last_flush.elapsed() >= self.worker.output.flush_interval()
    }

    fn flush(&mut self) {
        let (started, changed) = (Instant::now(), self.state.unflushed());
        let handed_on = self.worker.output.flush(&mut self.state);
        self.last_flush = Instant::now();
        let metrics = &self.worker.metrics.partition;
        metrics.live_pairs.set(self.state.pairs() as i64);
        if handed_on {
            metrics.flush_dirty_pairs.observe(changed as f64);
            metrics.flush_duration.observe(started.elapsed().as_secs_f64());
            self.note_handed_on();
        }
    }

    /// Everything that has been applied has been handed on.
    fn note_handed_on(&mut self) {
        self.flushed = self.state.progress().next;
        self.worker.lag.handed_on(self.state.progress());
    }

    fn measure(&mut self) {
        let stats = self.state.stats();
        self.last_measure = Instant::now();
        self.worker.metrics.partition.state_bytes.set((stats.bytes + stats.day_bytes) as i64);
    }

    /// Saves if it is time to. Partitions do so in turn: all at once, they would take the cores and the disk from those
    /// who wait for an answer. Too many side outputs do not wait.
    fn save_if_due(&mut self) {
        if self.saving.is_some() {
            return;
        }
        if self.side.bytes() > SIDE_BYTES {
            self.save(None);
        } else if self.save_is_due()
            && let Ok(turn) = self.worker.turns.clone().try_acquire_owned()
        {
            self.save(Some(turn));
        }
    }

    fn save_is_due(&self) -> bool {
        let elapsed = self.last_save.elapsed();
        let due = elapsed >= self.worker.config.checkpoint_interval
            || (self.unsaved_lines >= SAVE_LINES && elapsed >= SAVE_PAUSE);
        // If no more is read, the age of the checkpoint still says whether checkpoints can be written.
        due && (self.full || self.state.progress().next != self.saved.next)
    }

    /// Takes a snapshot, and has it written while the worker goes on; then the turn is over.
    fn save(&mut self, turn: Option<OwnedSemaphorePermit>) {
        let started = Instant::now();
        let snapshot = self.state.snapshot(self.saved.wants_full());
        let last = self.last.as_ref().map(LastRecord::of).or(self.saved.last);
        let side = std::mem::take(&mut self.side);
        let (store, outboxes) = (self.worker.store.clone(), self.worker.outboxes.clone());
        self.last_save = started;
        self.unsaved_lines = 0;
        let thread = thread::spawn(move || {
            let keep = if outboxes.is_some() { Keep::Waiting } else { Keep::Newest };
            let saved = store.save(&snapshot, last, &side, keep)?;
            if let Some(outboxes) = outboxes {
                outboxes.stored(&side);
            }
            drop(turn);
            Ok(saved)
        });
        self.saving = Some(Saving { started, thread });
    }

    /// Takes note of a checkpoint that has been written; waits for it if `wait`.
    fn collect_saved(&mut self, wait: bool) -> Result<(), JobError> {
        let Some(saving) = self.saving.take_if(|saving| wait || saving.thread.is_finished()) else {
            return Ok(());
        };
        let metrics = &self.worker.metrics.partition;
        let saved = saving.thread.join().map_err(|_| JobError::Panicked(self.worker.partition))?;
        let saved = saved.inspect_err(|_| metrics.checkpoint_failures.inc())?;
        metrics.checkpoint_duration.observe(saving.started.elapsed().as_secs_f64());
        metrics.checkpoint_bytes.set(saved.bytes() as i64);
        metrics.checkpoint_age.reset();
        self.saved = saved;
        self.worker.saved_next.store(saved.next.0, Ordering::Release);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), JobError> {
        self.collect_saved(true)?;
        if self.state.progress().next != self.saved.next || self.side.bytes() > 0 {
            self.save(None);
            self.collect_saved(true)?;
        }
        tracing::info!(
            partition = self.worker.partition.0,
            next = self.state.progress().next.0,
            "last checkpoint written"
        );
        Ok(())
    }
}
