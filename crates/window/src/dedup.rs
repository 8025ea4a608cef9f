//! What has been applied before: producers' sequences and clients' idempotency keys.
//!
//! Both are forgotten by the time that batches were appended, never by a clock.

use std::{collections::VecDeque, time::Duration};

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use model::{Batch, IdempotencyKey, ProducerId, Sequence, Timestamp};

/// A producer silent for this long, by append time, is forgotten.
const PRODUCER_RETENTION: Duration = Duration::from_hours(7 * 24);

/// Where a producer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProducerState {
    pub(crate) next: Sequence,
    pub(crate) last_append: Timestamp,
}

/// The next sequence of each producer.
#[derive(Debug, Default)]
pub(crate) struct Producers(HashMap<ProducerId, ProducerState, RandomState>);

impl Producers {
    /// Takes note of a batch; gives how many of its first purchases were applied before.
    pub(crate) fn admit(&mut self, batch: &Batch) -> usize {
        let end = Sequence(batch.first_sequence.0 + batch.purchases.len() as u64);
        let fresh = ProducerState { next: batch.first_sequence, last_append: batch.append_time };
        if !self.0.contains_key(&batch.producer) {
            let cutoff = batch.append_time.minus(PRODUCER_RETENTION);
            self.0.retain(|_, state| state.last_append >= cutoff);
        }
        let state = self.0.entry(batch.producer).or_insert(fresh);
        let again = state.next.min(end).0.saturating_sub(batch.first_sequence.0);
        if !batch.is_tick() {
            state.next = state.next.max(end);
        }
        state.last_append = state.last_append.max(batch.append_time);
        again as usize
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (ProducerId, ProducerState)> + '_ {
        self.0.iter().map(|(&id, &state)| (id, state))
    }

    pub(crate) fn insert(&mut self, id: ProducerId, state: ProducerState) {
        self.0.insert(id, state);
    }
}

/// The idempotency keys counted, oldest first.
#[derive(Debug)]
pub(crate) struct Keys {
    known: HashSet<IdempotencyKey, RandomState>,
    order: VecDeque<(Timestamp, IdempotencyKey)>,
    /// How many at the end of `order` are not in a snapshot.
    unsaved: usize,
    /// How many have ever been forgotten.
    forgotten: u64,
    retention: Duration,
    max: usize,
}

impl Keys {
    pub(crate) fn new(retention: Duration, max: usize) -> Self {
        Self {
            known: HashSet::default(),
            order: VecDeque::new(),
            unsaved: 0,
            forgotten: 0,
            retention,
            max,
        }
    }

    /// Takes note of a key; whether it is new.
    pub(crate) fn insert(&mut self, key: IdempotencyKey, appended: Timestamp) -> bool {
        if !self.known.insert(key) {
            return false;
        }
        self.order.push_back((appended, key));
        self.unsaved += 1;
        while self.order.len() > self.max {
            self.forget_oldest();
        }
        true
    }

    /// Forgets the keys whose retention is over at `now`, an append time.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        let cutoff = now.minus(self.retention);
        while self.order.front().is_some_and(|&(appended, _)| appended < cutoff) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            self.known.remove(&key);
            self.forgotten += 1;
            self.unsaved = self.unsaved.min(self.order.len());
        }
    }

    /// How many have ever been forgotten.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Puts back how many had been forgotten at a snapshot, and forgets the oldest accordingly: one
    /// of them may have been counted anew since the snapshot before. More may have been forgotten on the way, if
    /// fewer are kept now.
    pub(crate) fn restore_forgotten(&mut self, forgotten: u64) {
        while self.forgotten < forgotten && !self.order.is_empty() {
            self.forget_oldest();
        }
        self.forgotten = self.forgotten.max(forgotten);
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// The keys not yet in a snapshot (or all), oldest first; they count as saved from now on.
    pub(crate) fn save(&mut self, full: bool) -> impl Iterator<Item = (Timestamp, IdempotencyKey)> {
        let from = if full { 0 } else { self.order.len() - self.unsaved };
        self.unsaved = 0;
        self.order.range(from..).copied()
    }

    /// Ends putting back what a snapshot says.
    pub(crate) fn restored(&mut self) {
        self.unsaved = 0;
    }

    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> usize {
        self.known.capacity() * 17
            + self.order.capacity() * size_of::<(Timestamp, IdempotencyKey)>()
    }
}

#[cfg(test)]
mod tests {
    use model::{BusinessDate, CustomerId, Purchase, StoreId};

    use super::*;

    fn batch(first: u64, count: usize, millis: i64) -> Batch {
        let purchase = Purchase {
            store: StoreId(0),
            customer: CustomerId(0),
            date: BusinessDate::from_days(0).unwrap(),
            event_time: Timestamp::default(),
            key: None,
            lines: vec![],
        };
        Batch {
            producer: ProducerId(1),
            first_sequence: Sequence(first),
            append_time: Timestamp::from_millis(millis).unwrap(),
            purchases: vec![purchase; count],
        }
    }

    #[test]
    fn what_was_applied_is_told_from_what_was_not() {
        let mut producers = Producers::default();
        assert_eq!(producers.admit(&batch(5, 3, 0)), 0, "the first batch sets where it starts");
        assert_eq!(producers.admit(&batch(5, 3, 0)), 3, "the same again");
        assert_eq!(producers.admit(&batch(7, 3, 0)), 1, "an overlap");
        assert_eq!(producers.admit(&batch(20, 1, 0)), 0, "a gap is a batch given up");
        assert_eq!(producers.admit(&batch(6, 1, 0)), 1, "old");
        assert_eq!(producers.admit(&batch(21, 0, 0)), 0, "a tick");
    }

    #[test]
    fn silent_producers_are_forgotten() {
        let mut producers = Producers::default();
        producers.admit(&batch(0, 1, 0));
        let mut other = batch(0, 1, PRODUCER_RETENTION.as_millis() as i64 + 1);
        other.producer = ProducerId(2);
        producers.admit(&other);
        assert_eq!(producers.iter().map(|(id, _)| id).collect::<Vec<_>>(), [ProducerId(2)]);
    }

    #[test]
    fn keys_are_forgotten_by_age_and_by_number() {
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        let key = |n| IdempotencyKey([n; 16]);
        let mut keys = Keys::new(Duration::from_millis(100), 3);
        assert!(keys.insert(key(1), at(0)));
        assert!(!keys.insert(key(1), at(50)));
        keys.expire(at(100));
        assert!(!keys.insert(key(1), at(100)));
        keys.expire(at(101));
        assert!(keys.insert(key(1), at(101)));
        for n in 2..=4 {
            assert!(keys.insert(key(n), at(101)));
        }
        assert_eq!(keys.len(), 3);
        assert!(keys.insert(key(1), at(101)), "the oldest went first");
    }

    #[test]
    fn keys_put_back_under_a_lower_limit_are_the_newest() {
        let key = |n| IdempotencyKey([n; 16]);
        let time = |millis| Timestamp::from_millis(millis).unwrap();
        let mut keys = Keys::new(Duration::from_secs(25), 2);
        // A snapshot of three keys, one after which nothing had been forgotten, and one after which the first had.
        keys.restore_forgotten(0);
        for n in 1..=3 {
            keys.insert(key(n), time(i64::from(n)));
        }
        keys.restore_forgotten(0);
        keys.restore_forgotten(1);
        assert_eq!((keys.len(), keys.forgotten()), (2, 1));
        assert!(!keys.insert(key(2), time(4)) && !keys.insert(key(3), time(4)));
    }
}
