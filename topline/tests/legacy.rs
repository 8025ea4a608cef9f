//! The three calls of the existing clients, byte for byte.

mod common;

use common::{QUIET, Server, purchase_path};

#[test]
fn the_calls_of_the_existing_clients() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &QUIET);

    // As generated clients send it, and then in the other spellings; all of one store.
    let path = purchase_path(7, "20210101");
    let mut position = String::new();
    for body in [
        r#"{"items":[{"ItemID":"123","numberOfItems:":1}]}"#,
        r#"{"items":[{"ItemID":123,"numberOfItems":2}]}"#,
        r#"{"items":[{"numberOfItems":4,"ItemID":"123"},{"ItemID":5,"numberOfItems:":42}]}"#,
        r#" { "items" : [ { "ItemID" : "0" , "numberOfItems" : 3 , "new" : [{}] } ] , "x" : 1 } "#,
        r#"{"items":[{"ItemID":18446744073709551615,"numberOfItems":6}]}"#,
        r#"{"items":[{"ItemID":"99","numberOfItems":0}]}"#,
        r#"{"items":[{"ItemID":"123","numberOfItems":1},{"ItemID":"123","numberOfItems":1}]}"#,
    ] {
        let answer = server.post(&path, body);
        assert_eq!(answer.parts(), (201, ""), "{body}");
        assert_eq!(answer.header("content-length"), Some("0"));
        position = answer.header("topline-position").unwrap().to_owned();
    }
    let store = server.get_at("/items/store/7", &position);
    let expected = concat!(
        r#"{"stores":[{"itemID":5,"numberOfItems":42},{"itemID":123,"numberOfItems":9},"#,
        r#"{"itemID":18446744073709551615,"numberOfItems":6},{"itemID":0,"numberOfItems":3}]}"#,
    );
    assert_eq!(store.parts(), (200, expected));
    assert_eq!(store.header("content-type"), Some("application/json"));
    assert_eq!(server.get("/items/top10/99").error().0, 404, "quantity 0 counts nothing");

    // The smallest and the largest ids, and more stores than the list is long: ties by smaller id.
    for store in [0, u32::MAX, 9, 8, 2, 3, 4, 5, 6, 1, 10] {
        let path = format!("/purchase/{store}/customer/{}/date/20210101", u32::MAX - store);
        let answer = server.post(&path, r#"{"items":[{"ItemID":77,"numberOfItems":1}]}"#);
        let position = answer.header("topline-position").unwrap().to_owned();
        assert_eq!(server.get_at("/items/top10/77", &position).status, 200);
    }
    let entries: Vec<String> = (0..10)
        .map(|id| {
            format!(r#"{{"storeID":{},"numberOfItems":1}}"#, [0, 1, 2, 3, 4, 5, 6, 8, 9, 10][id])
        })
        .collect();
    let expected = format!(r#"{{"stores":[{}]}}"#, entries.join(","));
    assert_eq!(server.get("/items/top10/77").parts(), (200, &*expected));
    // The existing clients may send any query parameters.
    assert_eq!(server.get("/items/top10/77?k=0&x=1").parts(), (200, &*expected));
}
