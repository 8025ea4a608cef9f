//! What a run has done so far, and what it did.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::Tally;

/// Counters of a run under way; read them at any time.
#[derive(Debug, Default)]
pub struct Progress {
    purchases: AtomicU64,
    lines: AtomicU64,
    refused: AtomicU64,
}

impl Progress {
    /// Purchases acknowledged.
    pub fn purchases(&self) -> u64 {
        self.purchases.load(Ordering::Relaxed)
    }

    /// Lines of the purchases acknowledged.
    pub fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    /// Purchases refused for good.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, purchases: u64, lines: u64, refused: u64) {
        self.purchases.fetch_add(purchases, Ordering::Relaxed);
        self.lines.fetch_add(lines, Ordering::Relaxed);
        self.refused.fetch_add(refused, Ordering::Relaxed);
    }
}

/// Purchases the server refused for good, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals(BTreeMap<String, (u64, String)>);

impl Refusals {
    /// Counts one; `message` is kept if it is the first of its kind.
    pub(crate) fn add(&mut self, kind: String, message: &str) {
        self.0.entry(kind).or_insert_with(|| (0, message.to_owned())).0 += 1;
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (kind, (count, message)) in other.0 {
            self.0.entry(kind).or_insert((0, message)).0 += count;
        }
    }

    /// Kinds in alphabetical order: name, how many, and the first message.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64, &str)> {
        self.0.iter().map(|(kind, (count, message))| (kind.as_str(), *count, message.as_str()))
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.0.values().map(|(count, _)| count).sum()
    }
}

/// What a finished run did.
#[derive(Debug, Default)]
pub struct Report {
    /// What was acknowledged.
    pub tally: Tally,
    /// What was not, and why.
    pub refusals: Refusals,
    /// From the first request to the last answer.
    pub elapsed: Duration,
}

impl Report {
    pub(crate) fn merge(&mut self, other: Self) {
        self.tally.merge(other.tally);
        self.refusals.merge(other.refusals);
    }
}
