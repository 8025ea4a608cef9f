//! On shutdown, what is queued is appended and answered; then nothing more is taken.

mod common;

use std::sync::Arc;

use common::{ITEM, Server, quiet};

#[tokio::test]
async fn what_is_queued_is_appended_and_answered() {
    let server = Server::start(quiet(), 1).await;
    server.log.shut();
    let waiting: Vec<_> = (0..20)
        .map(|customer| {
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                let path = format!("/purchase/1/customer/{customer}/date/20210101");
                server.client().await.post_json(&path, ITEM).await.status
            })
        })
        .collect();
    server.metric_reaches(r#"topline_ingest_queue_purchases{partition="0"}"#, 20.0).await;
    server.ingest_shutdown.cancel();
    server.log.open();
    server.handle.drained().await;
    for task in waiting {
        assert_eq!(task.await.unwrap(), 201);
    }
    let answer =
        server.client().await.post_json("/purchase/1/customer/1/date/20210101", ITEM).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.message(), "nothing was taken: the server is shutting down, try again later");
    server.stop().await;
    assert_eq!(server.log.purchases().await.len(), 20);
}
