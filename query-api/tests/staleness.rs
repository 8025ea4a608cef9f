//! A list that lags says so, and is refused to whom it is too old.

mod common;

use common::Server;

#[tokio::test]
async fn what_is_too_old_is_not_answered() {
    let mut server = Server::start().await;
    server.shop.sell(&[(7, 5, 42)]);
    let p = server.shop.partition(7);
    let fresh = server.get("/items/store/7").header("Topline-Max-Staleness", "0");
    assert_eq!(fresh.send().await.unwrap().status(), 200);

    // The log has a batch more; the one before was appended in 2021.
    server.ends.set(p, 2);
    let old = server.get("/items/store/7").header("Topline-Max-Staleness", "1000");
    let response = old.send().await.unwrap();
    assert_eq!(response.headers()["retry-after"], "1");
    let (status, message) = common::message(response).await;
    assert_eq!(status, 503);
    let age: u64 = message
        .strip_prefix("the list is up to ")
        .and_then(|rest| rest.split_once(" ms old, and Topline-Max-Staleness allows 1000 ms"))
        .unwrap()
        .0
        .parse()
        .unwrap();
    // A stream of events begins with what is demanded, too.
    let events =
        server.get("/v1/stores/7/top-items/events").header("Topline-Max-Staleness", "1000");
    assert_eq!(events.send().await.unwrap().status(), 503);
    let later = server.get("/v1/stores/7/top-items/events").header("Topline-Wait-For", "99:1");
    assert_eq!(later.send().await.unwrap().status(), 400);

    let patient = format!("{}", age + 3_600_000);
    let request = server.get("/v1/stores/7/top-items").header("Topline-Max-Staleness", patient);
    let body = request.send().await.unwrap().text().await.unwrap();
    let (_, lag) = body.split_once(r#""lagMs":"#).unwrap();
    let lag: u64 = lag.trim_end_matches('}').parse().unwrap();
    assert!((age..age + 3_600_000).contains(&lag), "{lag}");
    server.stop().await;
}
