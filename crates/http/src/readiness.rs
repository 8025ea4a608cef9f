//! Readiness: whether the process can do its work, and if not, why.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;

/// Named conditions that must all hold before traffic may come. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<Vec<State>>>,
}

#[derive(Debug)]
struct State {
    name: Cow<'static, str>,
    /// `None` when the condition holds.
    reason: Option<Cow<'static, str>>,
}

/// One condition.
#[derive(Debug, Clone)]
pub struct Condition {
    index: usize,
    conditions: Arc<Mutex<Vec<State>>>,
}

/// A condition that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotReady {
    /// Its name.
    pub name: Cow<'static, str>,
    /// What is missing.
    pub reason: Cow<'static, str>,
}

impl Readiness {
    /// Without conditions: ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition that does not hold yet. Add all of them before serving.
    pub fn condition(
        &self,
        name: impl Into<Cow<'static, str>>,
        reason: impl Into<Cow<'static, str>>,
    ) -> Condition {
        let mut conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        conditions.push(State { name: name.into(), reason: Some(reason.into()) });
        Condition { index: conditions.len() - 1, conditions: Arc::clone(&self.conditions) }
    }

    /// The conditions that do not hold; none when ready.
    pub fn not_ready(&self) -> Vec<NotReady> {
        let conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        conditions
            .iter()
            .filter_map(|state| {
                let reason = state.reason.clone()?;
                Some(NotReady { name: state.name.clone(), reason })
            })
            .collect()
    }

    /// Whether all conditions hold.
    pub fn is_ready(&self) -> bool {
        self.not_ready().is_empty()
    }
}

impl Condition {
    /// It holds now.
    pub fn ready(&self) {
        self.set(None);
    }

    /// It does not hold, for `reason`.
    pub fn not_ready(&self, reason: impl Into<Cow<'static, str>>) {
        self.set(Some(reason.into()));
    }

    fn set(&self, reason: Option<Cow<'static, str>>) {
        let mut conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        conditions[self.index].reason = reason;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_every_condition_holds() {
        let readiness = Readiness::new();
        assert!(readiness.is_ready());
        let log = readiness.condition("log", "opening");
        let view = readiness.condition("view", "recovering");
        log.ready();
        assert_eq!(
            readiness.not_ready(),
            [NotReady { name: "view".into(), reason: "recovering".into() }]
        );
        view.ready();
        assert!(readiness.is_ready());
        log.not_ready("stopped");
        assert!(!readiness.is_ready());
    }
}
