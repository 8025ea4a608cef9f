//! A limit of the state that is reached: POSTs are refused with the reason, GETs go on, and a raised
//! limit lets them in again; what was acknowledged is counted throughout.

mod common;

use common::{JSON, Server, purchase_path};

/// More POSTs than can pass before the refusal has come through.
const TRIES: u64 = 10_000;

#[test]
fn too_many_pairs_close_the_entrance_and_lose_nothing() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &["--max-pairs", "5", "--partitions", "1"]);
    let path = purchase_path(7, "20210101");
    let body = |items: std::ops::Range<u64>| {
        let items: Vec<_> =
            items.map(|item| format!(r#"{{"ItemID":{item},"numberOfItems":1}}"#)).collect();
        format!(r#"{{"items":[{}]}}"#, items.join(","))
    };
    let answer = server.post(&path, &body(0..6));
    assert_eq!(answer.status, 201);
    let position = answer.header("topline-position").unwrap().to_owned();
    let mut taken = 1;
    let refused = (0..TRIES).find_map(|_| {
        let answer =
            server.client().request("POST", &path, &[JSON], body(0..6).as_bytes()).unwrap();
        taken += u64::from(answer.status == 201);
        (answer.status != 201).then_some(answer)
    });
    let refused = refused.expect("refused in the end");
    let reason = "nothing was taken: partition 0 holds more than 5 pairs of a store and an item: raise \
                  --max-pairs if there is memory for more";
    assert_eq!(refused.parts(), (503, &*format!(r#"{{"message":"{reason}"}}"#)));
    assert_eq!(refused.header("retry-after"), Some("60"));
    assert_eq!(server.get_at("/items/store/7", &position).status, 200);
    drop(server);

    let server = Server::start(data.path(), &["--partitions", "1"]);
    let answer = server.post(&path, &body(0..6));
    let position = answer.header("topline-position").unwrap().to_owned();
    let entries: Vec<_> = (0..6)
        .map(|item| format!(r#"{{"itemID":{item},"numberOfItems":{}}}"#, taken + 1))
        .collect();
    let expected = format!(r#"{{"stores":[{}]}}"#, entries.join(","));
    assert_eq!(server.get_at("/items/store/7", &position).parts(), (200, &*expected));
}
