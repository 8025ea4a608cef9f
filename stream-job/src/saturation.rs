//! Telling the entrance that the state is full.

use std::{collections::BTreeMap, sync::Arc};

use model::Partition;
use tokio::sync::watch;

/// Which partitions are full, with the reason. Whoever takes purchases in should refuse them as
/// long as there is one.
pub type Saturated = BTreeMap<Partition, String>;

/// Where the workers say that their state is full.
#[derive(Debug, Clone)]
pub(crate) struct Saturation(Arc<watch::Sender<Saturated>>);

impl Saturation {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Saturated::new())))
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Saturated> {
        self.0.subscribe()
    }

    /// Says whether a partition is full, and why; tells nobody if that is known.
    pub(crate) fn set(&self, partition: Partition, reason: Option<String>) {
        self.0.send_if_modified(|saturated| match reason {
            None => saturated.remove(&partition).is_some(),
            Some(_) if saturated.contains_key(&partition) => false,
            Some(reason) => saturated.insert(partition, reason).is_none(),
        });
    }
}
