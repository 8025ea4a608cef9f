//! Trimming the log behind the checkpoints.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use log::{Log, Retention};
use model::{Offset, Partition, Timestamp};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{JobError, RetentionConfig};

/// Trims all partitions now and then, never past their checkpoints, until shutdown. The last record that a
/// checkpoint has stays too: by it the next start recognises the stream.
pub(crate) async fn trim(
    log: Arc<dyn Log>,
    saved: Vec<(Partition, Arc<AtomicU64>)>,
    config: RetentionConfig,
    shutdown: CancellationToken,
) -> Result<(), JobError> {
    let mut ticks = interval(config.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        for (partition, saved) in &saved {
            let retention = Retention {
                not_past: Offset(saved.load(Ordering::Acquire).saturating_sub(1)),
                older_than: Some(Timestamp::now().minus(config.age)),
                max_bytes: config.max_bytes,
            };
            let before = log.bounds(*partition).earliest;
            let error = |error| JobError::Read { partition: *partition, error };
            let after = log.trim(*partition, retention).await.map_err(error)?.earliest;
            if after > before {
                tracing::info!(
                    partition = partition.0,
                    from = before.0,
                    to = after.0,
                    "log trimmed"
                );
            }
        }
    }
    Ok(())
}
