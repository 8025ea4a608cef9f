//! Newtypes for ids and positions, so that one is never taken for another.

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$meta:meta])* $name:ident($inner:ty)) => {
        $(#[$meta])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A store of the chain; ids start at 0.
    StoreId(u32)
}
id! {
    /// A customer; ids start at 0.
    CustomerId(u32)
}
id! {
    /// An item; wide enough for a GTIN-14.
    ItemId(u64)
}
id! {
    /// Place of a batch in its partition, from 0, without gaps.
    ///
    /// A *next offset* is the first one not yet written (of a log) or not yet applied (of a view).
    Offset(u64)
}
id! {
    /// One run of one ingest process. Drawn at random at start; never reused.
    ProducerId(u64)
}
id! {
    /// Number of a purchase among those of one producer in one partition, from 0, without gaps.
    Sequence(u64)
}

impl Offset {
    /// The offset after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
