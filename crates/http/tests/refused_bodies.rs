//! A client that sends more than is wanted still gets its answer, instead of a reset.

mod common;

use common::{ECHO_LIMIT, Server, read_until, rest, send};
use http_server::ListenerConfig;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn the_answer_comes_while_the_body_is_on_its_way() {
    let server = Server::start(ListenerConfig::default()).await;
    let size = 100 * ECHO_LIMIT;
    for head in [
        format!("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n"),
        format!("POST /nothing HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n"),
        format!("POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{size:x}\r\n"),
    ] {
        let mut client = send(server.address, &head).await;
        // All of it is sent before the answer is looked at.
        client.write_all(&vec![b'x'; size]).await.unwrap();
        let answer = String::from_utf8(rest(&mut client).await).unwrap();
        let expected = if head.contains("/echo") { "413" } else { "404" };
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{head}: {answer}");
        assert!(answer.ends_with("\"}"), "{answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_coding_that_is_not_known_is_refused_and_the_connection_closed() {
    let server = Server::start(ListenerConfig::default()).await;
    for codings in ["gzip, chunked", "foo, chunked", "foo\r\ntransfer-encoding: chunked"] {
        let next = "GET /hello/2 HTTP/1.1\r\nhost: x\r\n\r\n";
        let head =
            format!("POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: {codings}\r\n\r\n");
        let mut client = send(server.address, &format!("{head}1\r\nx\r\n0\r\n\r\n{next}")).await;
        let answer = String::from_utf8(rest(&mut client).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 501 Not Implemented\r\n"), "{codings}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{codings}: {answer}");
        let message =
            "the body has a transfer coding other than chunked, the only one that is known";
        assert!(answer.ends_with(&format!("{{\"message\":\"{message}\"}}")), "{codings}: {answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_comes_after_its_answer_is_not_taken_for_a_request() {
    let server = Server::start(ListenerConfig::default()).await;
    let hidden = "GET /hello/2 HTTP/1.1\r\nhost: x\r\n\r\n";
    let length = hidden.len();
    let head = format!("GET /hello/1 HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    let mut client = send(server.address, &head).await;
    read_until(&mut client, "hello 1").await;
    // The server may have closed by now: then this fails, which is as good.
    let _ = client.write_all(hidden.as_bytes()).await;
    let after = String::from_utf8(rest(&mut client).await).unwrap();
    assert_eq!(after, "");
    server.stop().await;
}
