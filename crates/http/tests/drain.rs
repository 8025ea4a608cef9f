//! On shutdown the listener closes, requests at hand are answered, and what hangs is cut.

mod common;

use std::time::Duration;

use common::{Server, read_until, rest, send};
use http_server::ListenerConfig;
use tokio::net::TcpStream;

#[tokio::test]
async fn requests_at_hand_are_answered() {
    let server = Server::start(ListenerConfig::default()).await;
    let mut unused = send(server.address, "").await;
    let mut idle = send(server.address, "GET /hello/5 HTTP/1.1\r\nhost: x\r\n\r\n").await;
    read_until(&mut idle, "hello 5").await;
    let mut waiting = send(server.address, "GET /wait HTTP/1.1\r\nhost: x\r\n\r\n").await;
    server.waiting.notified().await;
    server.shutdown.cancel();
    assert_eq!(rest(&mut idle).await, b"");
    assert_eq!(rest(&mut unused).await, b"");
    assert!(TcpStream::connect(server.address).await.is_err(), "the listener is closed");
    server.go.notify_one();
    let answer = String::from_utf8(rest(&mut waiting).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("waited"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_answered_in_time_is_cut() {
    let config =
        ListenerConfig { drain_timeout: Duration::from_millis(20), ..ListenerConfig::default() };
    let server = Server::start(config).await;
    let mut waiting = send(server.address, "GET /wait HTTP/1.1\r\nhost: x\r\n\r\n").await;
    server.waiting.notified().await;
    let metrics = server.stop().await;
    assert_eq!(rest(&mut waiting).await, b"");
    assert!(metrics.contains(r#"topline_http_connections{listener="public"} 0"#), "{metrics}");
}
