//! The record of a pair, and its counts.
//!
//! Two records share a line of the cache, and none lies across two. So the counts in a record are narrow,
//! one per slot. A pair with a count that does not fit, or of a state with more slots than that, has its
//! counts in a row aside, and is flagged. Few pairs sell so much.

use crate::{
    pairs::Side,
    rank::Rank,
    slots::{SlotSet, bits},
};

/// Counts that fit into a record.
pub(crate) const LANES: usize = 8;

/// Counts side by side, by slot.
pub(crate) type Lanes = [u16; LANES];

/// The most slots a record has flags for.
pub(crate) const MAX_SLOTS: usize = 12;

/// Stands for a slot in the flags of a pair: it is a candidate because all pairs of the entity are.
pub(crate) const WHOLE: usize = MAX_SLOTS;

/// Flags of one side: one for each slot, and [`WHOLE`].
const MEMBER_BITS: usize = MAX_SLOTS + 1;

const IN_VIEW: u32 = 1 << (2 * MEMBER_BITS);
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
    narrow: Lanes,
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
        1 << (side as usize * MEMBER_BITS + slot)
    }

    /// Whether the pair is a candidate for the list of its `side` in `slot`.
    #[inline]
    pub(crate) fn is_member(&self, side: Side, slot: usize) -> bool {
        self.flags & Self::member_bit(side, slot) != 0
    }

    /// The slots, as bits, for whose list of its `side` the pair is a candidate. None are set if it is in no
    /// list of that side.
    #[inline]
    pub(crate) fn members(&self, side: Side) -> u16 {
        (self.flags >> (side as usize * MEMBER_BITS)) as u16 & ((1 << MEMBER_BITS) - 1)
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

    /// Whether the pair may be in any list of the view, of either side.
    #[inline]
    fn is_in_any_view(&self) -> bool {
        self.flags & (IN_VIEW | IN_VIEW << 1) != 0
    }

    /// Notes that a row of the view may have to change; gives whether that was not yet noted since the last
    /// flush. Nothing is noted for a pair that is in no list of the view.
    #[inline]
    pub(crate) fn mark_dirty_view(&mut self) -> bool {
        let first = self.flags & DIRTY_VIEW == 0 && self.is_in_any_view();
        self.flags |= u32::from(first) * DIRTY_VIEW;
        first
    }

    /// Notes that a count has changed; gives whether none had since the last snapshot.
    #[inline]
    pub(crate) fn mark_dirty_save(&mut self) -> bool {
        let first = self.flags & DIRTY_SAVE == 0;
        self.flags |= DIRTY_SAVE;
        first
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
        let mut record = Record { sides, place: 0, flags: 0, narrow: [0; LANES] };
        if self.slots > LANES {
            self.widen(&mut record);
        }
        record
    }

    #[inline]
    pub(crate) fn count(&self, record: &Record, slot: usize) -> u64 {
        if record.is_wide() { self.row(record)[slot] } else { record.narrow[slot].into() }
    }

    /// The slots of `outside`, as bits, in which the count reaches the bound of a list. `bounds` has the bounds
    /// of the lists as [`narrow_bound`] gives them; `reaches` says whether a count in a slot really does.
    #[inline]
    pub(crate) fn reached(
        &self,
        record: &Record,
        bounds: &Lanes,
        outside: u16,
        reaches: impl Fn(usize, u64) -> bool,
    ) -> u16 {
        if record.is_wide() {
            return self.reached_wide(record, outside, reaches);
        }
        let (above, level) = compare(&record.narrow, bounds);
        let mut reached = above & outside;
        for slot in bits(level & outside) {
            reached |= u16::from(reaches(slot, record.narrow[slot].into())) << slot;
        }
        reached
    }

    #[cold]
    fn reached_wide(
        &self,
        record: &Record,
        outside: u16,
        reaches: impl Fn(usize, u64) -> bool,
    ) -> u16 {
        let slots = bits(outside & ((1 << self.slots) - 1));
        slots
            .filter(|&slot| reaches(slot, self.count(record, slot)))
            .fold(0, |b, slot| b | 1 << slot)
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

    /// Writes all counts to the front of `out`, which has at least [`LANES`] places; what it leaves in those
    /// behind the last slot is of no use.
    #[inline]
    pub(crate) fn write(&self, record: &Record, out: &mut [u64]) {
        if record.is_wide() {
            return out[..self.slots].copy_from_slice(self.row(record));
        }
        // All lanes, though there may be fewer slots: a fixed number needs no loop.
        let out: &mut [u64; LANES] = out.first_chunk_mut().expect("room for all lanes");
        *out = record.narrow.map(u64::from);
    }

    /// Adds to the counts in `slots`.
    #[inline]
    pub(crate) fn add(&mut self, record: &mut Record, slots: &SlotSet, quantity: u32) {
        if let Ok(quantity) = u16::try_from(quantity)
            && !record.is_wide()
        {
            let (mut sums, mut carry) = (record.narrow, 0);
            for (sum, mask) in sums.iter_mut().zip(slots.lanes) {
                let before = *sum;
                *sum = before.wrapping_add(quantity & mask);
                carry |= u16::from(*sum < before);
            }
            if carry == 0 {
                record.narrow = sums;
                return;
            }
        }
        self.add_wide(record, slots, quantity);
    }

    #[cold]
    fn add_wide(&mut self, record: &mut Record, slots: &SlotSet, quantity: u32) {
        for slot in slots.iter() {
            let count = self.count(record, slot).wrapping_add(quantity.into());
            self.set(record, slot, count);
        }
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
        if self.slots > LANES {
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

/// A bound as [`Counts::reached`] compares with it: a count above reaches the list, and one that is the same,
/// and not 0, may. For a list that has all pairs with a count it is 0, so that none need be looked at more
/// closely.
pub(crate) fn narrow_bound(bound: Rank) -> u16 {
    if bound == Rank::LOWEST { 0 } else { u16::try_from(bound.count).unwrap_or(u16::MAX) }
}

/// The lanes, as bits, in which `counts` is above `bounds`, and those in which it is the same and not 0.
#[inline]
fn compare(counts: &Lanes, bounds: &Lanes) -> (u16, u16) {
    // Each lane gives two bits of its own; without branches, so that the compiler makes vector instructions.
    let gathered = (0..LANES).fold(0, |gathered, lane| {
        let (count, bound) = (counts[lane], bounds[lane]);
        let above = if count > bound { 1 << lane } else { 0_u16 };
        let level = if count == bound && count != 0 { 1 << (LANES + lane) } else { 0 };
        gathered | above | level
    });
    (gathered & 0xff, gathered >> LANES)
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

    /// Adds in one slot; gives the new count.
    fn add(counts: &mut Counts, record: &mut Record, slot: usize, quantity: u32) -> u64 {
        let mut slots = SlotSet::EMPTY;
        slots.insert(slot);
        counts.add(record, &slots, quantity);
        counts.count(record, slot)
    }

    #[test]
    fn a_count_outgrows_its_record_and_comes_back() {
        let mut counts = Counts::new(3);
        let (mut record, mut other) = (counts.record([0, 0]), counts.record([0, 1]));
        assert_eq!(add(&mut counts, &mut record, 0, 5), 5);
        assert_eq!(add(&mut counts, &mut record, 1, 65_535), 65_535);
        assert!(!record.is_wide());
        assert_eq!(add(&mut counts, &mut record, 1, 1), 65_536);
        assert_eq!(add(&mut counts, &mut record, 1, u32::MAX), (1 << 32) + 65_535);
        assert_eq!(add(&mut counts, &mut other, 2, u32::MAX), u64::from(u32::MAX));
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
    fn several_counts_rise_at_once() {
        let mut counts = Counts::new(4);
        let (mut slots, mut record) = (SlotSet::EMPTY, counts.record([0, 0]));
        slots.insert(0);
        slots.insert(3);
        counts.add(&mut record, &slots, 65_000);
        assert_eq!(all(&counts, &record), [65_000, 0, 0, 65_000]);
        counts.subtract(&mut record, 3, 65_000);
        counts.add(&mut record, &slots, 536);
        assert_eq!(all(&counts, &record), [65_536, 0, 0, 536]);
        assert!(record.is_wide());
    }

    #[test]
    fn more_slots_than_a_record_holds() {
        let mut counts = Counts::new(MAX_SLOTS);
        let (mut record, other) = (counts.record([0, 0]), counts.record([0, 1]));
        assert_eq!(add(&mut counts, &mut record, 0, 1), 1);
        assert_eq!(add(&mut counts, &mut record, 11, 70_000), 70_000);
        assert_eq!(all(&counts, &record), [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 70_000]);
        assert_eq!(all(&counts, &other), [0; MAX_SLOTS]);
    }

    #[test]
    fn a_count_reaches_a_bound_whether_it_is_narrow_or_wide() {
        let bound = |count, id| Rank { count, id };
        let bounds = [Rank::LOWEST, bound(3, 8), bound(3, 6), bound(65_535, 9), bound(70_000, 9)];
        let expected = |record: &Record, counts: &Counts, slot: usize| {
            Rank { count: counts.count(record, slot), id: 7 } >= bounds[slot]
        };
        let mut narrow = [0; LANES];
        for (lane, bound) in narrow.iter_mut().zip(bounds) {
            *lane = narrow_bound(bound);
        }
        for count in [0, 1, 2, 3, 4, 65_534, 65_535, 65_536, 69_999, 70_000, 70_001] {
            let mut counts = Counts::new(bounds.len());
            let mut record = counts.record([0, 0]);
            for slot in 0..bounds.len() {
                counts.set(&mut record, slot, count);
            }
            assert_eq!(record.is_wide(), count > 65_535);
            for outside in [0b11111, 0b01010] {
                let reaches = |slot: usize, count| Rank::reaches(count, || 7, bounds[slot]);
                let reached = counts.reached(&record, &narrow, outside, reaches);
                for slot in 0..bounds.len() {
                    let expected = outside >> slot & 1 == 1 && expected(&record, &counts, slot);
                    assert_eq!(reached >> slot & 1 == 1, expected, "{count} in slot {slot}");
                }
            }
        }
    }

    #[test]
    fn candidates_of_one_side_are_not_those_of_the_other() {
        let mut record = Counts::new(1).record([0, 0]);
        assert!(!record.mark_dirty_view(), "it is in no list");
        record.set_member(Side::Item, 0, true);
        assert!(record.is_member(Side::Item, 0) && !record.is_member(Side::Store, 0));
        assert_eq!((record.members(Side::Item), record.members(Side::Store)), (1, 0));
        assert!(record.is_in_view(Side::Item) && !record.is_in_view(Side::Store));
        record.set_member(Side::Store, WHOLE, true);
        assert_eq!((record.members(Side::Item), record.members(Side::Store)), (1, 1 << WHOLE));
        assert!(record.mark_dirty_view() && !record.mark_dirty_view());
    }
}
