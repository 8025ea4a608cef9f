//! SIGTERM under load: everything at hand is answered, the exit code is 0, and nothing is left to
//! replay.

mod common;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use common::{JSON, Server, purchase_path};

#[test]
fn a_server_that_is_asked_to_end_ends_in_order() {
    let data = tempfile::tempdir().unwrap();
    let acks = AtomicU64::new(0);
    for round in 1..=3 {
        let server = Server::start(data.path(), &["--checkpoint-interval", "1h"]);
        let senders: Vec<_> = (0..4).map(|_| server.client()).collect();
        let ended = thread::scope(|scope| {
            for (mut client, store) in senders.into_iter().zip(0..) {
                let acks = &acks;
                scope.spawn(move || {
                    let path = purchase_path(store, "20210101");
                    let body = br#"{"items":[{"ItemID":5,"numberOfItems":1}]}"#;
                    while let Some(answer) = client.request("POST", &path, &[JSON], body) {
                        assert_eq!(answer.parts(), (201, ""));
                        acks.fetch_add(1, Ordering::Release);
                    }
                });
            }
            while acks.load(Ordering::Acquire) < round * 200 {
                thread::yield_now();
            }
            server.terminate()
        });
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
        assert!(ended.log.contains("stopped"), "{}", ended.log);

        let server = Server::start(data.path(), &[]);
        let sold = server.get("/v1/top-items?k=1").json()["items"][0]["quantity"].as_u64();
        assert_eq!(sold, Some(acks.load(Ordering::Acquire)));
        let ended = server.terminate();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
        let replayed: Vec<_> =
            ended.log.lines().filter(|line| line.contains("partition ready")).collect();
        assert_eq!(replayed.len(), 4, "{}", ended.log);
        assert!(replayed.iter().all(|line| line.contains("replayed=0 ")), "{replayed:#?}");
    }
}
