//! Which partition a store lives in.

use std::fmt;

use crate::StoreId;

/// Index of a partition, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u32);

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many partitions the stream has: 1 to [`PartitionCount::MAX`], fixed for the life of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionCount(u32);

/// A partition count out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the number of partitions is {0}, it must be between 1 and {max}", max = PartitionCount::MAX)]
pub struct InvalidPartitionCount(pub u32);

impl PartitionCount {
    /// The most partitions a stream may have.
    pub const MAX: u32 = 1024;

    /// Checks the range.
    ///
    /// # Errors
    /// [`InvalidPartitionCount`] for 0 and for more than [`Self::MAX`].
    pub fn new(count: u32) -> Result<Self, InvalidPartitionCount> {
        if (1..=Self::MAX).contains(&count) {
            Ok(Self(count))
        } else {
            Err(InvalidPartitionCount(count))
        }
    }

    /// The number itself.
    pub fn get(self) -> u32 {
        self.0
    }

    /// All partitions, in order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = Partition> + Clone {
        (0..self.0).map(Partition)
    }

    /// The partition all purchases of `store` are in.
    ///
    /// The hash is the 32-bit finaliser of `MurmurHash3` (Austin Appleby, 2011), scaled to the count by
    /// a widening multiplication (Daniel Lemire, "Fast Random Integer Generation in an Interval",
    /// 2019). It is the same for every backend and every release: data already written depends on it.
    pub fn of(self, store: StoreId) -> Partition {
        let mut h = store.0;
        h ^= h >> 16;
        h = h.wrapping_mul(0x85eb_ca6b);
        h ^= h >> 13;
        h = h.wrapping_mul(0xc2b2_ae35);
        h ^= h >> 16;
        Partition(((u64::from(h) * u64::from(self.0)) >> 32) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignment_never_changes() {
        let four = PartitionCount::new(4).unwrap();
        let got: Vec<u32> = (0..12).map(|s| four.of(StoreId(s)).0).collect();
        assert_eq!(got, [0, 1, 0, 2, 0, 3, 1, 0, 1, 3, 3, 2]);
    }

    #[test]
    fn stores_spread_evenly() {
        for count in [1, 3, 4, 12, 1024] {
            let partitions = PartitionCount::new(count).unwrap();
            let mut sizes = vec![0_u32; count as usize];
            for store in 0..count * 1000 {
                sizes[partitions.of(StoreId(store)).0 as usize] += 1;
            }
            assert!(sizes.iter().all(|&n| (800..1200).contains(&n)), "{count}: {sizes:?}");
        }
    }

    #[test]
    fn range_is_checked() {
        assert!(PartitionCount::new(0).is_err());
        assert!(PartitionCount::new(1024).is_ok());
        assert!(PartitionCount::new(1025).is_err());
    }
}
