//! The native lists: every window, live and final, of a store, of an item, and of the chain.

mod common;

use common::{Server, header};

#[tokio::test]
async fn every_window_is_answered_with_its_bounds_and_its_age() {
    let mut server = Server::start().await;
    // Store 0 is in partition 0, store 1 in partition 0 or 1: the position shows which.
    server.shop.sell(&[(0, 5, 42), (0, 6, 3), (1, 5, 50), (3, 5, 1)]);
    let as_of =
        r#""asOf":{"position":"0:1,1:1","watermark":"2021-01-01T09:29:54.000Z","lagMs":0}}"#;
    let p = server.shop.partition(0);
    let of_store = format!(
        r#""asOf":{{"position":"{p}:1","watermark":"2021-01-01T09:29:5{}.000Z","lagMs":0}}}}"#,
        5 - p
    );

    assert_eq!(
        server.body("/v1/stores/0/top-items").await,
        format!(
            r#"{{"window":{{"kind":"all","final":false}},"items":[{{"itemID":5,"quantity":42}},{{"itemID":6,"quantity":3}}],{of_store}"#
        )
    );
    assert_eq!(
        server.body("/v1/items/5/top-stores?window=1h&k=2").await,
        format!(
            r#"{{"window":{{"kind":"1h","start":"2021-01-01T08:30:10.000Z","end":"2021-01-01T09:30:10.000Z","final":false}},"stores":[{{"storeID":1,"quantity":50}},{{"storeID":0,"quantity":42}}],{as_of}"#
        )
    );
    assert_eq!(
        server.body("/v1/top-items?window=day&date=20210101").await,
        format!(
            r#"{{"window":{{"kind":"day","date":"20210101","start":"2021-01-01T00:00:00.000Z","end":"2021-01-02T00:00:00.000Z","final":false}},"items":[{{"itemID":5,"quantity":93}},{{"itemID":6,"quantity":3}}],{as_of}"#
        )
    );
    assert_eq!(
        server.body("/v1/top-stores?window=5m&k=1").await,
        format!(
            r#"{{"window":{{"kind":"5m","start":"2021-01-01T09:25:10.000Z","end":"2021-01-01T09:30:10.000Z","final":false}},"stores":[{{"storeID":1,"quantity":50}}],{as_of}"#
        )
    );
    for kind in ["24h", "1m"] {
        let body = server.body(&format!("/v1/stores/0/top-items?window={kind}")).await;
        assert!(body.contains(&format!(r#"{{"kind":"{kind}","start":"#)), "{body}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_closed_day_is_final_and_the_newest_date_is_the_default() {
    let mut server = Server::start().await;
    server.shop.sell(&[(0, 5, 42), (1, 5, 50)]);
    server.shop.close_today();
    server.shop.sell(&[(0, 6, 1)]);

    let closed = [
        ("/v1/stores/0/top-items", r#""items":[{"itemID":5,"quantity":42}]"#),
        (
            "/v1/items/5/top-stores",
            r#""stores":[{"storeID":1,"quantity":50},{"storeID":0,"quantity":42}]"#,
        ),
        ("/v1/top-items", r#""items":[{"itemID":5,"quantity":92}]"#),
    ];
    for (path, list) in closed {
        let body = server.body(&format!("{path}?window=day&date=20210101")).await;
        assert!(
            body.contains(r#""date":"20210101","#) && body.contains(r#""final":true}"#),
            "{body}"
        );
        assert!(body.contains(list), "{body}");
    }
    let today = server.body("/v1/top-items?window=day").await;
    assert!(
        today.contains(r#""date":"20210103","#) && today.contains(r#""final":false}"#),
        "{today}"
    );
    assert!(today.contains(r#""items":[{"itemID":6,"quantity":1}]"#), "{today}");
    let all = server.body("/v1/top-items?window=all").await;
    assert!(all.contains(r#"[{"itemID":5,"quantity":92},{"itemID":6,"quantity":1}]"#), "{all}");
    server.stop().await;
}

#[tokio::test]
async fn the_parameters_may_be_encoded() {
    let mut server = Server::start().await;
    server.shop.sell(&[(0, 5, 42)]);
    let response = server.get("/v1/top-items?%77indow=%61ll&k=1").send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "content-type"), "application/json");
    server.stop().await;
}
