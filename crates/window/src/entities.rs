//! The stores, or the items, of a partition: totals, pairs, and the candidates of their lists.

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use model::Offset;

use crate::{prefetch, rank::Rank};

/// What is seldom looked at of a store or an item.
#[derive(Debug, Default)]
pub(crate) struct Entity {
    /// All its pairs, in order of appearance.
    pub(crate) pairs: Vec<u32>,
    /// Its candidates, once it has more pairs than are kept as candidates; until then all are.
    tops: Option<Box<[Candidates]>>,
}

/// The candidates for one list: exactly the pairs that beat the bound.
///
/// So entering and leaving need one comparison, and what is outside needs no look: it is known to
/// rank below. `live` is kept between k and 4k by moving the bound, unless all pairs are inside.
#[derive(Debug)]
pub(crate) struct Candidates {
    pub(crate) bound: Rank,
    pub(crate) live: usize,
    /// The pairs inside. Those that left stay until the next clean-up, and one that came back is here
    /// twice; the flag of the pair tells.
    pub(crate) members: Vec<u32>,
}

impl Default for Candidates {
    fn default() -> Self {
        Self { bound: Rank::LOWEST, live: 0, members: Vec::new() }
    }
}

/// Set in the first word of a row if the entity has candidates of its own.
const HAS_TOPS: u64 = 1 << 63;

/// All stores, or all items; one is named by its place, in order of appearance.
///
/// What every line touches is one run of words: the stamp, then the totals by slot.
#[derive(Debug)]
pub(crate) struct Entities {
    ids: Vec<u64>,
    rows: Vec<u64>,
    slots: usize,
    list: Vec<Entity>,
    by_id: HashMap<u64, u32, RandomState>,
    /// How many are in a snapshot.
    saved: usize,
}

impl Entities {
    pub(crate) fn new(slots: usize) -> Self {
        let (ids, rows, list) = (Vec::new(), Vec::new(), Vec::new());
        Self { ids, rows, slots, list, by_id: HashMap::default(), saved: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The entity with this id, made if there is none.
    pub(crate) fn find_or_insert(&mut self, id: u64) -> u32 {
        if let Some(&index) = self.by_id.get(&id) {
            return index;
        }
        let index = u32::try_from(self.len()).expect("more entities than can be numbered");
        self.ids.push(id);
        self.list.push(Entity::default());
        self.rows.resize(self.rows.len() + 1 + self.slots, 0);
        self.by_id.insert(id, index);
        index
    }

    #[inline]
    pub(crate) fn id(&self, index: u32) -> u64 {
        self.ids[index as usize]
    }

    #[inline]
    fn row(&self, index: u32) -> usize {
        index as usize * (1 + self.slots)
    }

    /// Starts to bring what every line touches into the cache.
    #[inline]
    pub(crate) fn prefetch(&self, index: u32) {
        prefetch::read(&self.rows, self.row(index));
        prefetch::read(&self.rows, self.row(index) + self.slots);
    }

    /// Next offset after the last batch that changed it.
    pub(crate) fn stamp(&self, index: u32) -> Offset {
        Offset(self.rows[self.row(index)] & !HAS_TOPS)
    }

    #[inline]
    pub(crate) fn set_stamp(&mut self, index: u32, stamp: Offset) {
        let row = self.row(index);
        self.rows[row] = self.rows[row] & HAS_TOPS | stamp.0;
    }

    #[inline]
    pub(crate) fn totals(&self, index: u32) -> &[u64] {
        &self.rows[self.row(index) + 1..][..self.slots]
    }

    #[inline]
    pub(crate) fn totals_mut(&mut self, index: u32) -> &mut [u64] {
        let row = self.row(index);
        &mut self.rows[row + 1..][..self.slots]
    }

    #[inline]
    pub(crate) fn pairs(&self, index: u32) -> &[u32] {
        &self.list[index as usize].pairs
    }

    #[inline]
    pub(crate) fn pairs_mut(&mut self, index: u32) -> &mut Vec<u32> {
        &mut self.list[index as usize].pairs
    }

    #[inline]
    pub(crate) fn has_tops(&self, index: u32) -> bool {
        self.rows[self.row(index)] & HAS_TOPS != 0
    }

    /// Its candidates, by slot; `None` while all its pairs are.
    #[inline]
    pub(crate) fn tops(&self, index: u32) -> Option<&[Candidates]> {
        if self.has_tops(index) { self.list[index as usize].tops.as_deref() } else { None }
    }

    #[inline]
    pub(crate) fn tops_mut(&mut self, index: u32) -> Option<&mut [Candidates]> {
        self.list[index as usize].tops.as_deref_mut()
    }

    /// Gives it candidates, none in any slot yet.
    pub(crate) fn add_tops(&mut self, index: u32) {
        let tops = (0..self.slots).map(|_| Candidates::default()).collect();
        self.list[index as usize].tops = Some(tops);
        let row = self.row(index);
        self.rows[row] |= HAS_TOPS;
    }

    /// The first index not yet in a snapshot (0 if `full`), and the ids from there on; they count as
    /// saved from now on.
    pub(crate) fn save(&mut self, full: bool) -> (usize, impl ExactSizeIterator<Item = u64> + '_) {
        let from = if full { 0 } else { self.saved };
        self.saved = self.len();
        (from, self.ids[from..].iter().copied())
    }

    /// Ends putting back what a snapshot says: all are as of the batch before `stamp`.
    pub(crate) fn restored(&mut self, stamp: Offset) {
        self.saved = self.len();
        for index in 0..self.len() as u32 {
            self.set_stamp(index, stamp);
        }
    }

    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> usize {
        let each = size_of::<Entity>() + 8 * (2 + self.slots) + 17;
        let inside: usize = self
            .list
            .iter()
            .map(|entity| {
                let tops = entity.tops.iter().flatten();
                let tops: usize =
                    tops.map(|top| size_of::<Candidates>() + 4 * top.members.capacity()).sum();
                4 * entity.pairs.capacity() + tops
            })
            .sum();
        each * self.list.len() + inside
    }
}
