//! What became of the purchases that one thread has sent.

use model::Position;

use super::{connection::Answer, request::Request};
use crate::{Basket, Tally};

/// Purchases with an unclear outcome that each thread keeps.
const UNCLEAR_KEPT: usize = 100_000;

/// What became of purchases.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// What was acknowledged; kept for a comparison only.
    pub(crate) tally: Option<Tally>,
    /// Purchases acknowledged.
    pub(crate) acknowledged: u64,
    /// Purchases that the bulk call took no notice of, because of themselves.
    pub(crate) rejected: u64,
    /// Purchases that may or may not have been counted; kept for a comparison only.
    pub(crate) unclear: Vec<Basket>,
    /// How many those are, also where they are not kept.
    pub(crate) unclear_count: u64,
}

impl Ledger {
    pub(crate) fn new(keep: bool) -> Self {
        Self { tally: keep.then(Tally::default), ..Self::default() }
    }

    /// Notes what became of a request.
    pub(crate) fn note(&mut self, request: &Request, answer: &Answer) {
        let baskets = match request {
            Request::Post(basket) => std::slice::from_ref(basket),
            Request::Bulk(excerpt) => excerpt.baskets(),
            Request::StoreItems(_) | Request::ItemStores(_) => return,
        };
        if answer.outcome.is_success() {
            let position = answer.position.clone().unwrap_or_default();
            for (basket, line) in baskets.iter().zip(1..) {
                let mut rejected = answer.bulk.iter().flat_map(|bulk| &bulk.rejected);
                if rejected.any(|rejected| rejected.line == line) {
                    self.rejected += 1;
                } else {
                    self.acknowledge(basket, &position);
                }
            }
        } else if answer.outcome.is_unclear() {
            self.unclear_count += baskets.len() as u64;
            if self.tally.is_some() {
                let room = UNCLEAR_KEPT.saturating_sub(self.unclear.len());
                self.unclear.extend(baskets.iter().take(room).cloned());
            }
        }
    }

    pub(crate) fn acknowledge(&mut self, basket: &Basket, position: &Position) {
        self.acknowledged += 1;
        if let Some(tally) = &mut self.tally {
            tally.acknowledged(basket, position);
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        match (&mut self.tally, other.tally) {
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            (mine @ None, theirs) => *mine = theirs,
            (Some(_), None) => {}
        }
        self.acknowledged += other.acknowledged;
        self.rejected += other.rejected;
        self.unclear.extend(other.unclear);
        self.unclear_count += other.unclear_count;
    }
}
