//! The stores, or the items, of a partition: totals, pairs, and the candidates of their lists.

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use model::Offset;

use crate::rank::Rank;

/// One store or one item.
#[derive(Debug)]
pub(crate) struct Entity {
    pub(crate) id: u64,
    /// Next offset after the last batch that changed it.
    pub(crate) stamp: Offset,
    /// All its pairs, in order of appearance.
    pub(crate) pairs: Vec<u32>,
    /// Its candidates, once it has more pairs than are kept as candidates; until then all are.
    pub(crate) tops: Option<Box<[Candidates]>>,
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

/// All stores, or all items; one is named by its place, in order of appearance.
#[derive(Debug)]
pub(crate) struct Entities {
    list: Vec<Entity>,
    totals: Vec<u64>,
    slots: usize,
    by_id: HashMap<u64, u32, RandomState>,
    /// How many are in a snapshot.
    saved: usize,
}

impl Entities {
    pub(crate) fn new(slots: usize) -> Self {
        Self { list: Vec::new(), totals: Vec::new(), slots, by_id: HashMap::default(), saved: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// The entity with this id, made if there is none.
    pub(crate) fn find_or_insert(&mut self, id: u64) -> u32 {
        if let Some(&index) = self.by_id.get(&id) {
            return index;
        }
        let index = u32::try_from(self.list.len()).expect("more entities than can be numbered");
        self.list.push(Entity { id, stamp: Offset::default(), pairs: Vec::new(), tops: None });
        self.totals.resize(self.totals.len() + self.slots, 0);
        self.by_id.insert(id, index);
        index
    }

    #[inline]
    pub(crate) fn id(&self, index: u32) -> u64 {
        self.list[index as usize].id
    }

    #[inline]
    pub(crate) fn get(&self, index: u32) -> &Entity {
        &self.list[index as usize]
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> &mut Entity {
        &mut self.list[index as usize]
    }

    #[inline]
    pub(crate) fn totals(&self, index: u32) -> &[u64] {
        &self.totals[index as usize * self.slots..][..self.slots]
    }

    #[inline]
    pub(crate) fn totals_mut(&mut self, index: u32) -> &mut [u64] {
        &mut self.totals[index as usize * self.slots..][..self.slots]
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Entity> {
        self.list.iter()
    }

    /// The first index not yet in a snapshot (0 if `full`), and the ids from there on; they count as
    /// saved from now on.
    pub(crate) fn save(&mut self, full: bool) -> (usize, impl ExactSizeIterator<Item = u64> + '_) {
        let from = if full { 0 } else { self.saved };
        self.saved = self.list.len();
        (from, self.list[from..].iter().map(|entity| entity.id))
    }

    /// Ends putting back what a snapshot says: all are as of the batch before `stamp`.
    pub(crate) fn restored(&mut self, stamp: Offset) {
        self.saved = self.list.len();
        for entity in &mut self.list {
            entity.stamp = stamp;
        }
    }

    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> usize {
        let each = size_of::<Entity>() + 8 * self.slots + 17;
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
