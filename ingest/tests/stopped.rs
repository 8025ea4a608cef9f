//! When the log stops, those who wait are told the truth, and nothing more is taken.

mod common;

use common::{ITEM, PATH, Server, quiet};
use log::AppendError;

#[tokio::test]
async fn a_stopped_log_stops_ingest() {
    let server = Server::start(quiet(), 1).await;
    assert_eq!(server.handle.failure(), None);
    let error = AppendError::Stopped("the disk is full".into());
    server.log.script.lock().unwrap().push_back(error.clone());
    let mut client = server.client().await;
    let answer = client.post_json(PATH, ITEM).await;
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.message(),
        "the purchase may or may not have been taken: the log has stopped: the disk is full"
    );
    server.handle.failed().await;
    assert_eq!(server.handle.failure(), Some(&error));
    let answer = client.post_json(PATH, ITEM).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert!(answer.message().starts_with("nothing was taken: the log has stopped"), "{answer:?}");
    server.stop().await;
}
