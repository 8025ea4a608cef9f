//! One connection carries many requests, also sent at once, and goes on after errors.

mod common;

use common::{ECHO_LIMIT, Server, read_until, send};
use http_server::ListenerConfig;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn requests_sent_at_once_are_answered_in_order() {
    let server = Server::start(ListenerConfig::default()).await;
    let requests: String = (0..50)
        .map(|id| match id % 5 {
            0 => "GET /none HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
            1 => format!("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{id:02}"),
            _ => format!("GET /hello/{id} HTTP/1.1\r\nhost: x\r\n\r\n"),
        })
        .collect();
    let mut client = send(server.address, &requests).await;
    for id in 0..50 {
        let (status, end) = match id % 5 {
            0 => ("404 Not Found", "such path\"}".to_owned()),
            1 => ("200 OK", format!("\r\n\r\n{id:02}")),
            _ => ("200 OK", format!("hello {id}")),
        };
        let answer = read_until(&mut client, &end).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{id}: {answer}");
    }
    drop(client);
    let metrics = server.stop().await;
    let accepted = r#"topline_http_connections_accepted_total{listener="public"} 1"#;
    assert!(metrics.contains(accepted), "{metrics}");
}

#[tokio::test]
async fn an_answer_does_not_wait_for_the_rest_of_the_next_request() {
    let server = Server::start(ListenerConfig::default()).await;
    let requests = "GET /hello/1 HTTP/1.1\r\nhost: x\r\n\r\nGET /hello/2 HTTP/1.1\r\nho";
    let mut client = send(server.address, requests).await;
    read_until(&mut client, "hello 1").await;
    client.write_all(b"st: x\r\n\r\n").await.unwrap();
    read_until(&mut client, "hello 2").await;
    server.stop().await;
}

#[tokio::test]
async fn a_body_in_many_chunks_is_read_whole() {
    let server = Server::start(ListenerConfig::default()).await;
    let mut client = send(
        server.address,
        "POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
    )
    .await;
    for _ in 0..ECHO_LIMIT / 1000 {
        client.write_all(format!("3e8\r\n{}\r\n", "a".repeat(1000)).as_bytes()).await.unwrap();
    }
    client.write_all(b"0\r\n\r\n").await.unwrap();
    let answer = read_until(&mut client, &format!("\r\n\r\n{}", "a".repeat(ECHO_LIMIT))).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{}", &answer[..200]);
    server.stop().await;
}
