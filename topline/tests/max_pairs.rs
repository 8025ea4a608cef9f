//! A limit of the state that is reached: the process ends and says which, and what it had acknowledged
//! is counted once the limit is raised.

mod common;

use common::{JSON, Server, purchase_path};

#[test]
fn too_many_pairs_end_the_process_and_lose_nothing() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &["--max-pairs", "5", "--partitions", "1"]);
    let path = purchase_path(7, "20210101");
    let body = |items: std::ops::Range<u64>| {
        let items: Vec<_> =
            items.map(|item| format!(r#"{{"ItemID":{item},"numberOfItems":1}}"#)).collect();
        format!(r#"{{"items":[{}]}}"#, items.join(","))
    };
    let answer = server.post(&path, &body(0..5));
    let position = answer.header("topline-position").unwrap().to_owned();
    assert_eq!(server.get_at("/items/store/7", &position).status, 200);
    // The process may end before it answers; the purchase is durable then all the same.
    let answer = server.client().request("POST", &path, &[JSON], body(4..6).as_bytes());
    assert!(answer.is_none_or(|answer| answer.status == 201));
    let ended = server.ended();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    let reason = "topline: partition 0 has 6 pairs of a store and an item, the limit is 5: raise \
                  --max-pairs if there is memory for more";
    assert_eq!(ended.log.lines().last(), Some(reason), "{}", ended.log);

    let server = Server::start(data.path(), &["--partitions", "1"]);
    let list = server.get("/items/store/7");
    let entries: Vec<_> = [(4, 2), (0, 1), (1, 1), (2, 1), (3, 1), (5, 1)]
        .map(|(item, count)| format!(r#"{{"itemID":{item},"numberOfItems":{count}}}"#))
        .into();
    let expected = format!(r#"{{"stores":[{}]}}"#, entries.join(","));
    assert_eq!(list.parts(), (200, &*expected));
}
