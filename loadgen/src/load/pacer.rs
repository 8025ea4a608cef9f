//! Lets go of the arrivals of an open loop when they are due.
//!
//! A thread of its own, so that nothing the clients do can hold it up. Arrivals that no client is free
//! for wait in a bounded queue; those beyond are dropped and counted.

use std::{
    io,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tokio::sync::{
    mpsc::{Sender, error::TrySendError},
    watch,
};

use super::{
    recorder::{Window, histogram, nanoseconds},
    schedule::Schedule,
};

/// The longest sleep, so that an early end is noticed.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);

/// A request that is due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) due: Instant,
    /// Its number, from 0.
    pub(crate) number: u64,
}

/// What the pacer has done while requests were measured.
#[derive(Debug)]
pub(crate) struct Paced {
    /// Arrivals due.
    pub(crate) due: u64,
    /// Of those, dropped because too many waited for a client.
    pub(crate) dropped: u64,
    /// Nanoseconds by which they were let go too late.
    pub(crate) delays: Histogram<u64>,
}

pub(crate) struct Pacer {
    pub(crate) schedule: Schedule,
    pub(crate) start: Instant,
    pub(crate) window: Window,
    /// Arrivals go to threads as clients do, so that each has as many as it has clients for.
    pub(crate) clients: u32,
    /// One queue for each thread of clients.
    pub(crate) queues: Vec<Sender<Arrival>>,
    pub(crate) stop: watch::Receiver<bool>,
}

impl Pacer {
    pub(crate) fn spawn(self) -> io::Result<JoinHandle<Paced>> {
        thread::Builder::new().name("pacer".to_owned()).spawn(move || self.run())
    }

    fn run(self) -> Paced {
        let mut paced = Paced { due: 0, dropped: 0, delays: histogram() };
        for (after, number) in self.schedule.clone().zip(0..) {
            let due = self.start + after;
            if self.window.is_over(due) || !self.sleep_until(due) {
                break;
            }
            let measured = due >= self.window.begin;
            if measured {
                paced.due += 1;
                paced.delays.saturating_record(nanoseconds(due.elapsed()));
            }
            let client = (number % u64::from(self.clients)) as usize;
            let queue = &self.queues[client % self.queues.len()];
            match queue.try_send(Arrival { due, number }) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => paced.dropped += u64::from(measured),
                Err(TrySendError::Closed(_)) => break,
            }
        }
        paced
    }

    /// Whether the run goes on.
    fn sleep_until(&self, due: Instant) -> bool {
        loop {
            if *self.stop.borrow() {
                return false;
            }
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(LONGEST_SLEEP));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::load::Arrivals;

    #[test]
    fn threads_get_arrivals_for_as_many_clients_as_they_have() {
        let (queues, arrivals): (Vec<_>, Vec<_>) = (0..2).map(|_| mpsc::channel(100)).unzip();
        let start = Instant::now();
        let end = Some(start + Duration::from_millis(10));
        let window = Window { begin: start, end, interval: Duration::from_secs(1) };
        let schedule = Schedule::new(Arrivals::Constant, 6000.0, 1);
        let (_stop, stop) = watch::channel(false);
        // Clients 0 and 2 are of the first thread.
        let paced = Pacer { schedule, start, window, clients: 3, queues, stop }.run();
        assert_eq!((paced.due, paced.dropped), (60, 0));
        assert_eq!(arrivals.iter().map(mpsc::Receiver::len).collect::<Vec<_>>(), [40, 20]);
    }
}
