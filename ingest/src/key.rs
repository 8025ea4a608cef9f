//! Idempotency keys as clients send them.

use model::{IdempotencyKey, StoreId};

use crate::status::Refusal;

/// The digest of `text`; `source` is where the client put it.
pub(crate) fn digest(
    store: StoreId,
    text: &str,
    source: &'static str,
) -> Result<IdempotencyKey, Refusal> {
    if text.is_empty() || text.len() > IdempotencyKey::MAX_TEXT {
        return Err(Refusal::Key(source));
    }
    Ok(IdempotencyKey::digest(store, text))
}
