//! All windows, of a store, of an item and of the whole chain; days that close, and what comes late.

mod common;

use common::{Server, eventually, line};
use serde_json::{Value, json};

/// No ticks, so that time stands where the purchases put it; one partition, so that it is one time.
const ARGS: [&str; 6] =
    ["--tick-interval", "1h", "--partitions", "1", "--checkpoint-interval", "100ms"];

fn window(kind: &str, start: &str) -> Value {
    json!({
        "kind": kind,
        "start": start,
        "end": "2021-06-10T12:00:10.000Z",
        "final": false,
    })
}

#[test]
fn every_window_counts_what_it_covers() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &ARGS);
    // Out of order, each in one window fewer than the one before it in time.
    let position = server.sell(&[
        line(7, "20210610", "2021-06-10T12:00:00Z", &[(1, 1)]),
        line(7, "20210609", "2021-06-09T11:59:00Z", &[(1, 10_000), (2, 1)]),
        line(7, "20210610", "2021-06-10T11:58:00Z", &[(1, 10)]),
        line(7, "20210610", "2021-06-10T01:00:00Z", &[(1, 1000)]),
        line(7, "20210610", "2021-06-10T11:30:00Z", &[(1, 100)]),
        line(8, "20210610", "2021-06-10T11:59:30Z", &[(2, 5)]),
    ]);
    assert_eq!(position, "0:1");
    let all = json!({"kind": "all", "final": false});
    let day = |date: &str, start: &str, end: &str, is_final| json!({"kind": "day", "date": date, "start": start, "end": end, "final": is_final});
    let today = day("20210610", "2021-06-10T00:00:00.000Z", "2021-06-11T00:00:00.000Z", false);
    let yesterday = day("20210609", "2021-06-09T00:00:00.000Z", "2021-06-10T00:00:00.000Z", false);
    // By query: the window, what store 7 sold of item 1, and all that was sold of item 2.
    let cases = [
        ("", all, 11_111, 6),
        ("?window=24h", window("24h", "2021-06-09T12:00:10.000Z"), 1111, 5),
        ("?window=1h", window("1h", "2021-06-10T11:00:10.000Z"), 111, 5),
        ("?window=5m", window("5m", "2021-06-10T11:55:10.000Z"), 11, 5),
        ("?window=1m", window("1m", "2021-06-10T11:59:10.000Z"), 1, 5),
        ("?window=day", today.clone(), 1111, 5),
        ("?window=day&date=20210610", today, 1111, 5),
        ("?window=day&date=20210609", yesterday, 10_000, 1),
    ];
    for (query, window, item_1, item_2) in cases {
        let of = |path: &str| {
            let body = server.get_at(&format!("{path}{query}"), &position).json();
            assert_eq!(body["window"], window, "{path}{query}");
            let as_of = json!({
                "position": "0:1",
                "watermark": "2021-06-10T11:59:55.000Z",
                "lagMs": 0,
            });
            assert_eq!(body["asOf"], as_of, "{path}{query}");
            body
        };
        let chain = of("/v1/top-items")["items"].clone();
        let mut expected = vec![(1, item_1), (2, item_2)];
        expected.sort_by_key(|&(id, count)| (std::cmp::Reverse(count), id));
        let entries = |name: &str, list: &[(u32, u32)]| -> Value {
            list.iter().map(|(id, count)| json!({name: id, "quantity": count})).collect()
        };
        assert_eq!(chain, entries("itemID", &expected), "{query}");
        let of_item = of("/v1/items/1/top-stores")["stores"].clone();
        assert_eq!(of_item, entries("storeID", &[(7, item_1)]), "{query}");
        let of_item_2 = if item_2 == 1 { vec![(7, 1)] } else { vec![(8, 5)] };
        let of_item_2 = if item_2 == 6 { vec![(8, 5), (7, 1)] } else { of_item_2 };
        assert_eq!(
            of("/v1/items/2/top-stores")["stores"],
            entries("storeID", &of_item_2),
            "{query}"
        );
        let store_7 = item_1 + of_item_2.iter().filter(|e| e.0 == 7).map(|e| e.1).sum::<u32>();
        let mut stores = vec![(7, store_7)];
        stores.extend(of_item_2.iter().filter(|e| e.0 == 8));
        stores.sort_by_key(|&(id, count)| (std::cmp::Reverse(count), id));
        assert_eq!(of("/v1/top-stores")["stores"], entries("storeID", &stores), "{query}");
    }

    // To the byte, once.
    let expected = concat!(
        r#"{"window":{"kind":"1h","start":"2021-06-10T11:00:10.000Z","#,
        r#""end":"2021-06-10T12:00:10.000Z","final":false},"#,
        r#""items":[{"itemID":1,"quantity":111}],"#,
        r#""asOf":{"position":"0:1","watermark":"2021-06-10T11:59:55.000Z","lagMs":0}}"#,
    );
    let answer = server.get("/v1/stores/7/top-items?window=1h&k=1");
    assert_eq!(answer.parts(), (200, expected));
    assert_eq!(answer.header("topline-position"), Some("0:1"));
    let expected = r#"{"window":{"kind":"all","final":false},"stores":[{"storeID":8,"quantity":5}"#;
    assert!(server.get("/v1/items/2/top-stores?k=2").body.starts_with(expected));
}

#[test]
fn a_purchase_for_a_closed_day_is_set_aside_and_counts_elsewhere() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &ARGS);
    server.sell(&[
        line(7, "20210608", "2021-06-08T12:00:00Z", &[(1, 10)]),
        line(7, "20210609", "2021-06-09T12:00:00Z", &[(1, 20)]),
        line(7, "20210610", "2021-06-10T12:00:00Z", &[(1, 40)]),
    ]);
    let position = server.sell(&[line(7, "20210608", "2021-06-08T12:30:00Z", &[(1, 80), (2, 3)])]);
    let list = |query: &str| {
        let body = server.get_at(&format!("/v1/stores/7/top-items{query}"), &position).json();
        (body["window"]["final"].as_bool().unwrap(), body["items"].clone())
    };
    let entry = |item, quantity| json!({"itemID": item, "quantity": quantity});
    assert_eq!(list("?window=day&date=20210608"), (true, json!([entry(1, 10)])));
    assert_eq!(list("?window=day&date=20210609"), (false, json!([entry(1, 20)])));
    assert_eq!(list("?window=all"), (false, json!([entry(1, 150), entry(2, 3)])));

    // It shows once it is in a checkpoint.
    let late = eventually("the late purchase shows", || {
        let late = server.admin_get("/late").json();
        (!late.as_array().unwrap().is_empty()).then_some(late)
    });
    let expected = json!([{
        "partition": 0,
        "offset": 1,
        "place": 0,
        "storeID": 7,
        "custID": 1000,
        "date": "20210608",
        "occurredAt": "2021-06-08T12:30:00.000Z",
        "items": [{"itemID": 1, "quantity": 80}, {"itemID": 2, "quantity": 3}],
    }]);
    assert_eq!(late, expected);
    assert_eq!(server.admin_get("/dead-letters").parts(), (200, "[]"));
    assert_eq!(server.metric("topline_job_late_total", &[r#"window="day""#]) as u64, 1);

    // All of it outlives the process.
    drop(server);
    let server = Server::start(data.path(), &ARGS);
    assert_eq!(server.admin_get("/late").json(), expected);
    let day = server.get("/v1/stores/7/top-items?window=day&date=20210608").json();
    assert_eq!((&day["window"]["final"], &day["items"]), (&json!(true), &json!([entry(1, 10)])));
}
