//! A purchase and its parts.

use sha2::{Digest, Sha256};

use crate::{BusinessDate, CustomerId, ItemId, StoreId, Timestamp};

/// The most lines one purchase may have.
pub const MAX_LINES: usize = 1000;

/// One line of a purchase: some pieces of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// What was bought.
    pub item: ItemId,
    /// Pieces bought; 0 is allowed and counts nothing.
    pub quantity: u32,
}

/// One basket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    /// Where it was bought.
    pub store: StoreId,
    /// Who bought it.
    pub customer: CustomerId,
    /// The business day it belongs to.
    pub date: BusinessDate,
    /// When it happened.
    pub event_time: Timestamp,
    /// Counted once per key and partition, whatever else the purchases say.
    pub key: Option<IdempotencyKey>,
    /// What was bought: at most [`MAX_LINES`]; one item may occur several times.
    pub lines: Vec<Line>,
}

/// What makes a repeated purchase recognisable: 128 bits of the SHA-256 of the client's key.
///
/// A key is the client's own for one store: the same text sent for two stores names two purchases,
/// so the store is part of the digest. The digest has a fixed size whatever the client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey(pub [u8; 16]);

impl IdempotencyKey {
    /// The most bytes a client's key may have.
    pub const MAX_TEXT: usize = 256;

    /// Digests the text a client sent for `store`.
    pub fn digest(store: StoreId, text: &str) -> Self {
        let digest =
            Sha256::new().chain_update(store.0.to_le_bytes()).chain_update(text).finalize();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Self(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_belongs_to_its_store() {
        let key = IdempotencyKey::digest(StoreId(1), "till-4-0017");
        assert_eq!(key, IdempotencyKey::digest(StoreId(1), "till-4-0017"));
        assert_ne!(key, IdempotencyKey::digest(StoreId(2), "till-4-0017"));
        assert_ne!(key, IdempotencyKey::digest(StoreId(1), "till-4-0018"));
    }
}
