//! At the cap, a new connection waits until another has closed.

mod common;

use common::{Server, exchange, read_until, send};
use http_server::ListenerConfig;

#[tokio::test]
async fn a_connection_over_the_cap_waits() {
    let config = ListenerConfig { max_connections: 1, ..ListenerConfig::default() };
    let server = Server::start(config).await;
    let mut first = send(server.address, "GET /wait HTTP/1.1\r\nhost: x\r\n\r\n").await;
    server.waiting.notified().await;
    let address = server.address;
    let request = "GET /hello/5 HTTP/1.1\r\nhost: x\r\n\r\n";
    let second = tokio::spawn(async move { exchange(address, request).await });
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(!second.is_finished());
    server.go.notify_one();
    read_until(&mut first, "waited").await;
    drop(first);
    assert!(second.await.unwrap().ends_with("hello 5"));
    server.stop().await;
}
