//! A partition whose purchases do not show yet is not run ahead of: the next batch waits for an
//! earlier one to show, and everything is taken in the end, once.

use std::sync::Arc;

use futures_util::{FutureExt, future::BoxFuture};
use ingest::{Downstream, IngestArgs};
use log::{Log, MemoryLog};
use model::{CustomerId, Offset, Partition, PartitionCount, Purchase, StoreId, Timestamp};
use telemetry::Metrics;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

const PURCHASES: u32 = 10;

/// Shows a batch for each permit; tells what is waited for.
#[derive(Debug)]
struct Slow {
    asked: mpsc::UnboundedSender<Offset>,
    shown: Arc<Semaphore>,
}

impl Downstream for Slow {
    fn reached(&self, _: Partition, next: Offset) -> BoxFuture<'static, ()> {
        self.asked.send(next).unwrap();
        let shown = Arc::clone(&self.shown);
        async move { shown.acquire().await.unwrap().forget() }.boxed()
    }
}

#[tokio::test]
async fn the_stream_does_not_run_ahead_of_what_shows() {
    let log = MemoryLog::new(PartitionCount::new(1).unwrap());
    let as_log: Arc<dyn Log> = log.clone();
    let (asked, mut waited_for) = mpsc::unbounded_channel();
    let shown = Arc::new(Semaphore::new(0));
    let slow: Arc<dyn Downstream> = Arc::new(Slow { asked, shown: Arc::clone(&shown) });
    let shutdown = CancellationToken::new();
    // Batches of one purchase, and no ticks.
    let args = IngestArgs {
        max_batch_purchases: 1,
        tick_interval: std::time::Duration::from_hours(1),
        ..IngestArgs::default()
    };
    let metrics = Metrics::new().unwrap();
    let handle = ingest::start(&args, &as_log, Some(&slow), &metrics.ingest, &shutdown);
    let submitted: Vec<_> = (0..PURCHASES)
        .map(|customer| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.submit(vec![purchase(customer)]).await })
        })
        .collect();

    // Two batches may be ahead; with the third, the next waits for the first to show, and so on.
    for first in 0..3 {
        assert_eq!(waited_for.recv().await, Some(Offset(first + 1)));
        assert_eq!(log.bounds(Partition(0)).next, Offset(first + 3));
        shown.add_permits(1);
    }
    shown.add_permits(PURCHASES as usize);
    for task in submitted {
        task.await.unwrap().unwrap();
    }
    assert_eq!(log.bounds(Partition(0)).next, Offset(u64::from(PURCHASES)));
    shutdown.cancel();
    handle.drained().await;
}

fn purchase(customer: u32) -> Purchase {
    Purchase {
        store: StoreId(1),
        customer: CustomerId(customer),
        date: Timestamp::default().date(),
        event_time: Timestamp::default(),
        key: None,
        lines: vec![],
    }
}
