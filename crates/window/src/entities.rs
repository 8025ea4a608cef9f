//! The stores, or the items, of a partition: totals, pairs, and the candidates of their lists.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use crate::{
    bit_set::BitSet,
    index::Index,
    pairs::{Pairs, Side},
    prefetch,
    rank::Rank,
    records::{self, LANES, Lanes},
    slots::SlotSet,
};

/// The candidates for one list: exactly the pairs that reach its bound.
///
/// So entering and leaving need one comparison, and what is outside needs no look: it is known to
/// rank below. `live` is kept between k and 4k by moving the bound, unless all pairs are inside.
/// A pair that enters or leaves looks at both fields: they share a line of the cache.
#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
pub(crate) struct Candidates {
    /// The worst rank that is inside.
    pub(crate) bound: Rank,
    /// How many are inside.
    pub(crate) live: usize,
}

impl Candidates {
    /// All pairs with a count are inside, and there are none yet.
    pub(crate) const NONE: Self = Self { bound: Rank::LOWEST, live: 0 };
}

/// Which of the entities with candidates one is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tops(u32);

/// A line of the cache.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Line(pub(crate) [u64; Self::WORDS]);

impl Line {
    pub(crate) const WORDS: usize = 8;
}

/// Set in the first word of a row if the entity has [`Tops`].
const HAS_TOPS: u64 = 1 << 63;

/// All stores, or all items; one is named by its place, in order of appearance.
///
/// What every line of a purchase touches is one row of words, with lines of the cache of its own: first
/// the flag, the number of pairs (from bit 32) and the newest pair plus one; then the totals, by slot.
/// The pairs of an entity are a chain from the newest to the oldest, until there are more than are all
/// kept as candidates. From then on it has [`Tops`], whose number takes the place of the newest pair.
#[derive(Debug)]
pub(crate) struct Entities {
    ids: Vec<u64>,
    rows: Vec<Line>,
    lines_per_row: usize,
    slots: usize,
    index: Index,
    hasher: RandomState,
    /// Which have changed since the last flush.
    touched: BitSet,
    /// Of those with [`Tops`], by number and slot.
    candidates: Vec<Candidates>,
    /// Their bounds, by number, for a comparison with all counts of a pair at once (see
    /// [`records::narrow_bound`]).
    bounds: Vec<Lanes>,
    /// The pairs inside, while the bound is not the lowest; by number and slot. Those that left stay until
    /// the next clean-up, and one that came back is here twice; the flag of the pair tells.
    members: Vec<Vec<u32>>,
    /// All pairs of the entity, in order of appearance; by number.
    pairs: Vec<Vec<u32>>,
    /// How many are in a snapshot.
    saved: usize,
}

/// Appends, growing by a quarter: of the memory for the pairs of all entities, doubling would leave up to half
/// unused.
fn push_lean(pairs: &mut Vec<u32>, pair: u32) {
    if pairs.len() == pairs.capacity() {
        pairs.reserve_exact(pairs.len() / 4 + 4);
    }
    pairs.push(pair);
}

impl Entities {
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            ids: Vec::new(),
            rows: Vec::new(),
            lines_per_row: (1 + slots).div_ceil(Line::WORDS),
            slots,
            index: Index::new(),
            hasher: RandomState::default(),
            touched: BitSet::default(),
            candidates: Vec::new(),
            bounds: Vec::new(),
            members: Vec::new(),
            pairs: Vec::new(),
            saved: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Starts to bring the place of an id in the index into the cache.
    #[inline]
    pub(crate) fn prefetch_index(&self, id: u64) {
        self.index.prefetch(self.hasher.hash_one(id));
    }

    /// An entity that very likely is the one with this id.
    #[inline]
    pub(crate) fn guess(&self, id: u64) -> Option<u32> {
        self.index.find(self.hasher.hash_one(id), |_| true)
    }

    /// The entity with this id, made if there is none.
    pub(crate) fn find_or_insert(&mut self, id: u64) -> u32 {
        let hash = self.hasher.hash_one(id);
        if let Some(index) = self.index.find(hash, |index| self.id(index) == id) {
            return index;
        }
        assert!(self.len() < u32::MAX as usize, "more entities than can be numbered");
        let index = self.len() as u32;
        self.ids.push(id);
        self.rows.resize(self.rows.len() + self.lines_per_row, Line([0; Line::WORDS]));
        self.touched.grow(self.len());
        self.index.insert(hash, index);
        index
    }

    #[inline]
    pub(crate) fn id(&self, index: u32) -> u64 {
        self.ids[index as usize]
    }

    /// The first word of its row.
    #[inline]
    fn head(&self, index: u32) -> u64 {
        self.rows[index as usize * self.lines_per_row].0[0]
    }

    #[inline]
    fn head_mut(&mut self, index: u32) -> &mut u64 {
        &mut self.rows[index as usize * self.lines_per_row].0[0]
    }

    /// Starts to bring what every line touches into the cache.
    #[inline]
    pub(crate) fn prefetch(&self, index: u32) {
        self.prefetch_totals(index);
        self.prefetch_id(index);
    }

    /// Starts to bring its totals into the cache.
    #[inline]
    pub(crate) fn prefetch_totals(&self, index: u32) {
        prefetch::read(&self.rows, index as usize * self.lines_per_row);
    }

    /// Starts to bring its id into the cache.
    #[inline]
    pub(crate) fn prefetch_id(&self, index: u32) {
        prefetch::read(&self.ids, index as usize);
    }

    /// Its totals, by slot; `buffer` is for its own use.
    #[inline]
    pub(crate) fn totals<'a>(&self, index: u32, buffer: &'a mut Vec<u64>) -> &'a [u64] {
        buffer.clear();
        for line in &self.rows[index as usize * self.lines_per_row..][..self.lines_per_row] {
            buffer.extend_from_slice(&line.0);
        }
        &buffer[1..=self.slots]
    }

    /// Notes that it has changed.
    #[inline]
    pub(crate) fn touch(&mut self, index: u32) {
        self.touched.insert(index);
    }

    /// Appends those that have changed since the last call, ascending.
    pub(crate) fn take_touched(&mut self, out: &mut Vec<u32>) {
        self.touched.take(|index| out.push(index));
    }

    /// Adds to its totals in `slots`.
    #[inline]
    pub(crate) fn add(&mut self, index: u32, slots: &SlotSet, quantity: u64) {
        let row = &mut self.rows[index as usize * self.lines_per_row..][..self.lines_per_row];
        for (totals, masks) in row.iter_mut().zip(&slots.words) {
            for (total, mask) in totals.0.iter_mut().zip(masks.0) {
                *total = total.wrapping_add(quantity & mask);
            }
        }
        self.touch(index);
    }

    /// Adds to its totals in all slots, without noting that it has changed.
    #[inline]
    pub(crate) fn add_counts(&mut self, index: u32, counts: &[u64]) {
        let row = &mut self.rows[index as usize * self.lines_per_row..][..self.lines_per_row];
        let add = |totals: &mut [u64], counts: &[u64]| {
            for (total, count) in totals.iter_mut().zip(counts) {
                *total = total.wrapping_add(*count);
            }
        };
        let (first, more) = row.split_first_mut().expect("a row has a line");
        // The first word is no total.
        let (begin, rest) = counts.split_at(counts.len().min(Line::WORDS - 1));
        add(&mut first.0[1..], begin);
        for (line, counts) in more.iter_mut().zip(rest.chunks(Line::WORDS)) {
            add(&mut line.0, counts);
        }
    }

    /// Takes from its total in a slot what was added before.
    #[inline]
    pub(crate) fn subtract(&mut self, index: u32, slot: usize, quantity: u64) {
        let total = self.total_mut(index, slot);
        *total = total.wrapping_sub(quantity);
        self.touch(index);
    }

    #[inline]
    pub(crate) fn total_mut(&mut self, index: u32, slot: usize) -> &mut u64 {
        let place = 1 + slot;
        let line = index as usize * self.lines_per_row + place / Line::WORDS;
        &mut self.rows[line].0[place % Line::WORDS]
    }

    /// How many pairs it has.
    #[inline]
    pub(crate) fn pair_count(&self, index: u32) -> usize {
        ((self.head(index) & !HAS_TOPS) >> 32) as usize
    }

    /// Adds its newest pair; gives the one before, to go on with in the chain.
    pub(crate) fn add_pair(&mut self, index: u32, pair: u32) -> Option<u32> {
        let tops = self.tops(index);
        let head = self.head_mut(index);
        // The number of pairs is in the upper half, and so is the flag, which stays as it is.
        let more = *head + (1 << 32);
        if let Some(tops) = tops {
            *head = more;
            push_lean(&mut self.pairs[tops.0 as usize], pair);
            None
        } else {
            *head = more >> 32 << 32 | (u64::from(pair) + 1);
            (more as u32).checked_sub(1)
        }
    }

    #[inline]
    pub(crate) fn has_tops(&self, index: u32) -> bool {
        self.head(index) & HAS_TOPS != 0
    }

    /// Where its candidates are; `None` while all its pairs are candidates.
    #[inline]
    pub(crate) fn tops(&self, index: u32) -> Option<Tops> {
        let head = self.head(index);
        (head & HAS_TOPS != 0).then_some(Tops(head as u32))
    }

    /// Gives it candidates, none in any slot yet. `pairs` are all it has.
    pub(crate) fn add_tops(&mut self, index: u32, pairs: Vec<u32>) {
        let number = self.pairs.len() as u64;
        self.pairs.push(pairs);
        self.candidates.resize(self.candidates.len() + self.slots, Candidates::NONE);
        self.bounds.push([0; LANES]);
        self.members.resize(self.members.len() + self.slots, Vec::new());
        let head = self.head_mut(index);
        *head = HAS_TOPS | *head >> 32 << 32 | number;
    }

    /// Appends to its pairs, which are counted already, the next one of a snapshot.
    pub(crate) fn restore_pair(&mut self, tops: Tops, pair: u32) {
        self.pairs[tops.0 as usize].push(pair);
    }

    #[inline]
    fn place(&self, tops: Tops, slot: usize) -> usize {
        tops.0 as usize * self.slots + slot
    }

    #[inline]
    pub(crate) fn candidates(&self, tops: Tops, slot: usize) -> &Candidates {
        &self.candidates[self.place(tops, slot)]
    }

    #[inline]
    pub(crate) fn live_mut(&mut self, tops: Tops, slot: usize) -> &mut usize {
        let place = self.place(tops, slot);
        &mut self.candidates[place].live
    }

    pub(crate) fn set_candidates(&mut self, tops: Tops, slot: usize, candidates: Candidates) {
        let place = self.place(tops, slot);
        self.candidates[place] = candidates;
        // A state with more slots than lanes has its counts aside, and does not look here.
        if let Some(bound) = self.bounds[tops.0 as usize].get_mut(slot) {
            *bound = records::narrow_bound(candidates.bound);
        }
    }

    /// The bounds by slot, as [`records::narrow_bound`] gives them.
    #[inline]
    pub(crate) fn bounds(&self, tops: Tops) -> &Lanes {
        &self.bounds[tops.0 as usize]
    }

    /// The candidates by slot.
    #[inline]
    pub(crate) fn all_candidates(&self, tops: Tops) -> &[Candidates] {
        &self.candidates[self.place(tops, 0)..][..self.slots]
    }

    /// The pairs inside, while the bound is not the lowest.
    pub(crate) fn members_mut(&mut self, tops: Tops, slot: usize) -> &mut Vec<u32> {
        let place = self.place(tops, slot);
        &mut self.members[place]
    }

    /// All its pairs, in order of appearance.
    pub(crate) fn pairs(&self, tops: Tops) -> &[u32] {
        &self.pairs[tops.0 as usize]
    }

    /// The pairs of an entity without [`Tops`], oldest first.
    pub(crate) fn chain(&self, pairs: &Pairs, side: Side, index: u32) -> Vec<u32> {
        let mut chain = Vec::with_capacity(self.pair_count(index));
        let mut next = (self.head(index) as u32).checked_sub(1);
        while let Some(pair) = next {
            chain.push(pair);
            next = pairs.chained(pair, side);
        }
        chain.reverse();
        chain
    }

    /// The first index not yet in a snapshot (0 if `full`), and the ids from there on; they count as
    /// saved from now on.
    pub(crate) fn save(&mut self, full: bool) -> (usize, impl ExactSizeIterator<Item = u64> + '_) {
        let from = if full { 0 } else { self.saved };
        self.saved = self.len();
        (from, self.ids[from..].iter().copied())
    }

    /// Ends putting back what a snapshot says.
    pub(crate) fn restored(&mut self) {
        self.saved = self.len();
    }

    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> usize {
        let each = 8 + size_of::<Line>() * self.lines_per_row;
        let lists = (size_of::<Candidates>() + size_of::<Vec<u32>>()) * self.candidates.len()
            + size_of::<Lanes>() * self.bounds.len();
        let pairs: usize =
            self.members.iter().chain(&self.pairs).map(|pairs| 4 * pairs.capacity()).sum();
        each * self.len() + self.index.bytes() + lists + pairs
    }
}
