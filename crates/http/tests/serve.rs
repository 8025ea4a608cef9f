//! The listener answers through the filters, and tells unknown paths from wrong methods.

mod common;

use common::{Server, exchange};

#[tokio::test]
async fn requests_reach_the_filters_and_others_are_refused() {
    let server = Server::start(http_server::ListenerConfig::default()).await;
    let answer = exchange(server.address, "GET /hello/5 HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("hello 5"), "{answer}");

    let answer = exchange(server.address, "GET /hello/x HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
    let message = r#"{"message":"storeID: 'x' is not a whole number of 0 or more"}"#;
    assert!(answer.ends_with(message), "{answer}");

    let answer = exchange(server.address, "GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert!(answer.ends_with(r#"{"message":"there is no such path"}"#), "{answer}");

    let answer = exchange(server.address, "DELETE /hello/5 HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");

    let metrics = server.stop().await;
    for line in [
        r#"topline_http_requests_total{route="/hello/{storeID}",service="test",status="200"} 1"#,
        r#"topline_http_requests_total{route="/hello/{storeID}",service="test",status="400"} 1"#,
        r#"topline_http_requests_total{route="/hello/{storeID}",service="test",status="405"} 1"#,
        r#"topline_http_requests_total{route="unknown",service="none",status="404"} 1"#,
        r#"topline_http_connections{listener="public"} 0"#,
        r#"topline_http_connections_accepted_total{listener="public"} 4"#,
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
}
