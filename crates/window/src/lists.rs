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
    entities::{Candidates, Entities},
    pairs::{Pairs, Side},
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

    /// Puts a pair inside or outside the candidates of both its sides, after its count has changed.
    #[inline]
    pub(crate) fn settle(
        &mut self,
        pairs: &mut Pairs,
        sides: &mut [Entities; 2],
        pair: u32,
        indexes: [u32; 2],
        slot: usize,
        count: u64,
    ) {
        for side in Side::BOTH {
            let index = indexes[side as usize];
            let Some(tops) = sides[side as usize].tops(index) else { continue };
            let other = side.other() as usize;
            let id = || sides[other].id(indexes[other]);
            let inside = Rank::reaches(count, id, tops[slot].bound);
            if inside != pairs.is_member(pair, side, slot) {
                self.cross(pairs, sides, pair, (side, index, slot), inside);
            }
        }
    }

    fn cross(
        &mut self,
        pairs: &mut Pairs,
        sides: &mut [Entities; 2],
        pair: u32,
        list: List,
        inside: bool,
    ) {
        let (side, index, slot) = list;
        pairs.set_member(pair, side, slot, inside);
        let candidates = candidates(sides, list);
        if inside {
            candidates.live += 1;
            candidates.members.push(pair);
            if candidates.live > self.high() {
                self.raise(pairs, sides, list);
            } else if candidates.members.len() > 2 * self.high() {
                tidy(pairs, &mut candidates.members, side, slot);
            }
        } else {
            candidates.live -= 1;
            if candidates.live < self.k && candidates.bound != Rank::LOWEST {
                self.short.push((side, index, slot));
            }
        }
    }

    /// Keeps only the best 2k of too many candidates.
    fn raise(&mut self, pairs: &mut Pairs, sides: &mut [Entities; 2], list: List) {
        let (side, index, slot) = list;
        let mut members = std::mem::take(&mut candidates(sides, list).members);
        tidy(pairs, &mut members, side, slot);
        let mut ranked: Vec<(Rank, u32)> =
            members.iter().map(|&pair| (rank(pairs, sides, side, slot, pair), pair)).collect();
        let kept = 2 * self.k;
        ranked.select_nth_unstable_by(kept - 1, |a, b| b.0.cmp(&a.0));
        for &(_, pair) in &ranked[kept..] {
            pairs.set_member(pair, side, slot, false);
            pairs.mark_dirty(pair);
        }
        members.clear();
        members.extend(ranked[..kept].iter().map(|&(_, pair)| pair));
        *candidates(sides, list) = Candidates { bound: ranked[kept - 1].0, live: kept, members };
        self.moved.push((side, index, slot));
    }

    /// Fills the lists again that have become short. Called when a purchase is done, and when time
    /// has moved, never in between.
    pub(crate) fn refill(&mut self, pairs: &mut Pairs, sides: &mut [Entities; 2]) {
        while let Some(list) = self.short.pop() {
            let candidates = candidates(sides, list);
            if candidates.live < self.k && candidates.bound != Rank::LOWEST {
                self.rescan(pairs, sides, list);
                self.moved.push(list);
            }
        }
    }

    /// Chooses the candidates among all pairs of the entity.
    fn rescan(&self, pairs: &mut Pairs, sides: &mut [Entities; 2], list: List) {
        let (side, index, slot) = list;
        let all = sides[side as usize].pairs(index);
        let mut ranked = Vec::new();
        for (place, &pair) in all.iter().enumerate() {
            if let Some(&ahead) = all.get(place + 16) {
                pairs.prefetch(ahead);
            }
            if pairs.count(pair, slot) > 0 {
                ranked.push((rank(pairs, sides, side, slot, pair), pair));
            }
        }
        let mut bound = Rank::LOWEST;
        if ranked.len() > self.high() {
            let kept = 2 * self.k;
            ranked.select_nth_unstable_by(kept - 1, |a, b| b.0.cmp(&a.0));
            ranked.truncate(kept);
            bound = ranked[kept - 1].0;
        }
        fill(pairs, sides, list, bound, ranked.into_iter().map(|(_, pair)| pair).collect());
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
        if entities.has_tops(index) || entities.pairs(index).len() <= self.high() {
            return;
        }
        for &pair in entities.pairs(index) {
            pairs.mark_dirty(pair);
        }
        entities.add_tops(index);
        for slot in 0..self.slots {
            self.rescan(pairs, sides, (side, index, slot));
            self.moved.push((side, index, slot));
        }
    }

    /// Forgets the candidates of a slot whose counts have been set to 0.
    pub(crate) fn clear(&mut self, entities: &mut Entities, side: Side, index: u32, slot: usize) {
        if let Some(tops) = entities.tops_mut(index) {
            let candidates = &mut tops[slot];
            if candidates.bound != Rank::LOWEST {
                self.moved.push((side, index, slot));
            }
            candidates.live = 0;
            candidates.members.clear();
            candidates.bound = Rank::LOWEST;
        }
    }

    /// The final lists of a slot: of each entity of `side` among the pairs `sold`.
    pub(crate) fn finish(
        &self,
        pairs: &Pairs,
        sides: &[Entities; 2],
        side: Side,
        slot: usize,
        sold: &[u32],
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

    /// Gives an entity the candidates it has under the `bounds` of a snapshot.
    pub(crate) fn restore(
        &self,
        pairs: &mut Pairs,
        sides: &mut [Entities; 2],
        side: Side,
        index: u32,
        bounds: impl Fn(usize) -> Rank,
    ) {
        if sides[side as usize].pairs(index).len() <= self.high() {
            return;
        }
        sides[side as usize].add_tops(index);
        for slot in 0..self.slots {
            let bound = bounds(slot);
            let all = sides[side as usize].pairs(index);
            let reaches = |&&pair: &&u32| rank(pairs, sides, side, slot, pair) >= bound;
            let members: Vec<u32> = all.iter().filter(reaches).copied().collect();
            fill(pairs, sides, (side, index, slot), bound, members);
        }
    }

    /// All lists that have a bound other than the lowest.
    pub(crate) fn bounded(sides: &[Entities; 2]) -> Vec<(List, Rank)> {
        let mut all = Vec::new();
        for side in Side::BOTH {
            for index in 0..sides[side as usize].len() as u32 {
                let tops = sides[side as usize].tops(index).unwrap_or_default();
                for (slot, candidates) in tops.iter().enumerate() {
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
                let tops = sides[side as usize].tops(index)?;
                Some(((side, index, slot), tops[slot].bound))
            })
            .collect()
    }
}

/// Makes `members` the candidates.
fn fill(pairs: &mut Pairs, sides: &mut [Entities; 2], list: List, bound: Rank, members: Vec<u32>) {
    let (side, _, slot) = list;
    for &pair in &members {
        pairs.set_member(pair, side, slot, true);
        pairs.mark_dirty(pair);
    }
    *candidates(sides, list) = Candidates { bound, live: members.len(), members };
}

fn candidates(sides: &mut [Entities; 2], (side, index, slot): List) -> &mut Candidates {
    let tops = sides[side as usize].tops_mut(index);
    &mut tops.expect("only entities with candidates have lists that cross")[slot]
}

/// Leaves only those that are inside, each once.
fn tidy(pairs: &Pairs, members: &mut Vec<u32>, side: Side, slot: usize) {
    for &pair in &*members {
        pairs.prefetch(pair);
    }
    members.sort_unstable();
    members.dedup();
    members.retain(|&pair| pairs.is_member(pair, side, slot));
}

fn rank(pairs: &Pairs, sides: &[Entities; 2], side: Side, slot: usize, pair: u32) -> Rank {
    let other = side.other();
    let id = sides[other as usize].id(pairs.side(pair, other));
    Rank { count: pairs.count(pair, slot), id }
}
