//! One of the two indexes: all stores, or all items.

use dashmap::DashMap;
use foldhash::fast::RandomState;
use window::{Entity, FinalDay, FinalIndex};

use crate::{cell::Cell, chain::Chain, shape::Shape};

/// The cells of all entities of an index. An entity, once known, keeps its cell; one without
/// parts is not known any more.
pub(crate) type Cells = DashMap<u64, Cell, RandomState>;

/// Many more than threads, for a reader that ranks a long list holds its shard meanwhile.
const SHARDS: usize = 256;

/// Which index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum IndexKind {
    /// By store; the lists rank items.
    Stores,
    /// By item; the lists rank stores.
    Items,
}

impl IndexKind {
    /// The index of an entity, and its id there.
    pub(crate) fn place(entity: Entity) -> (Self, u64) {
        match entity {
            Entity::Store(store) => (Self::Stores, u64::from(store.0)),
            Entity::Item(item) => (Self::Items, item.0),
        }
    }

    /// The lists of this index in a closed day.
    pub(crate) fn of(self, day: &FinalDay) -> &FinalIndex {
        match self {
            Self::Stores => &day.stores,
            Self::Items => &day.items,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) cells: Cells,
    pub(crate) chain: Chain,
}

impl Index {
    pub(crate) fn new(kind: IndexKind, shape: &Shape) -> Self {
        Self {
            cells: DashMap::with_capacity_and_hasher_and_shard_amount(
                0,
                RandomState::default(),
                SHARDS,
            ),
            chain: Chain::new(kind, shape),
        }
    }
}
