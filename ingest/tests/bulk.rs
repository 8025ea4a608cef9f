//! The contract of the bulk POST.

mod common;

use common::{Server, quiet};
use model::{IdempotencyKey, StoreId};
use serde_json::{Value, json};

const NDJSON: &str = "content-type: application/x-ndjson\r\n";

fn line(store: u32, customer: u32) -> String {
    format!(
        r#"{{"storeID":{store},"custID":{customer},"date":"20210101","occurredAt":"2021-01-01T09:30:00Z","key":"k{customer}","items":[{{"ItemID":5,"numberOfItems":2}}]}}"#
    )
}

#[tokio::test]
async fn each_line_is_accepted_or_rejected_for_itself() {
    let server = Server::start(quiet(), 4).await;
    let mut client = server.client().await;
    // Stores 0 and 1 are in partitions 0 and 1 of 4.
    let lines = [
        line(0, 1),
        String::new(),
        "{".into(),
        line(1, 2) + "\r",
        r#"{"storeID":1,"custID":1,"items":[{"ItemID":5,"numberOfItems":2}]}"#.into(),
        "   ".into(),
        line(0, 3),
        line(0, 4).replace("20210101", "99990101"),
        line(0, 5).replace("k5", ""),
    ];
    let answer = client.post("/v1/purchases", NDJSON, lines.join("\n").as_bytes()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("topline-position"), Some("0:1,1:1"));
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["accepted"], json!(3));
    let rejected: Vec<(u64, &str)> = body["rejected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["line"].as_u64().unwrap(), r["message"].as_str().unwrap()))
        .collect();
    assert_eq!(rejected.len(), 4);
    for ((line, message), (expected_line, expected)) in rejected.into_iter().zip([
        (3, "EOF while parsing an object (column 1)"),
        (5, "date is missing"),
        (8, "date: 99990101 is more than a day ahead of the clock"),
        (9, "key must have 1 to 256 bytes"),
    ]) {
        assert_eq!(line, expected_line);
        assert!(message.starts_with(expected), "{message}");
    }
    assert_eq!(body.as_object().unwrap().len(), 2, "{body}");

    let batches = server.log.batches(0).await;
    let customers: Vec<u32> = batches[0].purchases.iter().map(|p| p.customer.0).collect();
    assert_eq!(customers, [1, 3]);
    let purchase = &batches[0].purchases[0];
    assert_eq!(purchase.event_time.to_string(), "2021-01-01T09:30:00.000Z");
    assert_eq!(purchase.key, Some(IdempotencyKey::digest(StoreId(0), "k1")));
    server.stop().await;
}

#[tokio::test]
async fn nothing_to_take_is_still_200() {
    let server = Server::start(quiet(), 4).await;
    let mut client = server.client().await;
    for (body, expected) in [
        (&b""[..], r#"{"accepted":0,"rejected":[]}"#),
        (b"\n\n", r#"{"accepted":0,"rejected":[]}"#),
        (
            b"\xff\n",
            r#"{"accepted":0,"rejected":[{"line":1,"message":"the text is not UTF-8 from byte 0 on"}]}"#,
        ),
    ] {
        let answer = client.post("/v1/purchases", NDJSON, body).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, expected));
        assert_eq!(answer.header("topline-position"), None);
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_listed_is_counted() {
    let server = Server::start(quiet(), 4).await;
    let mut client = server.client().await;
    let answer = client.post("/v1/purchases", NDJSON, "x\n".repeat(1234).as_bytes()).await;
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["accepted"], json!(0));
    assert_eq!(body["rejected"].as_array().unwrap().len(), 1000);
    assert_eq!(body["rejectedNotListed"], json!(234));
    assert_eq!(server.metric(r#"topline_ingest_rejected_total{reason="invalid"}"#), Some(1234.0));
    server.stop().await;
}

#[tokio::test]
async fn a_large_body_fills_several_batches_in_order() {
    let server = Server::start(quiet(), 1).await;
    let mut client = server.client().await;
    let body: Vec<String> = (0..2000).map(|customer| line(7, customer)).collect();
    let answer = client.post("/v1/purchases", NDJSON, body.join("\n").as_bytes()).await;
    assert_eq!(answer.body, r#"{"accepted":2000,"rejected":[]}"#);
    assert_eq!(answer.header("topline-position"), Some("0:4"));
    let batches = server.log.batches(0).await;
    let firsts: Vec<u64> = batches.iter().map(|batch| batch.first_sequence.0).collect();
    assert_eq!(firsts, [0, 512, 1024, 1536]);
    let customers: Vec<u32> =
        batches.iter().flat_map(|batch| &batch.purchases).map(|p| p.customer.0).collect();
    assert_eq!(customers, (0..2000).collect::<Vec<_>>());
    server.stop().await;
}
