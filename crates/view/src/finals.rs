//! The closed business days of all partitions.

use std::{collections::BTreeMap, sync::Arc};

use model::{BusinessDate, Partition, PartitionCount};
use parking_lot::RwLock;
use window::FinalDay;

type Days = BTreeMap<BusinessDate, Arc<FinalDay>>;

/// Closed days, by partition and date.
///
/// A leaf in the order of locks: nothing else is locked while one of its locks is held.
#[derive(Debug)]
pub(crate) struct Finals {
    days: Box<[RwLock<Days>]>,
}

impl Finals {
    pub(crate) fn new(partitions: PartitionCount) -> Self {
        Self { days: partitions.iter().map(|_| RwLock::default()).collect() }
    }

    pub(crate) fn insert(&self, partition: Partition, day: Arc<FinalDay>) {
        self.days[partition.0 as usize].write().insert(day.date, day);
    }

    pub(crate) fn remove(&self, partition: Partition, date: BusinessDate) {
        self.days[partition.0 as usize].write().remove(&date);
    }

    /// Forgets all days of a partition.
    pub(crate) fn clear(&self, partition: Partition) {
        self.days[partition.0 as usize].write().clear();
    }

    pub(crate) fn get(&self, partition: Partition, date: BusinessDate) -> Option<Arc<FinalDay>> {
        self.days[partition.0 as usize].read().get(&date).cloned()
    }

    pub(crate) fn contains(&self, partition: Partition, date: BusinessDate) -> bool {
        self.days[partition.0 as usize].read().contains_key(&date)
    }

    /// All partitions in which `date` is closed, with what they have of it.
    pub(crate) fn of_date(&self, date: BusinessDate) -> Vec<(Partition, Arc<FinalDay>)> {
        let partitions = (0_u32..).map(Partition);
        let days = self.days.iter().zip(partitions);
        days.filter_map(|(days, p)| Some((p, days.read().get(&date)?.clone()))).collect()
    }

    /// Whether `date` is closed in any partition.
    pub(crate) fn closed_somewhere(&self, date: BusinessDate) -> bool {
        self.days.iter().any(|days| days.read().contains_key(&date))
    }

    /// Number of closed days and the bytes they hold, over all partitions.
    pub(crate) fn size(&self) -> (usize, usize) {
        self.days.iter().fold((0, 0), |(count, bytes), days| {
            let days = days.read();
            let held: usize = days.values().map(|day| day.stores.bytes() + day.items.bytes()).sum();
            (count + days.len(), bytes + held)
        })
    }
}
