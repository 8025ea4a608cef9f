//! The first failure of the log: after it, ingest takes nothing more.

use std::sync::OnceLock;

use log::AppendError;
use tokio_util::sync::CancellationToken;

/// Set once, by the batcher that meets it first.
#[derive(Debug, Default)]
pub(crate) struct Failure {
    error: OnceLock<AppendError>,
    told: CancellationToken,
}

impl Failure {
    pub(crate) fn set(&self, error: AppendError) {
        // Later ones follow from the first, which is the one that tells.
        let _ = self.error.set(error);
    }

    /// Wakes those who wait for it.
    pub(crate) fn tell(&self) {
        self.told.cancel();
    }

    pub(crate) fn get(&self) -> Option<&AppendError> {
        self.error.get()
    }

    /// Resolves when a batcher has ended because of it.
    pub(crate) async fn told(&self) {
        self.told.cancelled().await;
    }
}
