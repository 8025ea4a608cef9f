//! A log that has too much queued gets the same bytes again, until it takes them.

mod common;

use common::{ITEM, PATH, Server, quiet};
use log::AppendError;
use model::Partition;

#[tokio::test]
async fn the_same_bytes_are_tried_again() {
    let server = Server::start(quiet(), 1).await;
    let refusals = [AppendError::Overloaded(Partition(0)), AppendError::Overloaded(Partition(0))];
    server.log.script.lock().unwrap().extend(refusals);
    let mut client = server.client().await;
    for position in ["0:1", "0:2"] {
        let answer = client.post_json(PATH, ITEM).await;
        assert_eq!((answer.status, answer.header("topline-position")), (201, Some(position)));
    }
    server.stop().await;
    let attempts = server.log.attempts.lock().unwrap().clone();
    assert_eq!(attempts.len(), 4);
    assert!(attempts[0] == attempts[1] && attempts[1] == attempts[2]);
    let sequences: Vec<u64> =
        server.log.batches(0).await.iter().map(|batch| batch.first_sequence.0).collect();
    assert_eq!(sequences, [0, 1]);
    assert_eq!(server.metric("topline_ingest_append_retries_total"), Some(2.0));
}
