//! The order of every list: greater count first, then smaller id.

use std::cmp::{Ordering, Reverse};

/// Where something stands. Greater is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rank {
    pub(crate) count: u64,
    pub(crate) id: u64,
}

impl Rank {
    /// The worst rank of a list: a count of 0 is not listed.
    pub(crate) const LOWEST: Self = Self { count: 1, id: u64::MAX };

    /// Whether something with `count` ranks at `bound` or better; `id` is asked for only in a tie.
    #[inline]
    pub(crate) fn reaches(count: u64, id: impl FnOnce() -> u64, bound: Self) -> bool {
        count > bound.count || (count == bound.count && id() <= bound.id)
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.count, Reverse(self.id)).cmp(&(other.count, Reverse(other.id)))
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
