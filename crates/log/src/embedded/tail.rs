//! The newest records of a partition, in memory.

use std::collections::VecDeque;

use bytes::Bytes;
use model::Offset;

use crate::{
    Record,
    budget::{ReadBudget, memory_of},
};

/// The newest durable records, at most `limit` bytes of memory, so that a reader at the
/// tail never touches the file.
#[derive(Debug)]
pub(super) struct Tail {
    first: Offset,
    records: VecDeque<Bytes>,
    bytes: usize,
    limit: usize,
}

impl Tail {
    /// Empty; the next record pushed has offset `next`.
    pub(super) fn new(next: Offset, limit: usize) -> Self {
        Self { first: next, records: VecDeque::new(), bytes: 0, limit }
    }

    /// Adds the next record; the oldest make room for it.
    pub(super) fn push(&mut self, payload: Bytes) {
        self.bytes += memory_of(payload.len());
        self.records.push_back(payload);
        while self.bytes > self.limit {
            self.pop();
        }
    }

    /// Forgets the records before `earliest`.
    pub(super) fn trim(&mut self, earliest: Offset) {
        while self.first < earliest && !self.records.is_empty() {
            self.pop();
        }
    }

    /// The records from `from`, up to `max_bytes` but at least one, or `None` if `from` is not here.
    pub(super) fn read(&self, from: Offset, max_bytes: usize) -> Option<Vec<Record>> {
        let skip = usize::try_from(from.0.checked_sub(self.first.0)?).ok()?;
        if skip >= self.records.len() {
            return None;
        }
        let mut budget = ReadBudget::new(max_bytes);
        let records = (from.0..).zip(self.records.range(skip..));
        Some(
            records
                .take_while(|(_, payload)| budget.admits(payload.len()))
                .map(|(offset, payload)| Record {
                    offset: Offset(offset),
                    payload: payload.clone(),
                })
                .collect(),
        )
    }

    fn pop(&mut self) {
        if let Some(payload) = self.records.pop_front() {
            self.bytes -= memory_of(payload.len());
            self.first = self.first.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Room for as much as records of the lengths in `room` take.
    fn tail(room: &[usize], lens: &[usize]) -> Tail {
        let limit = room.iter().map(|len| memory_of(*len)).sum();
        let mut tail = Tail::new(Offset(10), limit);
        for len in lens {
            tail.push(Bytes::from(vec![0; *len]));
        }
        tail
    }

    fn offsets(tail: &Tail, from: u64, max_bytes: usize) -> Option<Vec<u64>> {
        let records = tail.read(Offset(from), max_bytes)?;
        Some(records.iter().map(|record| record.offset.0).collect())
    }

    #[test]
    fn keeps_the_newest_within_the_limit() {
        let tail = tail(&[4, 4], &[4, 4, 4]);
        assert_eq!(offsets(&tail, 10, 100), None);
        assert_eq!(offsets(&tail, 11, 100), Some(vec![11, 12]));
        assert_eq!(offsets(&tail, 13, 100), None);
    }

    #[test]
    fn a_record_over_the_limit_leaves_nothing() {
        assert_eq!(offsets(&tail(&[10], &[4, 11]), 11, 100), None);
        assert_eq!(offsets(&tail(&[10], &[11, 4]), 11, 100), Some(vec![11]));
    }

    #[test]
    fn empty_records_take_room_too() {
        let tail = tail(&[0, 0], &[0, 0, 0]);
        assert_eq!(offsets(&tail, 10, 100), None);
        assert_eq!(offsets(&tail, 11, 100), Some(vec![11, 12]));
    }

    #[test]
    fn reads_at_least_one_and_no_more_than_fit() {
        let tail = tail(&[4; 9], &[4, 4, 4]);
        assert_eq!(offsets(&tail, 10, 0), Some(vec![10]));
        assert_eq!(offsets(&tail, 10, 8), Some(vec![10, 11]));
    }

    #[test]
    fn trim_forgets_a_prefix() {
        let mut tail = tail(&[4; 9], &[4, 4, 4]);
        tail.trim(Offset(11));
        assert_eq!(offsets(&tail, 10, 100), None);
        assert_eq!(offsets(&tail, 11, 100), Some(vec![11, 12]));
        tail.trim(Offset(20));
        tail.push(Bytes::from_static(b"x"));
        assert_eq!(offsets(&tail, 13, 100), Some(vec![13]));
    }
}
