//! With a token set, only those who send it may write.

mod common;

use common::{ITEM, PATH, Server, quiet};
use ingest::IngestArgs;

#[tokio::test]
async fn writing_needs_the_token() {
    let args = IngestArgs { write_token: Some("secret".parse().unwrap()), ..quiet() };
    let server = Server::start(args, 1).await;
    let mut client = server.client().await;
    let json = "content-type: application/json\r\n";
    for path in [PATH, "/v1/purchases"] {
        for authorization in
            ["", "authorization: Bearer wrong\r\n", "authorization: Basic secret\r\n"]
        {
            let headers = format!("{json}{authorization}");
            let answer = client.post(path, &headers, ITEM.as_bytes()).await;
            assert_eq!(answer.status, 401, "{path} {authorization}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            answer.message();
        }
    }
    let headers = format!("{json}authorization: Bearer secret\r\n");
    assert_eq!(client.post(PATH, &headers, ITEM.as_bytes()).await.status, 201);
    assert_eq!(server.metric(r#"topline_ingest_rejected_total{reason="unauthorized"}"#), Some(6.0));
    server.stop().await;
}
