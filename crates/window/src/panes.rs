//! The sliding windows: one log of panes, shared by all of them.
//!
//! A pane holds what was sold in [`PANE`] of event time, summed by pair. Each window covers the
//! panes up to the current one, as many as its length; when the current pane moves on, what falls out
//! at the far end of a window is subtracted from its counts. So a line costs one entry, whatever the
//! number of windows, and a window is never summed anew.

use std::{collections::VecDeque, mem};

use model::Timestamp;

use crate::{Layout, PANE, WindowKind, radix};

/// Number of a pane: event time divided by the width of a pane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PaneNumber(i64);

impl PaneNumber {
    pub(crate) fn of(time: Timestamp) -> Self {
        Self(time.millis().div_euclid(PANE.as_millis() as i64))
    }

    pub(crate) fn from_raw(number: i64) -> Self {
        Self(number)
    }

    pub(crate) fn raw(self) -> i64 {
        self.0
    }
}

/// What one pair sold in one pane; a pair may have several entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Entry {
    pub(crate) pair: u32,
    pub(crate) quantity: u32,
}

#[derive(Debug, Default)]
struct Pane {
    entries: Vec<Entry>,
    /// Entries before this place are in a snapshot, and no longer change.
    saved: usize,
    /// Whether the entries have been gathered.
    gathered: bool,
}

/// Pairs whose records lie so close together that all of them stay in the cache, as a power of two.
const NEAR: u32 = 12;

/// How many records there may be to an entry for gathering them to be worth its while.
const SPARSE: usize = 64;

impl Pane {
    /// Puts entries of pairs that lie close together in memory next to each other: in their order of arrival,
    /// each pair would have to be fetched from somewhere else. Those in a snapshot stay before those that are not.
    fn gather(&mut self, pairs: usize) {
        if mem::replace(&mut self.gathered, true) || self.entries.len() < pairs / SPARSE {
            return;
        }
        let (mut unsaved, mut buffer) = (self.entries.split_off(self.saved), Vec::new());
        for part in [&mut self.entries, &mut unsaved] {
            radix::sort(part, &mut buffer, (pairs >> NEAR) + 1, |entry| entry.pair >> NEAR);
        }
        self.entries.append(&mut unsaved);
    }
}

/// A sliding window that is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sliding {
    pub(crate) kind: WindowKind,
    pub(crate) slot: usize,
    panes: i64,
}

/// The panes that any window still covers.
#[derive(Debug)]
pub(crate) struct Panes {
    windows: Vec<Sliding>,
    longest: i64,
    current: Option<PaneNumber>,
    /// Number of the first pane in `log`.
    first: i64,
    log: VecDeque<Pane>,
    /// Entries in all panes.
    entries: usize,
}

impl Panes {
    pub(crate) fn new(layout: &Layout) -> Self {
        let windows: Vec<Sliding> = layout
            .kinds()
            .iter()
            .filter_map(|&kind| {
                let panes = kind.length()?.as_secs() / PANE.as_secs();
                Some(Sliding { kind, slot: layout.slot(kind)?, panes: panes as i64 })
            })
            .collect();
        let longest = windows.iter().map(|window| window.panes).max().unwrap_or(0);
        Self { windows, longest, current: None, first: 0, log: VecDeque::new(), entries: 0 }
    }

    /// The windows kept, longest first.
    pub(crate) fn windows(&self) -> &[Sliding] {
        &self.windows
    }

    /// Whether `window` still covers `pane`.
    pub(crate) fn covers(&self, window: &Sliding, pane: PaneNumber) -> bool {
        self.current.is_none_or(|current| pane.0 > current.0 - window.panes)
    }

    /// Moves the current pane on to `to`; `expire` gets what falls out of each window. There are `pairs` pairs.
    pub(crate) fn advance(
        &mut self,
        to: PaneNumber,
        pairs: usize,
        mut expire: impl FnMut(usize, &[Entry]),
    ) {
        let Some(from) = self.current.filter(|&from| from < to) else {
            self.current = self.current.max(Some(to));
            return;
        };
        self.current = Some(to);
        // Few come to it any more, and most of what the panes hold is in those that have passed.
        if let Some(pane) =
            usize::try_from(from.0 - self.first).ok().and_then(|passed| self.log.get_mut(passed))
        {
            pane.entries.shrink_to_fit();
        }
        let end = self.first + self.log.len() as i64;
        for window in &self.windows {
            let gone =
                (from.0 - window.panes + 1).max(self.first)..(to.0 - window.panes + 1).min(end);
            for pane in gone {
                let pane = &mut self.log[(pane - self.first) as usize];
                pane.gather(pairs);
                expire(window.slot, &pane.entries);
            }
        }
        self.drop_uncovered(to);
    }

    /// The pane with this number, made if need be. Some window must cover it.
    #[inline]
    fn pane(&mut self, number: PaneNumber) -> &mut Pane {
        let place = usize::try_from(number.0 - self.first);
        match place.ok().filter(|&place| place < self.log.len()) {
            Some(place) => &mut self.log[place],
            None => self.make(number),
        }
    }

    #[cold]
    fn make(&mut self, number: PaneNumber) -> &mut Pane {
        if self.log.is_empty() {
            self.first = number.0;
        }
        while number.0 < self.first {
            self.log.push_front(Pane::default());
            self.first -= 1;
        }
        let place = (number.0 - self.first) as usize;
        self.log.resize_with(self.log.len().max(place + 1), Pane::default);
        &mut self.log[place]
    }

    /// Adds to a pane that some window covers. `place` is where the pair may have its entry; gives
    /// where it has it now.
    #[inline]
    pub(crate) fn add(&mut self, number: PaneNumber, entry: Entry, place: u32) -> u32 {
        let pane = self.pane(number);
        if place as usize >= pane.saved
            && let Some(known) = pane.entries.get_mut(place as usize)
            && known.pair == entry.pair
            && let Some(sum) = known.quantity.checked_add(entry.quantity)
        {
            known.quantity = sum;
            return place;
        }
        pane.entries.push(entry);
        let place = (pane.entries.len() - 1) as u32;
        self.entries += 1;
        place
    }

    /// The entries not yet in a snapshot, pane by pane; they count as saved from now on.
    pub(crate) fn save(&mut self, full: bool, mut each: impl FnMut(PaneNumber, &[Entry])) {
        for (place, pane) in self.log.iter_mut().enumerate() {
            let from = if full { 0 } else { pane.saved };
            if from < pane.entries.len() {
                each(PaneNumber(self.first + place as i64), &pane.entries[from..]);
            }
            pane.saved = pane.entries.len();
        }
    }

    /// Puts back where event time stood at a snapshot, and lets go of panes that no window covered.
    pub(crate) fn restore_current(&mut self, current: Option<PaneNumber>) {
        self.current = current;
        let Some(current) = current else { return };
        self.drop_uncovered(current);
    }

    /// Puts back entries of a pane that some window covers; `false` if none does.
    #[must_use]
    pub(crate) fn restore(&mut self, number: PaneNumber, entries: &[Entry]) -> bool {
        let covered = self
            .current
            .is_some_and(|current| number <= current && number.0 > current.0 - self.longest);
        if covered {
            let pane = self.pane(number);
            pane.entries.extend_from_slice(entries);
            pane.saved = pane.entries.len();
            self.entries += entries.len();
        }
        covered
    }

    fn drop_uncovered(&mut self, current: PaneNumber) {
        while self.first <= current.0 - self.longest
            && let Some(pane) = self.log.pop_front()
        {
            self.first += 1;
            self.entries -= pane.entries.len();
        }
    }

    /// Entries in all panes.
    pub(crate) fn len(&self) -> usize {
        self.entries
    }

    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> usize {
        let entries: usize = self.log.iter().map(|pane| pane.entries.capacity()).sum();
        entries * size_of::<Entry>() + self.log.capacity() * size_of::<Pane>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathered_entries_are_in_order_and_saved_ones_stay_in_front() {
        let pairs = 50 << NEAR;
        let entry = |n: u32| Entry { pair: n.wrapping_mul(2_654_435_761) % pairs, quantity: n };
        let all: Vec<Entry> = (0..20_000).map(entry).collect();
        for saved in [0, 7_000, all.len()] {
            let mut pane = Pane { entries: all.clone(), saved, gathered: false };
            pane.gather(pairs as usize);
            for (part, before) in
                [(&pane.entries[..saved], &all[..saved]), (&pane.entries[saved..], &all[saved..])]
            {
                assert!(part.is_sorted_by_key(|entry| entry.pair >> NEAR));
                let mut part = part.to_vec();
                part.sort_by_key(|entry| entry.quantity);
                assert_eq!(part, before);
            }
        }
    }

    #[test]
    fn few_entries_of_many_pairs_are_left_as_they_are() {
        let entries = vec![Entry { pair: 1 << NEAR, quantity: 1 }, Entry { pair: 0, quantity: 1 }];
        let mut pane = Pane { entries: entries.clone(), ..Pane::default() };
        pane.gather(3 * SPARSE);
        assert_eq!(pane.entries, entries);
    }
}
