//! Ids as the columns hold them.

use model::{ItemId, StoreId};

/// `bigint` has a sign: the ids less 2^63 have the same order.
const SIGN: u64 = 1 << 63;

pub(super) fn of_item(item: ItemId) -> i64 {
    (item.0 ^ SIGN) as i64
}

pub(super) fn to_item(column: i64) -> ItemId {
    ItemId(column as u64 ^ SIGN)
}

pub(super) fn of_store(store: StoreId) -> i64 {
    store.0.into()
}

/// Only [`of_store`] has written to the column.
pub(super) fn to_store(column: i64) -> StoreId {
    StoreId(column as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_items_is_kept() {
        let ids = [0, 1, 123, (1 << 63) - 1, 1 << 63, u64::MAX].map(ItemId);
        assert!(ids.map(of_item).is_sorted());
        assert_eq!(ids.map(|id| to_item(of_item(id))), ids);
        assert_eq!(to_store(of_store(StoreId(u32::MAX))), StoreId(u32::MAX));
    }
}
