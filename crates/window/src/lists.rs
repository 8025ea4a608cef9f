//! Which pairs are candidates for which list.
//!
//! For each entity and each slot, the candidates are exactly the pairs whose rank reaches a bound
//! (see [`Candidates`]). Three things move the bound, each a function of the counts alone, so that
//! the candidates are too:
//!
//! - more than 4k candidates: the bound rises to the rank of the 2k-th;
//! - fewer than k candidates, and pairs outside: all pairs of the entity are looked at again;
//! - an entity that comes to have more than 4k pairs gets candidates in the first place.

use crate::{
    Entry, FinalIndex,
    chunks::Chunks,
    entities::{Candidates, Entities},
    pairs::{Pairs, Side},
    prefetch,
    rank::Rank,
    records::WHOLE,
    slots::bits,
};

/// One list: whose it is, and of which slot.
pub(crate) type List = (Side, u32, usize);

/// The rules of the lists, and the lists that need to be filled again.
#[derive(Debug)]
pub(crate) struct Lists {
    k: usize,
    slots: usize,
    short: Vec<List>,
    /// Lists whose bound has moved since the last snapshot; one may be here several times.
    moved: Vec<List>,
    /// With more than so many of them it is time to leave each only once: there may be no snapshot for long.
    many_moved: usize,
}

/// See [`Lists::many_moved`].
const MANY_MOVED: usize = 4096;

impl Lists {
    pub(crate) fn new(k: usize, slots: usize) -> Self {
        Self { k, slots, short: Vec::new(), moved: Vec::new(), many_moved: MANY_MOVED }
    }

    /// The most candidates kept, and the most pairs an entity has without keeping any apart.
    fn high(&self) -> usize {
        4 * self.k
    }

    /// Makes a pair, whose counts have risen, a candidate for the lists that it has come to reach.
    ///
    /// A count that rises makes no pair leave, so only the lists it is not in are compared with.
    #[inline]
    pub(crate) fn risen(&mut self, pairs: &mut Pairs, sides: &mut [Entities; 2], pair: u32) {
        for side in Side::BOTH {
            let record = pairs.record(pair);
            let (own, others) = (&sides[side as usize], &sides[side.other() as usize]);
            let index = record.sides[side as usize];
            let Some(tops) = own.tops(index) else { continue };
            let reaches = |slot, count| {
                let id = || others.id(record.sides[side.other() as usize]);
                Rank::reaches(count, id, own.candidates(tops, slot).bound)
            };
            let outside = !record.members(side);
            let counts = pairs.record_counts();
            for slot in bits(counts.reached(record, own.bounds(tops), outside, reaches)) {
                self.enter(pairs, sides, pair, (side, index, slot));
            }
        }
    }

    /// Takes a pair, whose count in `slot` has fallen, from the lists whose bounds it no longer reaches.
    ///
    /// A count that falls makes no pair enter, so of those that are no candidates nothing is asked.
    #[inline]
    pub(crate) fn fallen(
        &mut self,
        pairs: &mut Pairs,
        sides: &mut [Entities; 2],
        pair: u32,
        slot: usize,
    ) {
        for side in Side::BOTH {
            let record = pairs.record(pair);
            if !record.is_member(side, slot) {
                continue;
            }
            let list = (side, record.sides[side as usize], slot);
            let id = || sides[side.other() as usize].id(record.sides[side.other() as usize]);
            if !Rank::reaches(pairs.count(pair, slot), id, candidates(sides, list).bound) {
                self.leave(pairs, sides, pair, list);
            }
        }
    }

    fn enter(&mut self, pairs: &mut Pairs, sides: &mut [Entities; 2], pair: u32, list: List) {
        let (side, _, slot) = list;
        pairs.record_mut(pair).set_member(side, slot, true);
        let open = candidates(sides, list).bound == Rank::LOWEST;
        let live = live_mut(sides, list);
        *live += 1;
        let too_many = *live > self.high();
        if open {
            if too_many {
                self.choose(pairs, sides, list);
                self.note_moved(list);
            }
            return;
        }
        let members = members(sides, list);
        members.push(pair);
        if too_many {
            self.raise(pairs, sides, list);
        } else if members.len() > 2 * self.high() {
            tidy(pairs, members, side, slot);
        }
    }

    fn leave(&mut self, pairs: &mut Pairs, sides: &mut [Entities; 2], pair: u32, list: List) {
        let (side, _, slot) = list;
        pairs.record_mut(pair).set_member(side, slot, false);
        let live = live_mut(sides, list);
        *live -= 1;
        if *live < self.k && candidates(sides, list).bound != Rank::LOWEST {
            self.short.push(list);
        }
    }

    /// Keeps only the best of too many candidates.
    fn raise(&mut self, pairs: &mut Pairs, sides: &mut [Entities; 2], list: List) {
        let (side, _, slot) = list;
        let mut members = std::mem::take(members(sides, list));
        tidy(pairs, &mut members, side, slot);
        let ranked =
            members.iter().map(|&pair| (rank(pairs, sides, side, slot, pair), pair)).collect();
        self.keep_best(pairs, sides, list, ranked, members);
        self.note_moved(list);
    }

    /// Fills the lists again that have become short. Called when a purchase is done, and when time
    /// has moved, never in between.
    pub(crate) fn refill(&mut self, pairs: &mut Pairs, sides: &mut [Entities; 2]) {
        while let Some(list) = self.short.pop() {
            let Candidates { bound, live } = candidates(sides, list);
            if live < self.k && bound != Rank::LOWEST {
                self.choose(pairs, sides, list);
                self.note_moved(list);
            }
        }
    }

    /// Chooses the candidates among all pairs of the entity.
    fn choose(&self, pairs: &mut Pairs, sides: &mut [Entities; 2], list: List) {
        let (side, index, slot) = list;
        let former = std::mem::take(members(sides, list));
        let entities = &sides[side as usize];
        let all = entities.tops(index).map_or(&[][..], |tops| entities.pairs(tops));
        let mut ranked = Vec::new();
        for (place, &pair) in all.iter().enumerate() {
            if let Some(&ahead) = all.get(place + prefetch::AHEAD) {
                pairs.prefetch(ahead);
            }
            // Those without a count are no candidates, and do not become any.
            if pairs.count(pair, slot) > 0 {
                ranked.push((rank(pairs, sides, side, slot, pair), pair));
            }
        }
        if ranked.len() > self.high() {
            self.keep_best(pairs, sides, list, ranked, former);
        } else {
            let live = ranked.len();
            put(pairs, sides, list, &ranked, true);
            set_candidates(sides, list, Candidates { live, ..Candidates::NONE });
        }
    }

    /// Makes the best 2k of more than that the candidates; `members` is a buffer.
    fn keep_best(
        &self,
        pairs: &mut Pairs,
        sides: &mut [Entities; 2],
        list: List,
        mut ranked: Vec<(Rank, u32)>,
        mut members: Vec<u32>,
    ) {
        let kept = 2 * self.k;
        ranked.select_nth_unstable_by(kept - 1, |a, b| b.0.cmp(&a.0));
        let bound = ranked[kept - 1].0;
        let (best, rest) = ranked.split_at(kept);
        put(pairs, sides, list, best, true);
        put(pairs, sides, list, rest, false);
        members.clear();
        members.extend(best.iter().map(|&(_, pair)| pair));
        set_candidates(sides, list, Candidates { bound, live: kept });
        *self::members(sides, list) = members;
    }

    /// Takes note that an entity has one pair more.
    pub(crate) fn grown(
        &mut self,
        pairs: &mut Pairs,
        sides: &mut [Entities; 2],
        side: Side,
        index: u32,
    ) {
        let entities = &sides[side as usize];
        if entities.has_tops(index) || entities.pair_count(index) <= self.high() {
            return;
        }
        let chain = entities.chain(pairs, side, index);
        for &pair in &chain {
            pairs.record_mut(pair).set_member(side, WHOLE, false);
            mark(pairs, sides, pair);
        }
        sides[side as usize].add_tops(index, chain);
        for slot in 0..self.slots {
            self.choose(pairs, sides, (side, index, slot));
            self.note_moved((side, index, slot));
        }
    }

    /// Forgets the candidates of a slot whose counts have been set to 0.
    pub(crate) fn clear(&mut self, entities: &mut Entities, side: Side, index: u32, slot: usize) {
        if let Some(tops) = entities.tops(index) {
            if entities.candidates(tops, slot).bound != Rank::LOWEST {
                self.note_moved((side, index, slot));
            }
            entities.set_candidates(tops, slot, Candidates::NONE);
            *entities.members_mut(tops, slot) = Vec::new();
        }
    }

    /// The final lists of a slot: of each entity of `side` among the pairs `sold`.
    pub(crate) fn finish(
        &self,
        pairs: &Pairs,
        sides: &[Entities; 2],
        side: Side,
        slot: usize,
        sold: &Chunks<u32>,
    ) -> FinalIndex {
        let mut rows: Vec<(u64, Rank)> = sold
            .iter()
            .map(|&pair| {
                let entity = sides[side as usize].id(pairs.side(pair, side));
                (entity, rank(pairs, sides, side, slot, pair))
            })
            .collect();
        rows.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        let mut index = FinalIndex::default();
        for group in rows.chunk_by(|a, b| a.0 == b.0) {
            let total = group.iter().fold(0_u64, |sum, (_, rank)| sum.wrapping_add(rank.count));
            let list: Vec<Entry> =
                group.iter().take(self.k).map(|(_, rank)| (rank.id, rank.count)).collect();
            index.push(group[0].0, total, &list);
        }
        index
    }

    /// Gives an entity, if it has more pairs than are all kept as candidates, its lists under the `bounds` of a
    /// snapshot; [`Self::restore`] fills them.
    pub(crate) fn restore_bounds(
        &self,
        entities: &mut Entities,
        index: u32,
        bounds: impl Fn(usize) -> Rank,
    ) {
        let pairs = entities.pair_count(index);
        if pairs <= self.high() {
            return;
        }
        entities.add_tops(index, Vec::with_capacity(pairs));
        let tops = entities.tops(index).expect("just added");
        for slot in 0..self.slots {
            entities.set_candidates(tops, slot, Candidates { bound: bounds(slot), live: 0 });
        }
    }

    /// Puts a pair of a snapshot into the lists of both its sides that it reaches. To be called for each pair, oldest
    /// first.
    pub(crate) fn restore(pairs: &mut Pairs, sides: &mut [Entities; 2], pair: u32) {
        let indexes = pairs.sides(pair);
        for side in Side::BOTH {
            let (own, others) = split(sides, side);
            let Some(tops) = own.tops(indexes[side as usize]) else { continue };
            own.restore_pair(tops, pair);
            pairs.record_mut(pair).set_member(side, WHOLE, false);
            let reaches = |slot, count| {
                let id = || others.id(indexes[side.other() as usize]);
                Rank::reaches(count, id, own.candidates(tops, slot).bound)
            };
            let (record, counts) = (pairs.record(pair), pairs.record_counts());
            for slot in bits(counts.reached(record, own.bounds(tops), u16::MAX, reaches)) {
                *own.live_mut(tops, slot) += 1;
                pairs.record_mut(pair).set_member(side, slot, true);
                if own.candidates(tops, slot).bound != Rank::LOWEST {
                    own.members_mut(tops, slot).push(pair);
                }
            }
        }
    }

    /// All lists that have a bound other than the lowest.
    pub(crate) fn bounded(sides: &[Entities; 2]) -> Vec<(List, Rank)> {
        let mut all = Vec::new();
        for side in Side::BOTH {
            let entities = &sides[side as usize];
            for index in 0..entities.len() as u32 {
                let Some(tops) = entities.tops(index) else { continue };
                for (slot, candidates) in entities.all_candidates(tops).iter().enumerate() {
                    if candidates.bound != Rank::LOWEST {
                        all.push(((side, index, slot), candidates.bound));
                    }
                }
            }
        }
        all
    }

    fn note_moved(&mut self, list: List) {
        self.moved.push(list);
        if self.moved.len() > self.many_moved {
            self.tidy_moved();
            self.many_moved = MANY_MOVED.max(2 * self.moved.len());
        }
    }

    /// Leaves each list only once.
    fn tidy_moved(&mut self) {
        self.moved.sort_unstable_by_key(|&(side, index, slot)| (side as usize, index, slot));
        self.moved.dedup();
    }

    /// Lists whose bound has moved since the last call, with the bounds they have now.
    pub(crate) fn take_moved(&mut self, sides: &[Entities; 2]) -> Vec<(List, Rank)> {
        self.tidy_moved();
        self.many_moved = MANY_MOVED;
        std::mem::take(&mut self.moved)
            .into_iter()
            .filter_map(|(side, index, slot)| {
                let entities = &sides[side as usize];
                let bound = entities.candidates(entities.tops(index)?, slot).bound;
                Some(((side, index, slot), bound))
            })
            .collect()
    }
}

/// The entities of `side`, and those of the other.
fn split([stores, items]: &mut [Entities; 2], side: Side) -> (&mut Entities, &Entities) {
    match side {
        Side::Store => (stores, items),
        Side::Item => (items, stores),
    }
}

const HAS_LISTS: &str = "only entities with candidates have lists to move";

#[inline]
fn candidates(sides: &[Entities; 2], (side, index, slot): List) -> Candidates {
    let entities = &sides[side as usize];
    *entities.candidates(entities.tops(index).expect(HAS_LISTS), slot)
}

#[inline]
fn live_mut(sides: &mut [Entities; 2], (side, index, slot): List) -> &mut usize {
    let entities = &mut sides[side as usize];
    let tops = entities.tops(index).expect(HAS_LISTS);
    entities.live_mut(tops, slot)
}

fn set_candidates(sides: &mut [Entities; 2], (side, index, slot): List, candidates: Candidates) {
    let entities = &mut sides[side as usize];
    let tops = entities.tops(index).expect(HAS_LISTS);
    entities.set_candidates(tops, slot, candidates);
}

#[inline]
fn members(sides: &mut [Entities; 2], (side, index, slot): List) -> &mut Vec<u32> {
    let entities = &mut sides[side as usize];
    let tops = entities.tops(index).expect(HAS_LISTS);
    entities.members_mut(tops, slot)
}

/// Puts pairs inside or outside the candidates of a list. What the view has is looked at again for those that
/// were not there before.
fn put(
    pairs: &mut Pairs,
    sides: &mut [Entities; 2],
    (side, _, slot): List,
    ranked: &[(Rank, u32)],
    inside: bool,
) {
    for &(_, pair) in ranked {
        let record = pairs.record_mut(pair);
        if record.is_member(side, slot) != inside {
            record.set_member(side, slot, inside);
            mark(pairs, sides, pair);
        }
    }
}

/// Notes that the view may have to change what it has of a pair, whose counts have not.
fn mark(pairs: &mut Pairs, sides: &mut [Entities; 2], pair: u32) {
    pairs.mark_dirty_view(pair);
    for (entities, index) in sides.iter_mut().zip(pairs.sides(pair)) {
        entities.touch(index);
    }
}

/// Leaves only those that are inside, each once.
fn tidy(pairs: &Pairs, members: &mut Vec<u32>, side: Side, slot: usize) {
    for &pair in &*members {
        pairs.prefetch(pair);
    }
    members.sort_unstable();
    members.dedup();
    members.retain(|&pair| pairs.record(pair).is_member(side, slot));
}

fn rank(pairs: &Pairs, sides: &[Entities; 2], side: Side, slot: usize, pair: u32) -> Rank {
    let other = side.other();
    let id = sides[other as usize].id(pairs.side(pair, other));
    Rank { count: pairs.count(pair, slot), id }
}
