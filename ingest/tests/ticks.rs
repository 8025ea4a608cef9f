//! Idle partitions get empty batches, busy ones do not.

mod common;

use std::{sync::Arc, time::Duration};

use common::ScriptedLog;
use ingest::IngestArgs;
use log::Log;
use model::{BusinessDate, CustomerId, Partition, Purchase, StoreId, Timestamp};
use tokio_util::sync::CancellationToken;

fn purchase(store: u32) -> Purchase {
    Purchase {
        store: StoreId(store),
        customer: CustomerId(1),
        date: BusinessDate::from_days(0).unwrap(),
        event_time: Timestamp::now(),
        key: None,
        lines: Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn idle_partitions_get_ticks() {
    let log = ScriptedLog::new(2);
    let metrics = telemetry::Metrics::new().unwrap();
    let shutdown = CancellationToken::new();
    let args = IngestArgs { tick_interval: Duration::from_secs(1), ..IngestArgs::default() };
    let as_log: Arc<dyn Log> = Arc::<ScriptedLog>::clone(&log);
    let handle = ingest::start(&args, &as_log, None, &metrics.ingest, &shutdown);
    // Partition 0 has a purchase every 0.6 s, partition 1 has none.
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(600)).await;
        handle.submit(vec![purchase(0)]).await.unwrap();
    }
    assert_eq!(log.inner.bounds(Partition(0)).next.0, 10);
    assert!(log.batches(0).await.iter().all(|batch| !batch.is_tick()));
    let ticks = log.batches(1).await;
    assert!((5..=6).contains(&ticks.len()), "{}", ticks.len());
    assert!(ticks.iter().all(|tick| tick.is_tick() && tick.first_sequence.0 == 0));
    assert!(ticks.is_sorted_by_key(|tick| tick.append_time));

    // Now it is idle: ticks say the sequence of the next purchase, and use none up.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    handle.submit(vec![purchase(0)]).await.unwrap();
    let batches = log.batches(0).await;
    assert_eq!(batches.len(), 13);
    assert!(batches[10].is_tick() && batches[11].is_tick());
    assert_eq!((batches[10].first_sequence.0, batches[12].first_sequence.0), (10, 10));
    shutdown.cancel();
    handle.drained().await;
}
