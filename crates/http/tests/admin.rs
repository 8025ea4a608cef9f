//! The admin listener says how the process is.

mod common;

use common::exchange;
use http_server::{ListenerConfig, Readiness, RouteTable, admin_routes, serve};
use telemetry::Metrics;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn metrics_health_and_readiness() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let metrics = Metrics::new().unwrap();
    let readiness = Readiness::new();
    let view = readiness.condition("view", "recovering partition 3");
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(serve(
        listener,
        RouteTable::new(&metrics.http).with(admin_routes(metrics.registry.clone(), readiness)),
        ListenerConfig::default(),
        metrics.http.listener("admin"),
        shutdown.clone(),
    ));
    let get =
        async |path| exchange(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
    let answer = get("/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let expected =
        r#"{"ready":false,"notReady":[{"name":"view","reason":"recovering partition 3"}]}"#;
    assert!(answer.ends_with(expected), "{answer}");
    assert!(get("/healthz").await.ends_with(r#"{"status":"ok"}"#));
    view.ready();
    let answer = get("/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(r#"{"ready":true}"#));
    let answer = get("/metrics").await;
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    let line = r#"topline_http_requests_total{route="/readyz",service="admin",status="503"} 1"#;
    assert!(answer.contains(line), "{answer}");
    shutdown.cancel();
    server.await.unwrap().unwrap();
}
