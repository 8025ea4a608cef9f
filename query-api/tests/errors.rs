//! What is wrong is named, with the status that says whose fault it is.

mod common;

use common::Server;
use query_api::Args;
use reqwest::Method;
use window::{Config, WindowKind};

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong() {
    let mut server = Server::start().await;
    server.shop.sell(&[(7, 5, 42)]);
    let kinds = "expected one of all, day, 24h, 1h, 5m, 1m";
    let cases = [
        ("/items/store/-1", 400, "storeID: '-1' is not a whole number of 0 or more".to_owned()),
        ("/items/store/abc", 400, "storeID: 'abc' is not a whole number of 0 or more".to_owned()),
        (
            "/items/store/4294967296",
            400,
            "storeID: 4294967296 is larger than 4294967295".to_owned(),
        ),
        (
            "/items/top10/18446744073709551616",
            400,
            "itemID: 18446744073709551616 is larger than 18446744073709551615".to_owned(),
        ),
        ("/items/store/8", 404, "nothing has been sold in store 8".to_owned()),
        ("/items/top10/4294967296", 404, "nothing has been sold of item 4294967296".to_owned()),
        ("/v1/items/9/top-stores", 404, "nothing has been sold of item 9".to_owned()),
        (
            "/v1/stores/x/top-items",
            400,
            "storeID: 'x' is not a whole number of 0 or more".to_owned(),
        ),
        ("/v1/top-items?window=2h", 400, format!("window: '2h' is not a window: {kinds}")),
        ("/v1/top-items?k=0", 400, "k: 0 is out of range, it must be between 1 and 100".to_owned()),
        (
            "/v1/top-items?k=101",
            400,
            "k: 101 is out of range, it must be between 1 and 100".to_owned(),
        ),
        ("/v1/top-items?k=ten", 400, "k: 'ten' is not a whole number of 0 or more".to_owned()),
        ("/v1/top-items?k=1&k=2", 400, "query parameter 'k' is given more than once".to_owned()),
        (
            "/v1/top-items?limit=5",
            400,
            "unknown query parameter 'limit': expected window, date, k".to_owned(),
        ),
        (
            "/v1/top-items?window=day&date=20210230",
            400,
            "date: '20210230' is not a date: there is no such day in the calendar".to_owned(),
        ),
        (
            "/v1/top-items?date=20210101",
            400,
            "date: only goes with window=day, not with window=all".to_owned(),
        ),
        (
            "/v1/stores/7/top-items?window=day&date=20200101",
            404,
            "the date 20200101 is not kept: the dates kept are 20201004 to 20210101".to_owned(),
        ),
        ("/index.html", 404, "there is no such path".to_owned()),
        ("/items/store/", 404, "there is no such path".to_owned()),
        ("/items/store/7/", 404, "there is no such path".to_owned()),
        ("/v1/stores/7", 404, "there is no such path".to_owned()),
    ];
    for (path, status, message) in cases {
        assert_eq!(server.error(server.get(path)).await, (status, message), "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn other_methods_are_refused() {
    let server = Server::start().await;
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let response = server.request(method, "/items/store/7").send().await.unwrap();
        assert_eq!(response.headers()["allow"], "GET, HEAD");
        let error = common::message(response).await;
        assert_eq!(error, (405, "this path does not have that method: use GET, HEAD".to_owned()));
    }
    server.stop().await;
}

#[tokio::test]
async fn bad_headers_are_told_what_is_wrong() {
    let mut server = Server::start().await;
    server.shop.sell(&[(7, 5, 42)]);
    let cases = [
        (
            ("Topline-Wait-For", "5"),
            "Topline-Wait-For: '5' is not a position: expected partition:offset pairs such as 0:118,3:97",
        ),
        (
            ("Topline-Wait-For", "2:0"),
            "Topline-Wait-For: there is no partition 2: the partitions are 0 to 1",
        ),
        (
            ("Topline-Max-Staleness", "-1"),
            "Topline-Max-Staleness: '-1' is not a whole number of 0 or more (milliseconds)",
        ),
    ];
    for ((name, value), message) in cases {
        let error = server.error(server.get("/items/store/7").header(name, value)).await;
        assert_eq!(error, (400, message.to_owned()));
    }
    let twice = server
        .get("/items/store/7")
        .header("Topline-Wait-For", "0:0")
        .header("Topline-Wait-For", "1:0");
    assert_eq!(
        server.error(twice).await,
        (400, "Topline-Wait-For: given more than once".to_owned())
    );
    server.stop().await;
}

#[tokio::test]
async fn a_window_that_is_not_kept_is_refused_with_those_that_are() {
    let window =
        Config { kinds: vec![WindowKind::Hour1, WindowKind::Day], k: 5, ..Config::default() };
    let mut server = Server::start_with(window, &Args::default()).await;
    server.shop.ready();
    let message = "no business date has been seen yet".to_owned();
    assert_eq!(server.error(server.get("/v1/top-items?window=day")).await, (404, message));
    server.shop.sell(&[(7, 5, 42)]);
    let message = "the window '5m' is not kept here, only day, 1h".to_owned();
    assert_eq!(server.error(server.get("/v1/top-items?window=5m")).await, (400, message));
    let message = "the window 'all' is not kept here, only day, 1h".to_owned();
    assert_eq!(server.error(server.get("/items/store/7")).await, (400, message));
    let message = "k: 6 is out of range, it must be between 1 and 5".to_owned();
    assert_eq!(server.error(server.get("/v1/top-items?window=1h&k=6")).await, (400, message));
    server.body("/v1/top-items?window=1h").await;
    server.stop().await;
}
