//! Clients that are slow to ask, or slow to take their answer, lose their connection; those that
//! wait for the server do not.

mod common;

use std::time::Duration;

use common::{Server, read_until, rest, send};
use http_server::ListenerConfig;

const SHORT: Duration = Duration::from_millis(60);

#[tokio::test]
async fn a_head_that_does_not_end_is_cut() {
    let config = ListenerConfig { header_timeout: SHORT, ..ListenerConfig::default() };
    let server = Server::start(config).await;
    let mut client = send(server.address, "GET /hello/5 HTTP/1.1\r\nhost:").await;
    assert_eq!(rest(&mut client).await, b"");
    // A second request of a connection has the same limit.
    let mut client = send(server.address, "GET /hello/5 HTTP/1.1\r\nhost: x\r\n\r\n").await;
    read_until(&mut client, "hello 5").await;
    let client_again = tokio::io::AsyncWriteExt::write_all(&mut client, b"GET /hel").await;
    client_again.unwrap();
    assert_eq!(rest(&mut client).await, b"");
    let metrics = server.stop().await;
    let expired = r#"topline_http_connections_expired_total{limit="header",listener="public"} 2"#;
    assert!(metrics.contains(expired), "{metrics}");
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_waiting_one_is_not() {
    let config = ListenerConfig {
        idle_timeout: SHORT,
        header_timeout: SHORT,
        write_timeout: SHORT,
        ..ListenerConfig::default()
    };
    let server = Server::start(config).await;
    let mut waiting = send(server.address, "GET /wait HTTP/1.1\r\nhost: x\r\n\r\n").await;
    server.waiting.notified().await;
    // These two come later and are gone before the first has its answer.
    let mut unused = send(server.address, "").await;
    assert_eq!(rest(&mut unused).await, b"");
    let mut used = send(server.address, "GET /hello/5 HTTP/1.1\r\nhost: x\r\n\r\n").await;
    read_until(&mut used, "hello 5").await;
    assert_eq!(rest(&mut used).await, b"");
    server.go.notify_one();
    read_until(&mut waiting, "waited").await;
    drop(waiting);
    let metrics = server.stop().await;
    let expired = r#"topline_http_connections_expired_total{limit="idle",listener="public"} 2"#;
    assert!(metrics.contains(expired), "{metrics}");
}

#[tokio::test]
async fn an_answer_that_is_not_taken_is_cut() {
    let config = ListenerConfig { write_timeout: SHORT, ..ListenerConfig::default() };
    let server = Server::start(config).await;
    let mut client = send(server.address, "GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let expired = r#"topline_http_connections_expired_total{limit="write",listener="public"} 1"#;
    while !server.metrics().contains(expired) {
        tokio::task::yield_now().await;
    }
    assert!(rest(&mut client).await.len() < common::LARGE);
    server.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_taken_slowly_is_not_cut() {
    let config = ListenerConfig {
        write_timeout: Duration::from_secs(30),
        idle_timeout: SHORT,
        ..ListenerConfig::default()
    };
    let server = Server::start(config).await;
    let mut client = send(server.address, "GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
    // As slow as two other connections, one after the other, take to be closed as idle.
    for _ in 0..2 {
        let mut idle = send(server.address, "").await;
        assert_eq!(rest(&mut idle).await, b"");
        let mut part = vec![0; common::LARGE / 4];
        tokio::io::AsyncReadExt::read_exact(&mut client, &mut part).await.unwrap();
    }
    let tail = rest(&mut client).await;
    assert!(tail.len() > common::LARGE / 2, "{}", tail.len());
    server.stop().await;
}
