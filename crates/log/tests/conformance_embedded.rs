//! The embedded log keeps the contract: as it is set by default, and with no tail in memory, so
//! that every read goes to the file.

use std::sync::{Arc, Mutex};

use log::{EmbeddedConfig, EmbeddedLog, Log, conformance::Backend};
use model::PartitionCount;
use tempfile::TempDir;

struct Embedded {
    directory: TempDir,
    tail_bytes: usize,
    open: Mutex<Option<Arc<EmbeddedLog>>>,
}

impl Embedded {
    fn new(tail_bytes: usize) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self { directory, tail_bytes, open: Mutex::new(None) }
    }
}

impl Backend for Embedded {
    async fn open(&self, partitions: PartitionCount) -> Arc<dyn Log> {
        let config = EmbeddedConfig {
            tail_bytes: self.tail_bytes,
            ..EmbeddedConfig::new(self.directory.path(), partitions)
        };
        let log = EmbeddedLog::open(config).expect("opened");
        *self.open.lock().expect("not poisoned") = Some(Arc::clone(&log));
        log
    }

    async fn close(&self) {
        let log = self.open.lock().expect("not poisoned").take().expect("open");
        log.shutdown().await.expect("shut down in order");
    }
}

mod with_a_tail {
    use super::Embedded;

    log::conformance!(Embedded::new(4 << 20));
    log::conformance_durable!(Embedded::new(4 << 20));
    log::conformance_trim!(Embedded::new(4 << 20));
    log::conformance_durable_trim!(Embedded::new(4 << 20));
}

mod from_the_file {
    use super::Embedded;

    log::conformance!(Embedded::new(0));
    log::conformance_durable!(Embedded::new(0));
    log::conformance_trim!(Embedded::new(0));
    log::conformance_durable_trim!(Embedded::new(0));
}
