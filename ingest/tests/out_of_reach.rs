//! What is wrong with one partition of the stream concerns its stores alone, and no request waits for it
//! without end.

mod common;

use std::time::Duration;

use common::{ITEM, Server, quiet};
use ingest::IngestArgs;
use model::{PartitionCount, StoreId};

const PARTITIONS: u32 = 2;

/// A path for a store of each partition.
fn paths() -> [String; 2] {
    let count = PartitionCount::new(PARTITIONS).unwrap();
    [0, 1].map(|partition| {
        let store = (0..1000).find(|&store| count.of(StoreId(store)).0 == partition).unwrap();
        format!("/purchase/{store}/customer/1/date/20210101")
    })
}

#[tokio::test]
async fn a_partition_out_of_reach_is_refused_at_once_and_the_others_go_on() {
    let server = Server::start(quiet(), PARTITIONS).await;
    let [lost, other] = paths();
    let mut client = server.client().await;
    server.log.unavailable.lock().unwrap().insert(model::Partition(0));
    let answer = client.post_json(&lost, ITEM).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(
        answer.message(),
        "nothing was taken: partition 0 is out of reach: its leader is gone, try again later"
    );
    assert_eq!(client.post_json(&other, ITEM).await.status, 201);
    server.log.unavailable.lock().unwrap().clear();
    assert_eq!(client.post_json(&lost, ITEM).await.status, 201);
    server.stop().await;
    assert_eq!(server.log.purchases().await.len(), 2);
}

#[tokio::test]
async fn a_purchase_that_is_not_durable_in_time_is_answered_all_the_same() {
    let args = IngestArgs { append_timeout: Duration::from_millis(50), ..quiet() };
    let server = Server::start(args, PARTITIONS).await;
    let [path, _] = paths();
    server.log.shut();
    let answer = server.client().await.post_json(&path, ITEM).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(
        answer.message(),
        "the purchase may or may not have been taken: partition 0 was not durable in time"
    );
    // This time it was.
    server.log.open();
    server.stop().await;
    assert_eq!(server.log.purchases().await.len(), 1);
}
