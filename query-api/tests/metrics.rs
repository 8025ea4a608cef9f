//! What the view has counted gets into the metrics, each thing once.

mod common;

use common::Server;

#[tokio::test]
async fn answers_rendered_and_used_again_are_counted() {
    let mut server = Server::start().await;
    server.shop.sell(&[(7, 5, 42), (7, 6, 1)]);
    for path in ["/items/store/7", "/items/store/7", "/v1/top-items", "/items/store/7"] {
        server.body(path).await;
    }
    let metrics = &server.metrics.view;
    for _ in 0..2 {
        query_api::record(&server.shop.view, metrics);
        assert_eq!((metrics.render_hits.get(), metrics.render_misses.get()), (2, 2));
        // One store with two rows, two items with one each.
        assert_eq!((metrics.lists.get(), metrics.rows.get()), (3, 4));
    }
    server.shop.sell(&[(7, 5, 1)]);
    server.body("/items/store/7").await;
    query_api::record(&server.shop.view, metrics);
    assert_eq!((metrics.render_hits.get(), metrics.render_misses.get()), (2, 3));
    server.stop().await;
}
