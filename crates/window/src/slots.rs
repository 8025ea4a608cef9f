//! Sets of slots, in the forms that one step for all of them needs.

use crate::{
    entities::Line,
    records::{LANES, Lanes, MAX_SLOTS},
};

/// Lines of the cache that the row of an entity takes with the most slots.
const LINES: usize = (1 + MAX_SLOTS).div_ceil(Line::WORDS);

/// Slots that one purchase counts for. A quantity goes into all of their counts in one step: the others get
/// the same quantity, masked to 0. There is no branch then, and the compiler makes it vector instructions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SlotSet {
    /// As bits.
    pub(crate) bits: u16,
    /// All bits of the lanes that the counts of a record in these slots are in.
    pub(crate) lanes: Lanes,
    /// All bits of the words that the totals of an entity in these slots are in.
    pub(crate) words: [Line; LINES],
}

impl SlotSet {
    pub(crate) const EMPTY: Self =
        Self { bits: 0, lanes: [0; LANES], words: [Line([0; Line::WORDS]); LINES] };

    pub(crate) fn insert(&mut self, slot: usize) {
        self.bits |= 1 << slot;
        if let Some(lane) = self.lanes.get_mut(slot) {
            *lane = u16::MAX;
        }
        let word = 1 + slot;
        self.words[word / Line::WORDS].0[word % Line::WORDS] = u64::MAX;
    }

    /// Ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + use<> {
        bits(self.bits)
    }
}

/// The places of the bits that are set, ascending.
#[inline]
pub(crate) fn bits(mut bits: u16) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = bits.trailing_zeros() as usize;
        (bits != 0).then(|| {
            bits &= bits - 1;
            place
        })
    })
}
