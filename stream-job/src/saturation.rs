//! What is done about a state that is full: the entrance is told, or the worker reads no further.

use std::{collections::BTreeMap, sync::Arc};

use model::Partition;
use tokio::sync::watch;
use window::Aggregator;

use crate::JobConfig;

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

/// A limit of the state of a partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) most: usize,
    pub(crate) of: &'static str,
    pub(crate) setting: &'static str,
}

impl Limit {
    /// The first that the state is over. That takes the same time however large the state is.
    pub(crate) fn exceeded(state: &Aggregator, config: &JobConfig) -> Option<Self> {
        let pairs = Self {
            most: config.max_pairs,
            of: "pairs of a store and an item",
            setting: "--max-pairs",
        };
        let entries = Self {
            most: config.max_pane_entries,
            of: "entries of sliding windows",
            setting: "--max-pane-entries",
        };
        let counts = [(state.pairs(), pairs), (state.pane_entries(), entries)];
        counts.into_iter().find(|(count, limit)| *count > limit.most).map(|(_, limit)| limit)
    }
}
