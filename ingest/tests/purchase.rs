//! The contract of the POST of one purchase.

mod common;

use common::{ITEM, PATH, Server, quiet};
use model::{CustomerId, IdempotencyKey, ItemId, Line, StoreId, Timestamp};

#[tokio::test]
async fn a_purchase_is_answered_with_201_and_is_in_the_log() {
    let server = Server::start(quiet(), 1).await;
    let before = Timestamp::now();
    let mut client = server.client().await;
    let body = r#"{"items":[{"ItemID":"123","numberOfItems:":1},{"ItemID":7,"numberOfItems":0},
        {"ItemID":9,"numberOfItems":12}]}"#;
    let headers = "content-type: application/json; charset=utf-8\r\nidempotency-key: k 1\r\n";
    let answer = client.post(PATH, headers, body.as_bytes()).await;
    assert_eq!((answer.status, answer.body.as_str()), (201, ""));
    assert_eq!(answer.header("topline-position"), Some("0:1"));
    let second = client.post_json(PATH, ITEM).await;
    assert_eq!((second.status, second.header("topline-position")), (201, Some("0:2")));

    let batches = server.log.batches(0).await;
    assert_eq!(batches.len(), 2);
    assert_eq!((batches[0].first_sequence.0, batches[1].first_sequence.0), (0, 1));
    assert_eq!(batches[0].producer, batches[1].producer);
    let purchase = &batches[0].purchases[0];
    assert_eq!((purchase.store, purchase.customer), (StoreId(1), CustomerId(1000)));
    assert_eq!(purchase.date.to_string(), "20210101");
    assert!((before..=Timestamp::now()).contains(&purchase.event_time));
    assert_eq!(purchase.key, Some(IdempotencyKey::digest(StoreId(1), "k 1")));
    let lines = [Line { item: ItemId(123), quantity: 1 }, Line { item: ItemId(9), quantity: 12 }];
    assert_eq!(purchase.lines, lines);
    assert_eq!(batches[1].purchases[0].key, None);
    assert_eq!(server.metric("topline_ingest_purchases_total"), Some(2.0));
    assert_eq!(server.metric("topline_ingest_lines_total"), Some(3.0));
    assert_eq!(server.metric(r#"topline_ingest_queue_purchases{partition="0"}"#), Some(0.0));
    server.stop().await;
}

#[tokio::test]
async fn bad_values_are_400_and_the_connection_goes_on() {
    let server = Server::start(quiet(), 4).await;
    let mut client = server.client().await;
    for (path, body, expected) in [
        ("/purchase/x/customer/1/date/20210101", ITEM, "storeID: 'x' is not a whole number"),
        ("/purchase/-1/customer/1/date/20210101", ITEM, "storeID: '-1'"),
        ("/purchase/4294967296/customer/1/date/20210101", ITEM, "storeID: 4294967296 is larger"),
        ("/purchase/1/customer/1.5/date/20210101", ITEM, "custID: '1.5'"),
        ("/purchase/1/customer/1/date/20210230", ITEM, "date: '20210230' is not a date"),
        ("/purchase/1/customer/1/date/2021-01-01", ITEM, "date: '2021-01-01' is not a date"),
        ("/purchase/1/customer/1/date/99991231", ITEM, "date: 99991231 is more than a day ahead"),
        (PATH, "", "EOF while parsing a value"),
        (PATH, "{}", "items is missing"),
        (PATH, r#"{"items":[]}"#, "items: invalid length 0"),
        (
            PATH,
            r#"{"items":[{"ItemID":1,"numberOfItems":-1}]}"#,
            "items[0].numberOfItems: invalid type: integer `-1`",
        ),
        (
            PATH,
            r#"{"occurredAt":"9000-01-01T00:00:00Z","items":[{"ItemID":1,"numberOfItems":1}]}"#,
            "occurredAt: 9000-01-01T00:00:00.000Z is more than 5 minutes ahead",
        ),
    ] {
        let answer = client.post_json(path, body).await;
        assert_eq!(answer.status, 400, "{path} {body}");
        assert!(answer.message().starts_with(expected), "{path} {body}: {answer:?}");
    }
    for key in ["", &"k".repeat(257)] {
        let headers = format!("content-type: application/json\r\nidempotency-key: {key}\r\n");
        let answer = client.post(PATH, &headers, ITEM.as_bytes()).await;
        assert_eq!(answer.status, 400, "{key}");
        assert!(answer.message().contains("Idempotency-Key must have 1 to 256 bytes"));
    }
    let latin_1 = [
        &b"POST "[..],
        PATH.as_bytes(),
        b" HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n",
        b"idempotency-key: caf\xe9\r\n\r\n",
    ];
    client.send(latin_1.concat()).await;
    let answer = client.answer().await.unwrap();
    assert_eq!(answer.status, 400);
    assert_eq!(answer.message(), "Idempotency-Key: has characters that are not ASCII");
    let twice = "content-type: application/json\r\nidempotency-key: a\r\nidempotency-key: a\r\n";
    let answer = client.post(PATH, twice, ITEM.as_bytes()).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.message(), "Idempotency-Key: given more than once");
    // The same connection still serves.
    assert_eq!(client.post_json(PATH, ITEM).await.status, 201);
    assert_eq!(server.log.purchases().await.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_told_apart() {
    let server = Server::start(quiet(), 1).await;
    let mut client = server.client().await;
    for path in ["/", "/purchase", "/purchase/1/customer/1/date/", "/v1/purchases/", "/v2"] {
        let answer = client.post_json(path, ITEM).await;
        assert_eq!((answer.status, answer.message()), (404, "there is no such path".into()));
    }
    client.send(format!("GET {PATH} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    assert!(answer.message().contains("use POST"));
    server.stop().await;
}
