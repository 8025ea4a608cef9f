//! What waits for the writer.

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;
use model::{Offset, Partition};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::{AppendError, Bounds, Retention, TrimError, budget::memory_of};

/// A record to append.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) partition: Partition,
    pub(super) payload: Bytes,
    pub(super) done: oneshot::Sender<Result<Offset, AppendError>>,
}

/// A partition to trim.
#[derive(Debug)]
pub(super) struct Trim {
    pub(super) partition: Partition,
    pub(super) retention: Retention,
    pub(super) done: oneshot::Sender<Result<Bounds, TrimError>>,
}

/// With so many bytes waiting, a commit is worth its sync, and is not put off.
const ENOUGH: usize = 1 << 20;

/// A queue from the appenders to the writer, bounded by the memory of the records that were taken
/// and are not yet durable.
#[derive(Debug)]
pub(super) struct Queue {
    limit: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    appends: Vec<Append>,
    trims: VecDeque<Trim>,
    /// Memory of `appends` and of those that were taken and are not [`Queue::release`]d.
    bytes: usize,
    closed: Option<String>,
}

impl Queue {
    /// An empty queue of at most `limit` bytes. One record is always taken, whatever its size.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Queues a record, unless that would be too much or the queue is closed.
    pub(super) fn append(&self, append: Append) -> Result<(), AppendError> {
        let mut state = self.state.lock();
        if let Some(reason) = &state.closed {
            return Err(AppendError::Stopped(reason.clone()));
        }
        let bytes = state.bytes + memory_of(append.payload.len());
        if state.bytes > 0 && bytes > self.limit {
            return Err(AppendError::Overloaded(append.partition));
        }
        state.bytes = bytes;
        state.appends.push(append);
        // A writer that waits for company needs to know no more than when there is enough of it.
        let news = state.appends.len() == 1 || bytes >= ENOUGH;
        drop(state);
        if news {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Queues a trim, unless the queue is closed.
    pub(super) fn trim(&self, trim: Trim) -> Result<(), TrimError> {
        let mut state = self.state.lock();
        if let Some(reason) = &state.closed {
            return Err(TrimError::Stopped(reason.clone()));
        }
        state.trims.push_back(trim);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for work and moves all queued records into `appends`, and the oldest trim into `trim`
    /// unless there is one. Not before `earliest`, unless much waits or the queue is closed. False once the
    /// queue is closed and empty.
    pub(super) fn take(
        &self,
        appends: &mut Vec<Append>,
        trim: &mut Option<Trim>,
        earliest: Instant,
    ) -> bool {
        let mut state = self.state.lock();
        while state.appends.is_empty() && state.trims.is_empty() && trim.is_none() {
            if state.closed.is_some() {
                return false;
            }
            self.changed.wait(&mut state);
        }
        while state.bytes < ENOUGH && state.closed.is_none() {
            if self.changed.wait_until(&mut state, earliest).timed_out() {
                break;
            }
        }
        appends.append(&mut state.appends);
        if trim.is_none() {
            *trim = state.trims.pop_front();
        }
        true
    }

    /// Makes room: these, which were taken, are durable.
    pub(super) fn release(&self, appends: &[Append]) {
        let bytes: usize = appends.iter().map(|append| memory_of(append.payload.len())).sum();
        self.state.lock().bytes -= bytes;
    }

    /// Takes nothing more, from the first call on, for the reason given. What is queued stays.
    pub(super) fn close(&self, reason: &str) {
        self.state.lock().closed.get_or_insert_with(|| reason.to_owned());
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread, time::Duration};

    use super::*;

    /// No test waits so long.
    const NEVER: Duration = Duration::from_hours(24);

    fn append(bytes: usize) -> Append {
        let payload = Bytes::from(vec![7; bytes]);
        Append { partition: Partition(0), payload, done: oneshot::channel().0 }
    }

    /// What a writer takes that may commit again in a day.
    fn take(queue: &Queue) -> (bool, usize) {
        let mut appends = Vec::new();
        let taken = queue.take(&mut appends, &mut None, Instant::now() + NEVER);
        (taken, appends.len())
    }

    #[test]
    fn a_commit_is_not_put_off_when_much_waits() {
        let queue = Arc::new(Queue::new(usize::MAX));
        queue.append(append(10)).expect("room");
        let taking = thread::spawn({
            let queue = Arc::clone(&queue);
            move || take(&queue)
        });
        queue.append(append(ENOUGH)).expect("room");
        assert_eq!(taking.join().expect("no panic"), (true, 2));
    }

    #[test]
    fn a_commit_is_not_put_off_at_the_end() {
        let queue = Arc::new(Queue::new(usize::MAX));
        queue.append(append(10)).expect("room");
        queue.append(append(10)).expect("room");
        let taking = thread::spawn({
            let queue = Arc::clone(&queue);
            move || take(&queue)
        });
        queue.close("the end");
        assert_eq!(taking.join().expect("no panic"), (true, 2));
        assert_eq!(take(&queue), (false, 0));
    }

    #[test]
    fn a_commit_waits_for_company_until_it_may_begin() {
        let queue = Queue::new(usize::MAX);
        queue.append(append(10)).expect("room");
        let earliest = Instant::now() + Duration::from_millis(20);
        let mut appends = Vec::new();
        assert!(queue.take(&mut appends, &mut None, earliest));
        assert!(Instant::now() >= earliest, "taken too early");
        assert_eq!(appends.len(), 1);
    }
}
