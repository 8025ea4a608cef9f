//! A bulk POST of good and bad lines.

mod common;

use common::{NDJSON, QUIET, Server, line};

#[test]
fn good_lines_are_taken_and_bad_ones_are_named() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &QUIET);
    let good = |store| line(store, "20210101", "2021-01-01T09:30:00Z", &[(5, 10), (6, store)]);
    let body = [
        good(1).as_str(),
        "",
        "not json",
        r#"{"storeID":"2","custID":"1000","date":"20210101","items":[{"ItemID":"5","numberOfItems:":4}]}"#,
        r#"{"storeID":3,"custID":1000,"date":"20210230","items":[{"ItemID":5,"numberOfItems":1}]}"#,
        "  \t ",
        r#"{"custID":1000,"date":"20210101","items":[{"ItemID":5,"numberOfItems":1}]}"#,
        r#"{"storeID":3,"custID":1000,"date":"20210101","items":[{"ItemID":5,"numberOfItems":1}],"storeID":3}"#,
        r#"{"storeID":3,"custID":1000,"date":"20210101","key":"","items":[{"ItemID":5,"numberOfItems":1}]}"#,
        &good(4),
        r#"{"storeID":3,"custID":1000,"date":"20210101","items":[{"ItemID":5,"numberOfItems":1}"#,
    ]
    .join("\r\n");
    let answer = server.request("POST", "/v1/purchases", &[NDJSON], body.as_bytes());
    assert_eq!(answer.status, 200);
    let report = answer.json();
    assert_eq!(report["accepted"], 3);
    let rejected: Vec<_> = report["rejected"].as_array().unwrap().iter().collect();
    let lines: Vec<_> = rejected.iter().map(|r| r["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [3, 5, 7, 8, 9, 11]);
    for (rejected, part) in rejected.iter().zip([
        "expected ident",
        "date: '20210230' is not a date: there is no such day in the calendar",
        "storeID is missing",
        "storeID: the field is given twice",
        "key must have 1 to 256 bytes",
        "EOF while parsing",
    ]) {
        let message = rejected["message"].as_str().unwrap();
        assert!(message.contains(part), "{message}");
        assert_eq!(rejected.as_object().unwrap().len(), 2);
    }

    let position = answer.header("topline-position").unwrap().to_owned();
    let item = server.get_at("/items/top10/5", &position);
    let expected = concat!(
        r#"{"stores":[{"storeID":1,"numberOfItems":10},{"storeID":4,"numberOfItems":10},"#,
        r#"{"storeID":2,"numberOfItems":4}]}"#,
    );
    assert_eq!(item.parts(), (200, expected));
    assert_eq!(server.get("/items/store/3").error().0, 404, "nothing of a bad line counts");

    // Nothing to take is no error, and moves nothing.
    for body in ["", "\n\n", "x"] {
        let answer = server.request("POST", "/v1/purchases", &[NDJSON], body.as_bytes());
        assert_eq!((answer.status, answer.header("topline-position")), (200, None), "{body:?}");
        assert_eq!(answer.json()["accepted"], 0);
    }

    // Only so many bad lines are listed, all are counted.
    let answer = server.bulk(&vec!["x".to_owned(); 1500]);
    let report = answer.json();
    assert_eq!(report["rejected"].as_array().unwrap().len(), 1000);
    assert_eq!(report["rejectedNotListed"], 500);
    let rejected = server.metric("topline_ingest_rejected_total", &[r#"reason="invalid""#]);
    assert_eq!(rejected as u64, 6 + 1 + 1500);
}
