//! Bodies that are of the wrong type, too large, or end early.

mod common;

use common::{ITEM, PATH, Server, quiet};
use ingest::IngestArgs;

#[tokio::test]
async fn the_content_type_must_be_right() {
    let server = Server::start(quiet(), 1).await;
    let mut client = server.client().await;
    for headers in [
        "",
        "content-type: text/plain\r\n",
        "content-type: application/x-ndjson\r\n",
        "content-type: application/json\r\ncontent-encoding: gzip\r\n",
    ] {
        let answer = client.post(PATH, headers, ITEM.as_bytes()).await;
        assert_eq!(answer.status, 415, "{headers}");
        answer.message();
    }
    for headers in ["", "content-type: text/csv\r\n", "content-type: application/json\r\n"] {
        let answer = client.post("/v1/purchases", headers, b"").await;
        assert_eq!(answer.status, 415, "{headers}");
    }
    for name in ["x-ndjson", "ndjson", "jsonl"] {
        let headers = format!("content-type: application/{name}\r\n");
        assert_eq!(client.post("/v1/purchases", &headers, b"").await.status, 200, "{headers}");
    }
    let headers = "content-type: APPLICATION/JSON\r\ncontent-encoding: identity\r\n";
    assert_eq!(client.post(PATH, headers, ITEM.as_bytes()).await.status, 201);
    server.stop().await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let args = IngestArgs { max_purchase_bytes: 1000, max_bulk_bytes: 2000, ..quiet() };
    let server = Server::start(args, 1).await;
    for (path, limit, media_type) in [(PATH, 1000, "json"), ("/v1/purchases", 2000, "jsonl")] {
        let content_type = format!("content-type: application/{media_type}\r\n");
        let mut declared = server.client().await;
        let answer = declared.post(path, &content_type, &vec![b' '; limit + 1]).await;
        assert_eq!(answer.status, 413, "{path}");
        assert!(answer.message().contains(&format!("larger than {limit} bytes")), "{answer:?}");

        let mut chunked = server.client().await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\n{content_type}transfer-encoding: chunked\r\n\r\n"
        );
        chunked.send(head).await;
        for _ in 0..3 {
            chunked.send(format!("{limit:x}\r\n{}\r\n", " ".repeat(limit))).await;
        }
        assert_eq!(chunked.answer().await.unwrap().status, 413, "{path}");
    }
    // At the limit, also in pieces, it is read.
    let mut client = server.client().await;
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let spaces = 1000 - ITEM.len();
    let body =
        format!("{spaces:x}\r\n{}\r\n{:x}\r\n{ITEM}\r\n0\r\n\r\n", " ".repeat(spaces), ITEM.len());
    client.send(head + &body).await;
    assert_eq!(client.answer().await.unwrap().status, 201);
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_ends_early_takes_nothing() {
    let server = Server::start(quiet(), 1).await;
    let mut client = server.client().await;
    client
        .send(format!(
            "POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{ITEM}"
        ))
        .await;
    client.finish().await;
    // Answered or cut off, but never taken.
    if let Some(answer) = client.answer().await {
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    server.stop().await;
    assert_eq!(server.log.purchases().await, []);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408() {
    let body_timeout = std::time::Duration::from_millis(20);
    let server = Server::start(IngestArgs { body_timeout, ..quiet() }, 1).await;
    let mut client = server.client().await;
    client
        .send(format!(
            "POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{{"
        ))
        .await;
    let answer = client.answer().await.unwrap();
    assert_eq!(answer.status, 408);
    answer.message();
    server.stop().await;
}
