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
    flush::Row,
    pairs::{Pairs, Side},
    prefetch,
    rank::Rank,
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
}

impl Lists {
    pub(crate) fn new(k: usize, slots: usize) -> Self {
        Self { k, slots, short: Vec::new(), moved: Vec::new() }
    }

    /// The most candidates kept, and the most pairs an entity has without keeping any apart.
    fn high(&self) -> usize {
        4 * self.k
    }

    /// Puts a pair inside or outside the candidates of both its sides, after its counts in `slots` have
    /// changed; `before` is what one was before, given what it is now.
    #[inline]
    pub(crate) fn settle(
        &mut self,
        pairs: &mut Pairs,
        sides: &mut [Entities; 2],
        pair: u32,
        slots: &(impl Iterator<Item = usize> + Clone),
        before: impl Fn(u64) -> u64,
    ) {
        let indexes = pairs.sides(pair);
        for side in Side::BOTH {
            let (index, other) = (indexes[side as usize], side.other() as usize);
            let Some(tops) = sides[side as usize].tops(index) else { continue };
            for slot in slots.clone() {
                let record = pairs.record(pair);
                let count = pairs.record_counts().count(record, slot);
                let bound = sides[side as usize].candidates(tops, slot).bound;
                if bound == Rank::LOWEST {
                    if before(count) == 0 || count == 0 {
                        self.appear(pairs, sides, pair, (side, index, slot), count > 0);
                    }
                    continue;
                }
                let inside = Rank::reaches(count, || sides[other].id(indexes[other]), bound);
                if inside != record.is_member(side, slot) {
                    self.cross(pairs, sides, pair, (side, index, slot), inside);
                }
            }
        }
    }

    /// A pair has come into a list that all pairs are in, or has gone.
    fn appear(
        &mut self,
        pairs: &mut Pairs,
        sides: &mut [Entities; 2],
        pair: u32,
        list: List,
        there: bool,
    ) {
        let live = &mut candidates(sides, list).live;
        if there {
            pairs.record_mut(pair).set_in_view(list.0, true);
            *live += 1;
            if *live > self.high() {
                self.choose(pairs, sides, list);
                self.moved.push(list);
            }
        } else {
            *live -= 1;
        }
    }

    /// A pair has come to reach the bound, or no longer does.
    fn cross(
        &mut self,
        pairs: &mut Pairs,
        sides: &mut [Entities; 2],
        pair: u32,
        list: List,
        inside: bool,
    ) {
        let (side, _, slot) = list;
        pairs.record_mut(pair).set_member(side, slot, inside);
        let Candidates { live, .. } = candidates(sides, list);
        if inside {
            *live += 1;
            let too_many = *live > self.high();
            let members = members(sides, list);
            members.push(pair);
            if too_many {
                self.raise(pairs, sides, list);
            } else if members.len() > 2 * self.high() {
                tidy(pairs, members, side, slot);
            }
        } else {
            *live -= 1;
            if *live < self.k {
                self.short.push(list);
            }
        }
    }

    /// Keeps only the best of too many candidates.
    fn raise(&mut self, pairs: &mut Pairs, sides: &mut [Entities; 2], list: List) {
        let (side, _, slot) = list;
        let mut members = std::mem::take(members(sides, list));
        tidy(pairs, &mut members, side, slot);
        let ranked: Vec<(Rank, u32)> =
            members.iter().map(|&pair| (rank(pairs, sides, side, slot, pair), pair)).collect();
        for &pair in &members {
            pairs.record_mut(pair).set_member(side, slot, false);
            pairs.mark_dirty(pair);
        }
        self.keep_best(pairs, sides, list, ranked, members);
        self.moved.push(list);
    }

    /// Fills the lists again that have become short. Called when a purchase is done, and when time
    /// has moved, never in between.
    pub(crate) fn refill(&mut self, pairs: &mut Pairs, sides: &mut [Entities; 2]) {
        while let Some(list) = self.short.pop() {
            let Candidates { bound, live } = *candidates(sides, list);
            if live < self.k && bound != Rank::LOWEST {
                self.choose(pairs, sides, list);
                self.moved.push(list);
            }
        }
    }

    /// Chooses the candidates among all pairs of the entity.
    fn choose(&self, pairs: &mut Pairs, sides: &mut [Entities; 2], list: List) {
        let (side, index, slot) = list;
        let mut former = std::mem::take(members(sides, list));
        for &pair in &former {
            pairs.record_mut(pair).set_member(side, slot, false);
            pairs.mark_dirty(pair);
        }
        former.clear();
        let entities = &sides[side as usize];
        let all = entities.tops(index).map_or(&[][..], |tops| entities.pairs(tops));
        let mut ranked = Vec::new();
        for (place, &pair) in all.iter().enumerate() {
            if let Some(&ahead) = all.get(place + prefetch::AHEAD) {
                pairs.prefetch(ahead);
            }
            if pairs.count(pair, slot) > 0 {
                ranked.push((rank(pairs, sides, side, slot, pair), pair));
            }
        }
        for &(_, pair) in &ranked {
            pairs.mark_dirty(pair);
        }
        if ranked.len() > self.high() {
            self.keep_best(pairs, sides, list, ranked, former);
        } else {
            for &(_, pair) in &ranked {
                pairs.record_mut(pair).set_in_view(side, true);
            }
            *candidates(sides, list) = Candidates { live: ranked.len(), ..Candidates::NONE };
        }
    }

    /// Makes the best 2k of more than that the candidates; `members` is an empty buffer.
    fn keep_best(
        &self,
        pairs: &mut Pairs,
        sides: &mut [Entities; 2],
        list: List,
        mut ranked: Vec<(Rank, u32)>,
        mut members: Vec<u32>,
    ) {
        let (side, _, slot) = list;
        let kept = 2 * self.k;
        ranked.select_nth_unstable_by(kept - 1, |a, b| b.0.cmp(&a.0));
        members.clear();
        members.extend(ranked[..kept].iter().map(|&(_, pair)| pair));
        for &pair in &members {
            pairs.record_mut(pair).set_member(side, slot, true);
        }
        *candidates(sides, list) = Candidates { bound: ranked[kept - 1].0, live: kept };
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
        let entities = &mut sides[side as usize];
        if entities.has_tops(index) || entities.pair_count(index) <= self.high() {
            return;
        }
        let chain = entities.chain(pairs, side, index);
        entities.add_tops(index, chain);
        for slot in 0..self.slots {
            self.choose(pairs, sides, (side, index, slot));
            self.moved.push((side, index, slot));
        }
    }

    /// Forgets the candidates of a slot whose counts have been set to 0.
    pub(crate) fn clear(&mut self, entities: &mut Entities, side: Side, index: u32, slot: usize) {
        if let Some(tops) = entities.tops(index) {
            if entities.candidates(tops, slot).bound != Rank::LOWEST {
                self.moved.push((side, index, slot));
            }
            *entities.candidates_mut(tops, slot) = Candidates::NONE;
            *entities.members_mut(tops, slot) = Vec::new();
        }
    }

    /// The slots, as bits, whose bound is the lowest: all that sold are candidates, and none is a member.
    pub(crate) fn open(candidates: &[Candidates]) -> u16 {
        candidates.iter().enumerate().fold(0, |open, (slot, candidates)| {
            open | u16::from(candidates.bound == Rank::LOWEST) << slot
        })
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

    /// Gives an entity, that has the rows `all`, the candidates it has under the `bounds` of a snapshot.
    pub(crate) fn restore(
        &self,
        pairs: &mut Pairs,
        sides: &mut [Entities; 2],
        (side, index): (Side, u32),
        all: &[Row],
        bounds: impl Fn(usize) -> Rank,
    ) {
        if all.len() <= self.high() {
            return;
        }
        let all: Vec<u32> = all.iter().map(|&(_, pair)| pair).collect();
        let (own, others) = split(sides, side);
        let mut lists: Vec<(Candidates, Vec<u32>)> = (0..self.slots)
            .map(|slot| (Candidates { bound: bounds(slot), live: 0 }, Vec::new()))
            .collect();
        for (place, &pair) in all.iter().enumerate() {
            if let Some(&ahead) = all.get(place + prefetch::AHEAD) {
                pairs.prefetch(ahead);
            }
            for (slot, (candidates, members)) in lists.iter_mut().enumerate() {
                let id = || others.id(pairs.side(pair, side.other()));
                if !Rank::reaches(pairs.count(pair, slot), id, candidates.bound) {
                    continue;
                }
                candidates.live += 1;
                if candidates.bound != Rank::LOWEST {
                    members.push(pair);
                    pairs.record_mut(pair).set_member(side, slot, true);
                }
            }
        }
        own.add_tops(index, all);
        let tops = own.tops(index).expect("just added");
        for (slot, (candidates, members)) in lists.into_iter().enumerate() {
            *own.candidates_mut(tops, slot) = candidates;
            *own.members_mut(tops, slot) = members;
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

    /// Lists whose bound has moved since the last call, with the bounds they have now.
    pub(crate) fn take_moved(&mut self, sides: &[Entities; 2]) -> Vec<(List, Rank)> {
        let mut moved = std::mem::take(&mut self.moved);
        moved.sort_unstable_by_key(|&(side, index, slot)| (side as usize, index, slot));
        moved.dedup();
        moved
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
fn candidates(sides: &mut [Entities; 2], (side, index, slot): List) -> &mut Candidates {
    let entities = &mut sides[side as usize];
    let tops = entities.tops(index).expect(HAS_LISTS);
    entities.candidates_mut(tops, slot)
}

#[inline]
fn members(sides: &mut [Entities; 2], (side, index, slot): List) -> &mut Vec<u32> {
    let entities = &mut sides[side as usize];
    let tops = entities.tops(index).expect(HAS_LISTS);
    entities.members_mut(tops, slot)
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
