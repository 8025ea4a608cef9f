//! A list that the client has already is not sent again.

mod common;

use common::{Server, header};
use reqwest::Method;

#[tokio::test]
async fn entity_tags_hold_until_the_list_changes() {
    let mut server = Server::start().await;
    server.shop.sell(&[(7, 5, 42)]);
    for path in ["/items/store/7", "/v1/stores/7/top-items", "/v1/top-items", "/v1/top-stores?k=1"]
    {
        let response = server.get(path).send().await.unwrap();
        let etag = header(&response, "etag");
        assert_eq!(etag.starts_with("W/\""), path.starts_with("/v1"), "{etag}");
        for known in [etag.clone(), "*".to_owned(), format!("\"x\", {etag}")] {
            let response = server.get(path).header("if-none-match", known).send().await.unwrap();
            assert_eq!(response.status(), 304);
            assert_eq!(header(&response, "etag"), etag);
            assert!(response.headers().contains_key("topline-position"));
            assert_eq!(response.text().await.unwrap(), "");
        }
        server.shop.sell(&[(7, 5, 1)]);
        let response = server.get(path).header("if-none-match", &etag).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert_ne!(header(&response, "etag"), etag);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_batch_elsewhere_leaves_the_tag_and_moves_the_position() {
    let mut server = Server::start().await;
    server.shop.sell(&[(7, 5, 42)]);
    let path = "/v1/items/5/top-stores";
    let before = server.get(path).send().await.unwrap();
    server.shop.sell(&[(7, 6, 1)]);
    let after = server.get(path).send().await.unwrap();
    assert_eq!(header(&before, "etag"), header(&after, "etag"));
    assert_eq!(header(&after, "topline-position"), "0:2,1:2");
    assert!(after.text().await.unwrap().contains(r#""asOf":{"position":"0:2,1:2","#));
    server.stop().await;
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let mut server = Server::start().await;
    server.shop.sell(&[(7, 5, 42)]);
    for path in ["/items/store/7", "/items/top10/5", "/v1/top-items?k=3", "/openapi.json"] {
        let get = server.get(path).send().await.unwrap();
        let head = server.request(Method::HEAD, path).send().await.unwrap();
        assert_eq!(head.status(), 200);
        for name in ["content-type", "content-length", "etag", "topline-position"] {
            assert_eq!(head.headers().get(name), get.headers().get(name), "{path} {name}");
        }
        assert_eq!(head.text().await.unwrap(), "");
    }
    let missing = server.request(Method::HEAD, "/items/store/1").send().await.unwrap();
    assert_eq!(missing.status(), 404);
    server.stop().await;
}
