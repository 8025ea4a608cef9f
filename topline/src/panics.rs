//! What a panic prints.

use std::{panic, path::Path};

/// Sets what panics print. The database panics over damaged files; what reads them catches that, and says which
/// file is damaged and what to do. So of such a panic a line in the log is enough. All others print what they
/// always do.
pub(crate) fn hook() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| match info.location() {
        Some(at) if is_of_the_database(at.file()) => {
            let message = info.payload_as_str().unwrap_or_default();
            tracing::warn!(%at, "the database cannot go on with a file: {message}");
        }
        _ => usual(info),
    }));
}

/// Whether a source file is one of the crate `redb`, in whatever directory crates are.
fn is_of_the_database(file: &str) -> bool {
    Path::new(file).components().any(|part| {
        let version = part.as_os_str().to_str().and_then(|name| name.strip_prefix("redb-"));
        version.is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_database_is_meant() {
        assert!(is_of_the_database("/crates/redb-4.6.0/src/tree_store/btree.rs"));
        assert!(is_of_the_database("vendor/redb-4.6.0/src/db.rs"));
        for other in ["stream-job/src/checkpoint/store.rs", "/redb-data/main.rs", "src/redb.rs"] {
            assert!(!is_of_the_database(other), "{other}");
        }
    }
}
