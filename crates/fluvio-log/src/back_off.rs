//! Pauses between attempts: doubled each time, with jitter, so that those who lost the same server do not
//! all come back at once (Brooker, "Exponential Backoff and Jitter", 2015).

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use random::Random;

const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct BackOff {
    next: Duration,
    random: Random,
}

impl BackOff {
    pub(crate) fn new() -> Self {
        // Of another seed each, in every process.
        let seed = RandomState::new().hash_one(());
        Self { next: FIRST, random: Random::new(seed) }
    }

    /// All is well again.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// Waits between half of the pause and all of it.
    pub(crate) async fn pause(&mut self) {
        let pause = self.next.mul_f64(0.5 + self.random.unit() / 2.0);
        self.next = (2 * self.next).min(LONGEST);
        tokio::time::sleep(pause).await;
    }
}
