//! How far the database is behind.

use std::sync::{Mutex, MutexGuard, PoisonError};

use model::{ProducerId, Sequence};

/// Purchases of the producer at hand that are published and not in the database yet. Those of producers
/// before it are not counted: there is at most one limit of them.
#[derive(Debug, Default)]
pub(super) struct Backlog(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    producer: Option<ProducerId>,
    published: Sequence,
    recorded: Sequence,
}

impl Backlog {
    pub(super) fn published(&self, producer: ProducerId, next: Sequence) {
        let mut state = self.lock();
        if state.producer != Some(producer) {
            *state = State { producer: Some(producer), ..State::default() };
        }
        state.published = next;
    }

    pub(super) fn recorded(&self, producer: ProducerId, next: Sequence) {
        let mut state = self.lock();
        if state.producer == Some(producer) {
            state.recorded = next;
        }
    }

    pub(super) fn len(&self) -> u64 {
        let state = self.lock();
        state.published.0.saturating_sub(state.recorded.0)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_producer_at_hand_counts() {
        let backlog = Backlog::default();
        backlog.recorded(ProducerId(9), Sequence(100));
        backlog.published(ProducerId(1), Sequence(7));
        assert_eq!(backlog.len(), 7);
        backlog.recorded(ProducerId(1), Sequence(5));
        assert_eq!(backlog.len(), 2);
        backlog.published(ProducerId(2), Sequence(1));
        backlog.recorded(ProducerId(1), Sequence(7));
        assert_eq!(backlog.len(), 1);
    }
}
