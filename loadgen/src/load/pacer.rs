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
            let queue = &self.queues[(number % self.queues.len() as u64) as usize];
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
