//! Read your writes: a GET waits for the position that a POST returned, but not for ever.

mod common;

use std::time::Duration;

use common::Server;
use query_api::Args;
use window::Config;

#[tokio::test]
async fn a_get_waits_until_the_view_has_the_position() {
    let mut server = Server::start().await;
    server.shop.sell(&[(7, 5, 42)]);
    let request = server.get("/items/store/7").header("Topline-Wait-For", "0:2,1:2");
    let waiting = tokio::spawn(request.send());
    while server.metrics.view.waiters.get() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished());
    server.shop.sell(&[(7, 5, 1)]);
    let response = waiting.await.unwrap().unwrap();
    assert_eq!(response.text().await.unwrap(), r#"{"stores":[{"itemID":5,"numberOfItems":43}]}"#);
    assert_eq!(server.metrics.view.waiters.get(), 0);
    server.stop().await;
}

#[tokio::test]
async fn the_wait_is_bounded_in_time_and_in_number() {
    let args = Args { wait_timeout: Duration::from_millis(20), ..Args::default() };
    let mut server = Server::start_with(Config::default(), &args).await;
    server.shop.ready();
    server.shop.sell(&[(7, 5, 42)]);
    let late = server.get("/items/store/7").header("Topline-Wait-For", "0:1,1:9");
    let response = late.send().await.unwrap();
    assert_eq!(response.headers()["retry-after"], "1");
    let message = "Topline-Wait-For: partition 1 has been applied up to offset 1, not yet to 9";
    assert_eq!(common::message(response).await, (503, message.to_owned()));
    server.stop().await;

    let args = Args { max_waiters: 1, ..Args::default() };
    let mut server = Server::start_with(Config::default(), &args).await;
    server.shop.ready();
    server.shop.sell(&[(7, 5, 42)]);
    let waiting =
        tokio::spawn(server.get("/items/store/7").header("Topline-Wait-For", "0:2").send());
    while server.metrics.view.waiters.get() == 0 {
        tokio::task::yield_now().await;
    }
    let second = server.get("/items/store/7").header("Topline-Wait-For", "1:2");
    let message = "too many requests wait for a position".to_owned();
    assert_eq!(server.error(second).await, (503, message));
    let there = server.get("/items/store/7").header("Topline-Wait-For", "1:1");
    assert_eq!(there.send().await.unwrap().status(), 200);
    server.shop.sell(&[]);
    assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
    server.stop().await;
}
