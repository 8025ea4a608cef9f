//! What bounds count: the bytes one read gives, and the memory records take.

/// What a record takes in memory, roughly, for a payload of `len` bytes. Payloads may be empty,
/// and memory is bounded all the same.
pub(crate) fn memory_of(len: usize) -> usize {
    len + 64
}

/// The payload bytes one read may give: the first record always, more while they fit.
#[derive(Debug)]
pub struct ReadBudget {
    /// `None` once something did not fit.
    left: Option<usize>,
    started: bool,
}

impl ReadBudget {
    /// For one read of at most `max_bytes`.
    pub fn new(max_bytes: usize) -> Self {
        Self { left: Some(max_bytes), started: false }
    }

    /// Whether the next record, of `len` bytes, is part of the read.
    pub fn admits(&mut self, len: usize) -> bool {
        self.left = self.left.and_then(|left| left.checked_sub(len));
        let first = !std::mem::replace(&mut self.started, true);
        first || self.left.is_some()
    }
}
