//! Questions without an answer, paths and methods that are not there.

mod common;

use common::{QUIET, Server, line};

#[test]
fn questions_without_an_answer_are_told_why() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &[&QUIET[..], &["--max-k", "50"]].concat());
    // Nothing has been sold at all.
    let unknown = |path| server.get(path).error();
    assert_eq!(unknown("/items/store/7"), (404, "nothing has been sold in store 7".to_owned()));
    assert_eq!(unknown("/items/top10/5"), (404, "nothing has been sold of item 5".to_owned()));
    let dateless = (404, "no business date has been seen yet".to_owned());
    assert_eq!(unknown("/v1/top-items?window=day"), dateless);
    assert_eq!(unknown("/v1/top-items?window=day&date=20210101"), dateless);
    let nothing = server.get("/v1/top-items");
    assert_eq!(nothing.json()["items"], serde_json::json!([]));

    let position = server.sell(&[line(7, "20210601", "2021-06-01T12:00:00Z", &[(5, 42)])]);
    assert_eq!(server.get_at("/items/store/7", &position).status, 200);
    let number = |name: &str, text: &str| {
        (400, format!("{name}: '{text}' is not a whole number of 0 or more"))
    };
    let windows = "expected one of all, day, 24h, 1h, 5m, 1m";
    let k = |k: &str| (400, format!("k: {k} is out of range, it must be between 1 and 50"));
    let not_kept = |date: &str| {
        (404, format!("the date {date} is not kept: the dates kept are 20210304 to 20210601"))
    };
    let date_alone =
        |kind| (400, format!("date: only goes with window=day, not with window={kind}"));
    for (path, expected) in [
        ("/items/store/x", number("storeID", "x")),
        ("/items/store/-1", number("storeID", "-1")),
        ("/items/store/4294967296", (400, "storeID: 4294967296 is larger than 4294967295".into())),
        ("/items/top10/1.5", number("itemID", "1.5")),
        ("/items/store/8", (404, "nothing has been sold in store 8".into())),
        ("/items/top10/6", (404, "nothing has been sold of item 6".into())),
        ("/v1/stores/8/top-items", (404, "nothing has been sold in store 8".into())),
        ("/v1/items/6/top-stores", (404, "nothing has been sold of item 6".into())),
        ("/v1/stores/7/top-items?k=0", k("0")),
        ("/v1/stores/7/top-items?k=51", k("51")),
        ("/v1/top-stores?k=18446744073709551615", k("18446744073709551615")),
        ("/v1/top-stores?k=-1", number("k", "-1")),
        ("/v1/top-stores?k=", number("k", "")),
        ("/v1/top-stores?window=2h", (400, format!("window: '2h' is not a window: {windows}"))),
        ("/v1/top-stores?window=", (400, format!("window: '' is not a window: {windows}"))),
        ("/v1/top-items?window=day&date=20210303", not_kept("20210303")),
        ("/v1/stores/7/top-items?window=day&date=20210602", not_kept("20210602")),
        ("/v1/top-items?date=20210601", date_alone("all")),
        ("/v1/top-items?window=1h&date=20210601", date_alone("1h")),
        (
            "/v1/top-items?window=day&date=20210230",
            (400, "date: '20210230' is not a date: there is no such day in the calendar".into()),
        ),
        ("/v1/top-items?k=1&k=1", (400, "query parameter 'k' is given more than once".into())),
        (
            "/v1/top-items?limit=1",
            (400, "unknown query parameter 'limit': expected window, date, k".into()),
        ),
    ] {
        assert_eq!(server.get(path).error(), expected, "{path}");
    }
    assert_eq!(server.get("/v1/top-items?window=day&date=20210304").status, 200);
    for (query, message) in [
        ("limit=abc", "limit: 'abc' is not a whole number of 0 or more"),
        ("limit=1&limit=1", "query parameter 'limit' is given more than once"),
        ("k=1", "unknown query parameter 'k': expected limit"),
    ] {
        for path in ["/late", "/dead-letters"] {
            let refused = server.admin_get(&format!("{path}?{query}")).error();
            assert_eq!(refused, (400, message.to_owned()), "{path}?{query}");
        }
    }
    assert_eq!(server.admin_get("/late?limit=18446744073709551615").parts(), (200, "[]"));
}

#[test]
fn unknown_paths_and_wrong_methods_are_told_apart() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &QUIET);
    let unknown = (404, "there is no such path".to_owned());
    for path in [
        "/index.html",
        "/items",
        "/items/store",
        "/items/store/",
        "/items/store/7/",
        "/v1/purchases/7",
        "/purchase/7/customer/1000/date",
        "/metrics",
        "/late",
        "/%ff",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            assert_eq!(server.request(method, path, &[], b"").error(), unknown, "{method} {path}");
        }
    }
    for (path, allow, methods) in [
        ("/items/store/7", "GET, HEAD", &["POST", "PUT", "DELETE", "PATCH", "OPTIONS"][..]),
        ("/v1/top-items", "GET, HEAD", &["POST", "DELETE"]),
        ("/openapi.json", "GET, HEAD", &["POST"]),
        ("/purchase/7/customer/1000/date/20210101", "POST", &["GET", "HEAD", "PUT"]),
        ("/v1/purchases", "POST", &["GET", "DELETE"]),
    ] {
        for method in methods {
            let answer = server.request(method, path, &[], b"");
            assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{path}");
            if *method != "HEAD" {
                let message = format!("this path does not have that method: use {allow}");
                assert_eq!(answer.error(), (405, message), "{method} {path}");
            }
        }
    }
    // Bytes that are not HTTP do no harm.
    let mut client = server.client();
    client.send("\x16\x03\x01 nonsense\r\n\r\n");
    if let Some(answer) = client.answer("GET") {
        assert_eq!(answer.status, 400);
    }
    assert_eq!(server.get("/openapi.json").status, 200);
    assert_eq!(server.admin_get("/items/store/7").error(), unknown);
    assert_eq!(server.admin_get("/healthz").parts(), (200, r#"{"status":"ok"}"#));
    assert_eq!(server.admin_get("/readyz").parts(), (200, r#"{"ready":true}"#));
}
