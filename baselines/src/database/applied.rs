//! Which messages of a shard have been added already.

use std::collections::HashMap;

use model::{Batch, ProducerId, Sequence};

/// Of each producer, the first sequence number that has not been added.
///
/// The messages of one producer arrive in the order of their sequences: a producer is one channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied(HashMap<ProducerId, Sequence>);

/// What is to be done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is the next one: add it.
    New,
    /// It has been added before.
    Seen,
    /// Messages before it are missing.
    Gap,
}

impl Applied {
    /// Looks a message up.
    pub fn admission(&self, batch: &Batch) -> Admission {
        match self.0.get(&batch.producer) {
            Some(&next) if batch.first_sequence == next && !batch.is_tick() => Admission::New,
            Some(&next) if batch.first_sequence <= next => Admission::Seen,
            None if batch.first_sequence == Sequence(0) => Admission::New,
            _ => Admission::Gap,
        }
    }

    /// Notes that a message is added.
    pub fn note(&mut self, batch: &Batch) {
        let next = Sequence(batch.first_sequence.0 + batch.purchases.len() as u64);
        self.set(batch.producer, next);
    }

    /// The producers, and the first sequence number of each that has not been added.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, Sequence)> {
        self.0.iter().map(|(&producer, &next)| (producer, next))
    }

    pub(super) fn set(&mut self, producer: ProducerId, next: Sequence) {
        self.0.insert(producer, next);
    }
}

#[cfg(test)]
mod tests {
    use model::{CustomerId, Purchase, StoreId, Timestamp};

    use super::*;

    fn batch(producer: u64, first: u64, count: usize) -> Batch {
        let purchase = Purchase {
            store: StoreId(1),
            customer: CustomerId(1),
            date: "20210101".parse().unwrap(),
            event_time: Timestamp::default(),
            key: None,
            lines: Vec::new(),
        };
        Batch {
            producer: ProducerId(producer),
            first_sequence: Sequence(first),
            append_time: Timestamp::default(),
            purchases: vec![purchase; count],
        }
    }

    #[test]
    fn every_message_is_new_once() {
        let mut applied = Applied::default();
        for message in [batch(1, 0, 3), batch(2, 0, 1), batch(1, 3, 2), batch(3, 0, 0)] {
            assert_eq!(applied.admission(&message), Admission::New, "{message:?}");
            applied.note(&message);
            assert_eq!(applied.admission(&message), Admission::Seen, "{message:?}");
        }
        assert_eq!(applied.admission(&batch(1, 0, 3)), Admission::Seen);
        assert_eq!(applied.admission(&batch(1, 5, 1)), Admission::New);
        assert_eq!(applied.admission(&batch(1, 6, 1)), Admission::Gap);
        assert_eq!(applied.admission(&batch(4, 1, 1)), Admission::Gap);
    }
}
