//! The stores, or the items, of a partition: totals, pairs, and the candidates of their lists.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::{
    pairs::{Pairs, Side},
    prefetch,
    rank::Rank,
    records::MAX_SLOTS,
};

/// What an entity has once it has more pairs than are all kept as candidates.
#[derive(Debug)]
pub(crate) struct Tops {
    /// The worst rank that is inside, by slot.
    pub(crate) bounds: [Rank; MAX_SLOTS],
    /// The rest of each list, by slot.
    pub(crate) candidates: Box<[Candidates]>,
    /// All pairs of the entity, in order of appearance.
    pub(crate) pairs: Vec<u32>,
}

/// The candidates for one list: exactly the pairs that reach its bound.
///
/// So entering and leaving need one comparison, and what is outside needs no look: it is known to
/// rank below. `live` is kept between k and 4k by moving the bound, unless all pairs are inside.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    /// How many are inside.
    pub(crate) live: usize,
    /// The pairs inside, while the bound is not the lowest. Those that left stay until the next
    /// clean-up, and one that came back is here twice; the flag of the pair tells.
    pub(crate) members: Vec<u32>,
}

/// Words in a line of the cache.
const LINE: usize = 8;

#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line([u64; LINE]);

/// Set in the first word of a row if the entity has [`Tops`].
const HAS_TOPS: u64 = 1 << 63;

/// All stores, or all items; one is named by its place, in order of appearance.
///
/// What every line of a purchase touches is one row of words, with lines of the cache of its own: first
/// the flag, the number of pairs (from bit 32) and the newest pair plus one; then the totals, by slot.
/// The pairs of an entity without [`Tops`] are a chain from the newest to the oldest.
#[derive(Debug)]
pub(crate) struct Entities {
    ids: Vec<u64>,
    rows: Vec<Line>,
    lines_per_row: usize,
    slots: usize,
    tops: Vec<Option<Box<Tops>>>,
    by_id: HashMap<u64, u32, RandomState>,
    /// How many are in a snapshot.
    saved: usize,
}

/// Appends, growing by a quarter: of the memory for the pairs of all entities, doubling would leave up to half
/// unused.
pub(crate) fn push_lean(pairs: &mut Vec<u32>, pair: u32) {
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
            lines_per_row: (1 + slots).div_ceil(LINE),
            slots,
            tops: Vec::new(),
            by_id: HashMap::default(),
            saved: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The entity with this id.
    #[inline]
    pub(crate) fn find(&self, id: u64) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    /// The entity with this id, made if there is none.
    pub(crate) fn find_or_insert(&mut self, id: u64) -> u32 {
        if let Some(&index) = self.by_id.get(&id) {
            return index;
        }
        let index = u32::try_from(self.len()).expect("more entities than can be numbered");
        self.ids.push(id);
        self.tops.push(None);
        self.rows.resize(self.rows.len() + self.lines_per_row, Line([0; LINE]));
        self.by_id.insert(id, index);
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
        prefetch::read(&self.rows, index as usize * self.lines_per_row);
    }

    /// Starts to bring its id into the cache.
    #[inline]
    pub(crate) fn prefetch_id(&self, index: u32) {
        prefetch::read(&self.ids, index as usize);
    }

    /// Its totals, by slot.
    pub(crate) fn totals(&self, index: u32) -> impl Iterator<Item = u64> + '_ {
        let row = &self.rows[index as usize * self.lines_per_row..][..self.lines_per_row];
        row.iter().flat_map(|line| line.0).skip(1).take(self.slots)
    }

    #[inline]
    pub(crate) fn total_mut(&mut self, index: u32, slot: usize) -> &mut u64 {
        let place = 1 + slot;
        let line = index as usize * self.lines_per_row + place / LINE;
        &mut self.rows[line].0[place % LINE]
    }

    /// How many pairs it has.
    #[inline]
    pub(crate) fn pair_count(&self, index: u32) -> usize {
        ((self.head(index) & !HAS_TOPS) >> 32) as usize
    }

    /// The newest of its pairs, where its chain begins.
    pub(crate) fn newest_pair(&self, index: u32) -> Option<u32> {
        (self.head(index) as u32).checked_sub(1)
    }

    /// Adds its newest pair; gives the one before, to go on with in the chain.
    pub(crate) fn add_pair(&mut self, index: u32, pair: u32) -> Option<u32> {
        let before = self.newest_pair(index);
        let head = self.head_mut(index);
        // The count is in the upper half, and so is the flag, which stays as it is.
        *head = ((*head >> 32) + 1) << 32 | (u64::from(pair) + 1);
        if let Some(tops) = self.tops_mut(index) {
            push_lean(&mut tops.pairs, pair);
        }
        before
    }

    #[inline]
    pub(crate) fn has_tops(&self, index: u32) -> bool {
        self.head(index) & HAS_TOPS != 0
    }

    /// Its candidates; `None` while all its pairs are.
    #[inline]
    pub(crate) fn tops(&self, index: u32) -> Option<&Tops> {
        if self.has_tops(index) { self.tops[index as usize].as_deref() } else { None }
    }

    #[inline]
    pub(crate) fn tops_mut(&mut self, index: u32) -> Option<&mut Tops> {
        if self.has_tops(index) { self.tops[index as usize].as_deref_mut() } else { None }
    }

    /// Gives it candidates, none in any slot yet.
    pub(crate) fn add_tops(&mut self, index: u32, pairs: Vec<u32>) {
        let tops = Tops {
            bounds: [Rank::LOWEST; MAX_SLOTS],
            candidates: (0..self.slots).map(|_| Candidates::default()).collect(),
            pairs,
        };
        self.tops[index as usize] = Some(Box::new(tops));
        *self.head_mut(index) |= HAS_TOPS;
    }

    /// The pairs of a chain, oldest first.
    pub(crate) fn chain(&self, pairs: &Pairs, side: Side, index: u32) -> Vec<u32> {
        let mut chain = Vec::with_capacity(self.pair_count(index));
        let mut next = self.newest_pair(index);
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
        let each = 8 + size_of::<Line>() * self.lines_per_row + 8 + 17;
        let tops: usize = (self.tops.iter().flatten())
            .map(|tops| {
                let members: usize =
                    tops.candidates.iter().map(|list| 4 * list.members.capacity()).sum();
                size_of::<Tops>()
                    + size_of::<Candidates>() * self.slots
                    + 4 * tops.pairs.capacity()
                    + members
            })
            .sum();
        each * self.len() + tops
    }
}
