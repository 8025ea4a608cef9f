//! The writer: one thread that makes durable, in one commit, all that has queued up since the
//! last one.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use model::{Offset, Partition, Timestamp};

use super::{
    CommitObserver,
    open::panic_message,
    queue::{Append, Trim},
    shared::Shared,
    store::{Cut, Extent, NewRecord, Store, StoreError},
    witness::Witness,
};
use crate::{AppendError, TrimError};

/// What the thread owns.
pub(super) struct Writer {
    shared: Arc<Shared>,
    store: Arc<Store>,
    witness: Witness,
    observer: Option<Arc<dyn CommitObserver>>,
    /// Under load, from the start of one commit to that of the next, at least.
    interval: Duration,
    /// What is durable.
    extents: Vec<Extent>,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        store: Arc<Store>,
        witness: Witness,
        observer: Option<Arc<dyn CommitObserver>>,
        interval: Duration,
        extents: Vec<Extent>,
    ) -> Self {
        Self { shared, store, witness, observer, interval, extents }
    }

    /// Runs until the queue is closed and empty, or something fails.
    ///
    /// Nothing that failed is tried again: after a failed fsync nobody knows what is on the disk
    /// ("Can Applications Recover from fsync Failures?", Rebello et al., USENIX ATC 2020).
    pub(super) fn run(mut self) {
        let mut appends = Vec::new();
        let mut trim = None;
        let shared = Arc::clone(&self.shared);
        let mut earliest = Instant::now();
        while shared.queue.take(&mut appends, &mut trim, earliest) {
            earliest = self.next_commit(&appends);
            let step = catch_unwind(AssertUnwindSafe(|| self.step(&mut appends, &mut trim)));
            let failure = match step {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(panic) => panic_message(&*panic),
            };
            shared.fail(&format!("{}: {failure}", shared.file.display()));
            refuse(&shared, appends, trim);
            break;
        }
        shared.wake_readers();
    }

    /// The earliest start of the next commit, after the one that begins now with `appends`.
    ///
    /// Under load commits keep a distance, so that each carries more ("Group Commit Timers and High Volume
    /// Transaction Systems", Helland et al., HPTS 1987). An append that was alone says that there is no
    /// load: a client that sends one purchase after the other never waits.
    fn next_commit(&self, appends: &[Append]) -> Instant {
        let now = Instant::now();
        if appends.len() > 1 { now + self.interval } else { now }
    }

    /// Commits what was taken and tells everyone who waits for it.
    fn step(
        &mut self,
        appends: &mut Vec<Append>,
        trim: &mut Option<Trim>,
    ) -> Result<(), StoreError> {
        let start = Instant::now();
        let cut = self.plan(trim);
        let offsets = self.commit(appends, cut)?;
        self.publish(appends);
        if let Some(observer) = self.observer.as_ref().filter(|_| !appends.is_empty()) {
            let bytes = appends.iter().map(|append| append.payload.len()).sum();
            observer.committed(appends.len(), bytes, start.elapsed());
        }
        self.shared.queue.release(appends);
        for (append, offset) in appends.drain(..).zip(offsets) {
            // Whoever does not wait any more does not need the answer.
            let _ = append.done.send(Ok(offset));
        }
        if let Some(trim) = trim.take_if(|_| cut.is_some_and(|cut| cut.complete)) {
            let _ = trim.done.send(Ok(self.extents[trim.partition.0 as usize].bounds));
        }
        Ok(())
    }

    /// What the trim takes out next; without one that works, nothing. It is out of the readers' sight
    /// before it is out of the file, so that a reader who misses a record can tell a trim from
    /// damage.
    fn plan(&self, trim: &mut Option<Trim>) -> Option<Cut> {
        let Trim { partition, retention, .. } = trim.as_ref()?;
        let extent = self.extents[partition.0 as usize];
        match self.store.plan(*partition, extent, retention) {
            Ok(cut) => {
                self.shared.live(*partition).send_modify(|live| live.trim(&cut));
                Some(cut)
            }
            Err(error) => {
                let _ = trim.take()?.done.send(Err(self.shared.unreadable(error)));
                None
            }
        }
    }

    /// Makes the records and the cut durable, and notes it with the witness.
    fn commit(&mut self, appends: &[Append], cut: Option<Cut>) -> Result<Vec<Offset>, StoreError> {
        let (after, offsets) = self.place(appends, cut);
        let new = appends.iter().zip(&offsets).map(|(append, offset)| NewRecord {
            partition: append.partition,
            offset: *offset,
            payload: &append.payload,
        });
        let changed: Vec<_> = (0..)
            .map(Partition)
            .zip(after.iter().copied())
            .filter(|(partition, extent)| *extent != self.extents[partition.0 as usize])
            .collect();
        if !changed.is_empty() {
            self.store.commit(Timestamp::now(), new, cut, changed.into_iter())?;
        }
        self.extents = after;
        if !appends.is_empty() {
            let next = self.extents.iter().map(|extent| extent.bounds.next);
            self.witness.note(next).map_err(|error| {
                let text = format!("log.witness beside it: {error}");
                StoreError::Database(io::Error::new(error.kind(), text).into())
            })?;
        }
        Ok(offsets)
    }

    /// The offsets the records get, and what the partitions hold with them and without the cut.
    fn place(&self, appends: &[Append], cut: Option<Cut>) -> (Vec<Extent>, Vec<Offset>) {
        let mut after = self.extents.clone();
        if let Some(cut) = cut {
            after[cut.partition.0 as usize].trim(&cut);
        }
        let place = |append: &Append| {
            let extent = &mut after[append.partition.0 as usize];
            let offset = extent.bounds.next;
            extent.push(append.payload.len());
            offset
        };
        let offsets = appends.iter().map(place).collect();
        (after, offsets)
    }

    /// Shows readers what is durable now.
    fn publish(&self, appends: &[Append]) {
        for append in appends {
            let live = self.shared.live(append.partition);
            live.send_modify(|live| live.push(append.payload.clone()));
        }
    }
}

/// Tells everyone who waits, or still queues, that the log has stopped.
fn refuse(shared: &Shared, mut appends: Vec<Append>, mut trim: Option<Trim>) {
    loop {
        let reason = shared.stop_reason();
        for append in appends.drain(..) {
            let _ = append.done.send(Err(AppendError::Stopped(reason.clone())));
        }
        if let Some(trim) = trim.take() {
            let _ = trim.done.send(Err(TrimError::Stopped(reason)));
        }
        if !shared.queue.take(&mut appends, &mut trim, Instant::now()) {
            return;
        }
    }
}
