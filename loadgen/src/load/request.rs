//! What is sent.

use std::{ops::Range, sync::Arc};

use model::{ItemId, StoreId};
use serde::{Deserialize, Serialize};

use crate::Basket;

/// A type of request: figures are kept for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `POST /purchase/…`: one purchase.
    Post,
    /// `POST /v1/purchases`: several.
    Bulk,
    /// `GET /items/store/…`.
    StoreItems,
    /// `GET /items/top10/…`.
    ItemStores,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Post, Self::Bulk, Self::StoreItems, Self::ItemStores];

    /// What people read.
    pub fn label(self) -> &'static str {
        match self {
            Self::Post => "POST purchase",
            Self::Bulk => "POST bulk",
            Self::StoreItems => "GET items by store",
            Self::ItemStores => "GET stores by item",
        }
    }

    /// Its name in a log of histograms, which must have neither blanks nor commas.
    pub fn tag(self) -> &'static str {
        match self {
            Self::Post => "post-purchase",
            Self::Bulk => "post-bulk",
            Self::StoreItems => "get-items-by-store",
            Self::ItemStores => "get-stores-by-item",
        }
    }

    /// Whether it sends purchases.
    pub fn is_post(self) -> bool {
        matches!(self, Self::Post | Self::Bulk)
    }
}

/// Some consecutive purchases of a recording.
#[derive(Debug, Clone)]
pub(crate) struct Excerpt {
    pub(crate) baskets: Arc<[Basket]>,
    pub(crate) range: Range<usize>,
}

impl Excerpt {
    pub(crate) fn baskets(&self) -> &[Basket] {
        &self.baskets[self.range.clone()]
    }
}

/// A request to send.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    /// A purchase, by the call of the existing clients.
    Post(Basket),
    /// Purchases, by the bulk call.
    Bulk(Excerpt),
    /// The top items of a store.
    StoreItems(StoreId),
    /// The top stores for an item.
    ItemStores(ItemId),
}

impl Request {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Post(_) => Kind::Post,
            Self::Bulk(_) => Kind::Bulk,
            Self::StoreItems(_) => Kind::StoreItems,
            Self::ItemStores(_) => Kind::ItemStores,
        }
    }
}
