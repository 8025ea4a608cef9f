//! Cost of a hot GET from the parsed request to the response, without sockets:
//! `cargo bench -p topline-query-api`.

use std::{hint::black_box, sync::Arc};

use bytes::Bytes;
use divan::Bencher;
use http_body_util::Empty;
use hyper::{Request, StatusCode};
use model::{ItemId, Offset, Partition, PartitionCount, StoreId, Timestamp};
use query_api::{Args, routes};
use telemetry::Metrics;
use tower_service::Service;
use view::{StreamEnd, View, ViewConfig};
use window::{Config, Entity, EntityUpdate, Layout, Progress, Sink};

fn main() {
    divan::main();
}

#[derive(Debug)]
struct AtEnd;

impl StreamEnd for AtEnd {
    fn next_offset(&self, _: Partition) -> Offset {
        Offset(0)
    }
}

/// Four partitions; store 0 and item 5 have ten rows.
fn view() -> Arc<View> {
    let partitions = PartitionCount::new(4).expect("4 is in range");
    let config =
        ViewConfig { partitions, window: Config::default(), max_rendered_bytes: 256 << 20 };
    let slots = Layout::new(&config.window).slots();
    let view = View::new(&config, Arc::new(AtEnd));
    let clock = Some(Timestamp::now());
    let date = clock.map(Timestamp::date);
    let progress = Progress {
        next: Offset(1000),
        append_time: clock,
        clock,
        watermark: clock,
        newest_date: date,
    };
    let ids: Vec<u64> = (0..10).collect();
    for partition in partitions.iter() {
        let mut writer = view.writer(partition);
        for entity in [Entity::Store(StoreId(0)), Entity::Item(ItemId(5))] {
            if entity == Entity::Store(StoreId(0)) && partition != partitions.of(StoreId(0)) {
                continue;
            }
            writer.entity(EntityUpdate {
                entity,
                stamp: progress.next,
                progress: &progress,
                replace: true,
                totals: &vec![420; slots],
                ids: &ids,
                counts: &vec![42; slots * ids.len()],
                removed: &[],
            });
        }
        writer.progress(&progress);
        writer.ready();
    }
    view
}

#[divan::bench(args = [
    "/items/store/0",
    "/items/top10/5",
    "/v1/stores/0/top-items",
    "/v1/stores/0/top-items?window=1h&k=5",
    "/v1/top-items",
    "/openapi.json",
])]
fn hot_get(bencher: Bencher, path: &str) {
    let metrics = Metrics::new().expect("names are unique");
    let mut service = warp::service(routes(view(), metrics.view, &Args::default()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("threads");
    let request = || {
        Request::get(path)
            .header("host", "127.0.0.1:8080")
            .header("user-agent", "bench")
            .body(Empty::<Bytes>::new())
            .expect("the path is valid")
    };
    bencher.with_inputs(request).bench_local_values(|request| {
        let response = runtime.block_on(service.call(black_box(request))).expect("never fails");
        assert_eq!(response.status(), StatusCode::OK);
        response
    });
}
