//! The record of a pair, and its counts.
//!
//! Two records share a line of the cache, and none lies across two. So the counts in a record are narrow,
//! one per slot. A pair with a count that does not fit, or of a state with more slots than that, has its
//! counts in a row aside, and is flagged. Few pairs sell so much.

use crate::pairs::Side;

/// Counts that fit into a record.
const NARROW: usize = 8;

/// The most slots a record has flags for.
pub(crate) const MAX_SLOTS: usize = 12;

const IN_VIEW: u32 = 1 << (2 * MAX_SLOTS);
const DIRTY_VIEW: u32 = IN_VIEW << 2;
const DIRTY_SAVE: u32 = IN_VIEW << 3;
const WIDE: u32 = IN_VIEW << 4;

/// What is known of a pair.
#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
pub(crate) struct Record {
    /// Indexes of the store and of the item.
    pub(crate) sides: [u32; 2],
    /// Where in its newest pane the pair has its entry; a hint, to be checked there.
    pub(crate) place: u32,
    flags: u32,
    /// By slot; the number of the row aside, lower half first, if the pair is wide.
    narrow: [u16; NARROW],
}

impl Record {
    #[inline]
    fn is_wide(&self) -> bool {
        self.flags & WIDE != 0
    }

    /// The number of the row aside.
    fn row(&self) -> usize {
        usize::from(self.narrow[0]) | usize::from(self.narrow[1]) << u16::BITS
    }

    #[inline]
    fn member_bit(side: Side, slot: usize) -> u32 {
        1 << (side as usize * MAX_SLOTS + slot)
    }

    /// Whether the pair is a candidate for the list of its `side` in `slot`.
    #[inline]
    pub(crate) fn is_member(&self, side: Side, slot: usize) -> bool {
        self.flags & Self::member_bit(side, slot) != 0
    }

    /// Whether the pair is a candidate for any list of its `side` that has a bound other than the lowest.
    #[inline]
    pub(crate) fn is_member_of_any(&self, side: Side) -> bool {
        self.flags >> (side as usize * MAX_SLOTS) & ((1 << MAX_SLOTS) - 1) != 0
    }

    /// Makes the pair a candidate for the list of its `side` in `slot`, or no longer one.
    #[inline]
    pub(crate) fn set_member(&mut self, side: Side, slot: usize, member: bool) {
        let bit = Self::member_bit(side, slot);
        if member {
            self.flags |= bit | IN_VIEW << side as usize;
        } else {
            self.flags &= !bit;
        }
    }

    /// Whether a row of the pair may be in the lists of its `side`: it was a candidate at the last flush
    /// or at any time since. (At any time, for another run on the same stream flushes at other offsets:
    /// who follows that one may have the row.)
    #[inline]
    pub(crate) fn is_in_view(&self, side: Side) -> bool {
        self.flags & IN_VIEW << side as usize != 0
    }

    pub(crate) fn set_in_view(&mut self, side: Side, in_view: bool) {
        let bit = IN_VIEW << side as usize;
        self.flags = if in_view { self.flags | bit } else { self.flags & !bit };
    }

    /// Notes that the pair has changed; gives whether it had not since the last flush, nor since the last
    /// snapshot.
    #[inline]
    pub(crate) fn mark_dirty(&mut self) -> [bool; 2] {
        let before = self.flags;
        self.flags |= DIRTY_VIEW | DIRTY_SAVE;
        [before & DIRTY_VIEW == 0, before & DIRTY_SAVE == 0]
    }

    /// Notes that what has changed is handed on.
    #[inline]
    pub(crate) fn clear_dirty_view(&mut self) {
        self.flags &= !DIRTY_VIEW;
    }

    /// Notes that what has changed is in a snapshot.
    #[inline]
    pub(crate) fn clear_dirty_save(&mut self) {
        self.flags &= !DIRTY_SAVE;
    }
}

/// The counts of the records: those that do not fit into them, and how to get at either.
#[derive(Debug, Clone)]
pub(crate) struct Counts {
    slots: usize,
    /// Rows of one count for each slot.
    wide: Vec<u64>,
}

impl Counts {
    pub(crate) fn new(slots: usize) -> Self {
        debug_assert!(slots <= MAX_SLOTS, "more slots than flags");
        Self { slots, wide: Vec::new() }
    }

    /// The record of a new pair.
    pub(crate) fn record(&mut self, sides: [u32; 2]) -> Record {
        let mut record = Record { sides, place: 0, flags: 0, narrow: [0; NARROW] };
        if self.slots > NARROW {
            self.widen(&mut record);
        }
        record
    }

    #[inline]
    pub(crate) fn count(&self, record: &Record, slot: usize) -> u64 {
        if record.is_wide() { self.row(record)[slot] } else { record.narrow[slot].into() }
    }

    /// Whether any count is more than 0 in `slots`, given as bits.
    #[inline]
    pub(crate) fn any(&self, record: &Record, mut slots: u16) -> bool {
        while slots != 0 {
            if self.count(record, slots.trailing_zeros() as usize) > 0 {
                return true;
            }
            slots &= slots - 1;
        }
        false
    }

    #[cold]
    fn row(&self, record: &Record) -> &[u64] {
        &self.wide[record.row() * self.slots..][..self.slots]
    }

    #[cold]
    fn row_mut(&mut self, record: &Record) -> &mut [u64] {
        &mut self.wide[record.row() * self.slots..][..self.slots]
    }

    /// Appends all counts.
    #[inline]
    pub(crate) fn extend(&self, record: &Record, out: &mut Vec<u64>) {
        if record.is_wide() {
            out.extend_from_slice(self.row(record));
        } else {
            out.extend(record.narrow[..self.slots].iter().map(|&count| u64::from(count)));
        }
    }

    /// Adds to a count; gives the new one.
    #[inline]
    pub(crate) fn add(&mut self, record: &mut Record, slot: usize, quantity: u32) -> u64 {
        if !record.is_wide()
            && let Some(count) = u32::from(record.narrow[slot]).checked_add(quantity)
            && let Ok(count) = u16::try_from(count)
        {
            record.narrow[slot] = count;
            return count.into();
        }
        self.change_wide(record, slot, |count| count.wrapping_add(quantity.into()))
    }

    /// Takes from a count what was added before; gives the new one.
    #[inline]
    pub(crate) fn subtract(&mut self, record: &mut Record, slot: usize, quantity: u32) -> u64 {
        if !record.is_wide()
            && let Ok(quantity) = u16::try_from(quantity)
            && let Some(count) = record.narrow[slot].checked_sub(quantity)
        {
            record.narrow[slot] = count;
            return count.into();
        }
        self.change_wide(record, slot, |count| count.wrapping_sub(quantity.into()))
    }

    pub(crate) fn set(&mut self, record: &mut Record, slot: usize, count: u64) {
        match u16::try_from(count) {
            Ok(count) if !record.is_wide() => record.narrow[slot] = count,
            _ => {
                self.change_wide(record, slot, |_| count);
            }
        }
    }

    #[cold]
    fn change_wide(
        &mut self,
        record: &mut Record,
        slot: usize,
        change: impl FnOnce(u64) -> u64,
    ) -> u64 {
        if !record.is_wide() {
            self.widen(record);
        }
        let count = &mut self.row_mut(record)[slot];
        *count = change(*count);
        *count
    }

    /// Moves the counts to a row aside; they stay there.
    fn widen(&mut self, record: &mut Record) {
        let row = self.wide.len() / self.slots;
        if self.slots > NARROW {
            self.wide.resize(self.wide.len() + self.slots, 0);
        } else {
            self.wide.extend(record.narrow[..self.slots].iter().map(|&count| u64::from(count)));
        }
        (record.narrow[0], record.narrow[1]) = (row as u16, (row >> u16::BITS) as u16);
        record.flags |= WIDE;
    }

    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> usize {
        8 * self.wide.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(counts: &Counts, record: &Record) -> Vec<u64> {
        let mut all = Vec::new();
        counts.extend(record, &mut all);
        assert!((0..counts.slots).all(|slot| counts.count(record, slot) == all[slot]));
        all
    }

    #[test]
    fn a_count_outgrows_its_record_and_comes_back() {
        let mut counts = Counts::new(3);
        let (mut record, mut other) = (counts.record([0, 0]), counts.record([0, 1]));
        assert_eq!(counts.add(&mut record, 0, 5), 5);
        assert_eq!(counts.add(&mut record, 1, 65_535), 65_535);
        assert!(!record.is_wide());
        assert_eq!(counts.add(&mut record, 1, 1), 65_536);
        assert_eq!(counts.add(&mut record, 1, u32::MAX), (1 << 32) + 65_535);
        assert_eq!(counts.add(&mut other, 2, u32::MAX), u64::from(u32::MAX));
        assert_eq!(all(&counts, &record), [5, (1 << 32) + 65_535, 0]);
        assert_eq!(counts.subtract(&mut record, 1, u32::MAX), 65_536);
        assert_eq!(counts.subtract(&mut record, 1, 65_536), 0);
        assert_eq!(counts.subtract(&mut record, 0, 4), 1);
        counts.set(&mut record, 2, 3 << 32);
        assert_eq!(all(&counts, &record), [1, 0, 3 << 32]);
        counts.set(&mut record, 2, 1);
        assert_eq!(all(&counts, &record), [1, 0, 1]);
        assert_eq!(all(&counts, &other), [0, 0, u64::from(u32::MAX)]);
    }

    #[test]
    fn more_slots_than_a_record_holds() {
        let mut counts = Counts::new(MAX_SLOTS);
        let (mut record, other) = (counts.record([0, 0]), counts.record([0, 1]));
        assert_eq!(counts.add(&mut record, 0, 1), 1);
        assert_eq!(counts.add(&mut record, 11, 70_000), 70_000);
        assert_eq!(all(&counts, &record), [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 70_000]);
        assert_eq!(all(&counts, &other), [0; MAX_SLOTS]);
        assert!(counts.any(&record, 1 << 11) && counts.any(&record, 3));
        assert!(!counts.any(&record, 1 << 10 | 2) && !counts.any(&other, 0xfff));
    }

    #[test]
    fn candidates_of_one_side_are_not_those_of_the_other() {
        let mut record = Counts::new(1).record([0, 0]);
        record.set_member(Side::Item, 0, true);
        assert!(record.is_member(Side::Item, 0) && !record.is_member(Side::Store, 0));
        assert!(record.is_member_of_any(Side::Item) && !record.is_member_of_any(Side::Store));
        assert!(record.is_in_view(Side::Item) && !record.is_in_view(Side::Store));
    }
}
