//! The three calls of the existing clients, over any design.
//!
//! | call | answer |
//! |---|---|
//! | `POST /purchase/{storeID}/customer/{custID}/date/{date}` | 201, empty |
//! | `GET /items/store/{storeID}` | 200, top 10 items of the store |
//! | `GET /items/top10/{itemID}` | 200, top 10 stores for the item |
//!
//! Errors are `{"message":"…"}`: 400 for a bad value, 404 for an id never sold and for an unknown path, 405,
//! 408, 413, 415, and 503 for what is not possible now.

mod parse;
mod routes;
mod status;

pub use parse::{ParseError, parse_lines};
pub use routes::routes;
pub use status::Refusal;

use model::{ItemId, Purchase, StoreId};

/// Entries of a list.
pub const TOP: usize = 10;

/// An entry of a top list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<Id> {
    /// What was sold, or where.
    pub id: Id,
    /// How many pieces.
    pub count: u64,
}

/// A way to record purchases and to answer the two questions.
pub trait Design: Send + Sync + 'static {
    /// Records a purchase. Resolves when it is as safe as the design promises it to be.
    fn record(&self, purchase: Purchase) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// The best [`TOP`] items of a store, best first, ties by smaller id; none if it has sold nothing.
    fn top_items(
        &self,
        store: StoreId,
    ) -> impl Future<Output = Result<Vec<Entry<ItemId>>, Refusal>> + Send;

    /// The best [`TOP`] stores for an item, in the same way.
    fn top_stores(
        &self,
        item: ItemId,
    ) -> impl Future<Output = Result<Vec<Entry<StoreId>>, Refusal>> + Send;
}
