//! While a partition is being recovered, there is no answer rather than an empty one.

mod common;

use common::Server;
use query_api::Args;
use window::Config;

#[tokio::test]
async fn reads_are_refused_until_every_partition_is_ready() {
    let mut server = Server::start_with(Config::default(), &Args::default()).await;
    server.shop.sell(&[(7, 5, 42)]);
    let message = "the lists are still being recovered: 2 of 2 partitions are missing";
    for path in ["/items/store/7", "/items/top10/9", "/v1/top-items", "/v1/stores/1/top-items"] {
        let response = server.get(path).send().await.unwrap();
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(common::message(response).await, (503, message.to_owned()));
    }
    server.shop.ready();
    server.body("/items/store/7").await;
    server.shop.not_ready(1);
    let message = "the lists are still being recovered: 1 of 2 partitions are missing".to_owned();
    assert_eq!(server.error(server.get("/items/store/7")).await, (503, message));
    server.shop.ready();
    server.body("/items/store/7").await;
    server.stop().await;
}
