//! Idempotency keys: one key counts once, in a header or in a line, also after a restart.

mod common;

use common::{JSON, QUIET, Server, purchase_path};

fn post(server: &Server, store: u32, key: &str) -> String {
    let body = br#"{"items":[{"ItemID":5,"numberOfItems":1}]}"#;
    let headers = [JSON, ("Idempotency-Key", key)];
    let answer = server.request("POST", &purchase_path(store, "20210101"), &headers, body);
    assert_eq!(answer.parts(), (201, ""));
    answer.header("topline-position").unwrap().to_owned()
}

fn line(store: u32, key: &str) -> String {
    format!(
        r#"{{"storeID":{store},"custID":1,"date":"20210101","key":"{key}","items":[{{"ItemID":5,"numberOfItems":1}}]}}"#
    )
}

fn sold(server: &Server, store: u32, position: &str) -> u64 {
    let answer = server.get_at(&format!("/items/store/{store}"), position);
    answer.json()["stores"][0]["numberOfItems"].as_u64().unwrap_or_else(|| panic!("{answer:?}"))
}

#[test]
fn a_key_counts_once() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &QUIET);
    // Every answer has a position that can be waited for, whether it counted or not.
    for _ in 0..5 {
        let position = post(&server, 7, "a");
        assert_eq!(sold(&server, 7, &position), 1);
    }
    let position = post(&server, 7, "b");
    assert_eq!(sold(&server, 7, &position), 2);
    // A key is of one store.
    let position = post(&server, 8, "a");
    assert_eq!(sold(&server, 8, &position), 1);
    // The same key in a line, and twice in one body.
    let position = server.sell(&[line(7, "a"), line(7, "c"), line(7, "c"), line(8, "c")]);
    assert_eq!((sold(&server, 7, &position), sold(&server, 8, &position)), (3, 2));
    let duplicates = server.metric("topline_job_duplicate_keys_total", &[]);
    assert_eq!(duplicates as u64, 6);

    let server = restart(server, &data, false);
    let position = server.sell(&[line(7, "a"), line(7, "b"), line(7, "c"), line(7, "d")]);
    assert_eq!(sold(&server, 7, &position), 4);
    let server = restart(server, &data, true);
    let position = server.sell(&[line(7, "b"), line(7, "d"), line(8, "a"), line(7, "e")]);
    assert_eq!((sold(&server, 7, &position), sold(&server, 8, &position)), (5, 2));

    for key in ["", &"k".repeat(257)] {
        let headers = [JSON, ("Idempotency-Key", key)];
        let body = br#"{"items":[{"ItemID":5,"numberOfItems":1}]}"#;
        let answer = server.request("POST", &purchase_path(7, "20210101"), &headers, body);
        let message = "the header Idempotency-Key must have 1 to 256 bytes".to_owned();
        assert_eq!(answer.error(), (400, message));
    }
    let position = post(&server, 7, &"k".repeat(256));
    assert_eq!(sold(&server, 7, &position), 6);
}

fn restart(server: Server, data: &tempfile::TempDir, in_order: bool) -> Server {
    if in_order {
        assert_eq!(server.terminate().status.code(), Some(0));
    } else {
        server.kill();
    }
    Server::start(data.path(), &QUIET)
}
