//! The memory log keeps the contract.

use std::sync::Arc;

use log::{Log, MemoryLog, conformance::Backend};
use model::PartitionCount;

struct Memory;

impl Backend for Memory {
    async fn open(&self, partitions: PartitionCount) -> Arc<dyn Log> {
        MemoryLog::new(partitions)
    }

    async fn close(&self) {}
}

log::conformance!(Memory);
log::conformance_trim!(Memory);
