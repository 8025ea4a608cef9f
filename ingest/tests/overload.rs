//! When the log is slow, a bounded number of purchases wait and the rest are refused; those that
//! wait are taken once.

mod common;

use std::sync::Arc;

use common::{ITEM, Server, quiet};
use ingest::IngestArgs;

#[tokio::test]
async fn a_full_queue_refuses_and_takes_nothing_of_it() {
    let server = Server::start(IngestArgs { max_queued_purchases: 3, ..quiet() }, 1).await;
    server.log.shut();
    let waiting: Vec<_> = (0..3)
        .map(|customer| {
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                let path = format!("/purchase/1/customer/{customer}/date/20210101");
                server.client().await.post_json(&path, ITEM).await.status
            })
        })
        .collect();
    server.metric_reaches(r#"topline_ingest_queue_purchases{partition="0"}"#, 3.0).await;

    let mut client = server.client().await;
    let bulk =
        r#"{"storeID":1,"custID":99,"date":"20210101","items":[{"ItemID":5,"numberOfItems":2}]}"#;
    for (path, media_type, body) in [
        ("/purchase/1/customer/99/date/20210101", "json", ITEM),
        ("/v1/purchases", "x-ndjson", bulk),
    ] {
        let headers = format!("content-type: application/{media_type}\r\n");
        let answer = client.post(path, &headers, body.as_bytes()).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{path}");
        assert!(answer.message().starts_with("nothing was taken: partition 0 has too many"));
    }
    server.log.open();
    for task in waiting {
        assert_eq!(task.await.unwrap(), 201);
    }
    assert_eq!(client.post_json("/purchase/1/customer/3/date/20210101", ITEM).await.status, 201);
    server.stop().await;
    let mut customers: Vec<u32> =
        server.log.purchases().await.iter().map(|p| p.customer.0).collect();
    customers.sort_unstable();
    assert_eq!(customers, [0, 1, 2, 3]);
}
