//! The calls of the existing clients, byte for byte.

mod common;

use common::{Server, header};

#[tokio::test]
async fn the_top_10_lists_are_as_they_always_were() {
    let mut server = Server::start().await;
    server.shop.sell(&[(7, 5, 42), (7, 6, 42), (7, 4, 1), (7, 9, 0), (8, 5, 43), (0, 0, 1)]);

    assert_eq!(
        server.body("/items/store/7").await,
        r#"{"stores":[{"itemID":5,"numberOfItems":42},{"itemID":6,"numberOfItems":42},{"itemID":4,"numberOfItems":1}]}"#
    );
    assert_eq!(
        server.body("/items/top10/5").await,
        r#"{"stores":[{"storeID":8,"numberOfItems":43},{"storeID":7,"numberOfItems":42}]}"#
    );
    assert_eq!(
        server.body("/items/store/0").await,
        r#"{"stores":[{"itemID":0,"numberOfItems":1}]}"#
    );
    assert_eq!(
        server.body("/items/top10/0").await,
        r#"{"stores":[{"storeID":0,"numberOfItems":1}]}"#
    );

    let lines: Vec<_> = (0..15).map(|n| (3, 100 + n, 50 - n)).collect();
    server.shop.sell(&lines);
    let body = server.body("/items/store/3").await;
    assert_eq!(body.matches("itemID").count(), 10, "{body}");
    assert!(body.contains(r#"{"itemID":109,"numberOfItems":41}]}"#), "{body}");

    let response = server.get("/items/store/7").send().await.unwrap();
    assert_eq!(header(&response, "content-type"), "application/json");
    let position = format!("{}:2", server.shop.partition(7));
    assert_eq!(header(&response, "topline-position"), position);
    let response = server.get("/items/top10/5").send().await.unwrap();
    assert_eq!(header(&response, "topline-position"), "0:2,1:2");
    server.stop().await;
}
