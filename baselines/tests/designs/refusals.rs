//! What is wrong is refused by name, and nothing of it is taken.

use reqwest::Method;

use crate::common::{Client, Deployment, for_each_design};

for_each_design!(scenario);

const GOOD: &str = r#"{"items":[{"ItemID":5,"numberOfItems":1}]}"#;
const PATH: &str = "/purchase/7/customer/1000/date/20210101";
const JSON: (&str, &str) = ("content-type", "application/json");

async fn scenario(deployment: Deployment) {
    let baseline = deployment.start().await;
    let client = &baseline.client;
    let no_number = |name: &str, text: &str| {
        (400, format!("{name}: '{text}' is not a whole number of 0 or more"))
    };
    for (path, expected) in [
        ("/purchase/x/customer/1000/date/20210101", no_number("storeID", "x")),
        ("/purchase/7/customer/-1/date/20210101", no_number("custID", "-1")),
        (
            "/purchase/4294967296/customer/1000/date/20210101",
            (400, "storeID: 4294967296 is larger than 4294967295".into()),
        ),
        (
            "/purchase/7/customer/1000/date/20210230",
            (400, "date: '20210230' is not a date: there is no such day in the calendar".into()),
        ),
        ("/purchase/7/customer/1000", (404, "there is no such path".into())),
    ] {
        assert_eq!(client.post(path, GOOD).await.error(), expected, "{path}");
    }
    for body in [
        "",
        "{",
        "null",
        "{}",
        r#"{"items":[]}"#,
        r#"{"items":[{"ItemID":5}]}"#,
        r#"{"items":[{"ItemID":5,"numberOfItems":-1}]}"#,
        r#"{"items":[{"ItemID":5,"numberOfItems":1},{"ItemID":"x","numberOfItems":1}]}"#,
        r#"{"items":[{"ItemID":5,"numberOfItems":1}]} x"#,
    ] {
        assert_eq!(client.post(PATH, body).await.error().0, 400, "{body}");
    }
    let deep = format!(r#"{{"x":{}"#, "[".repeat(100_000));
    assert_eq!(client.post(PATH, &deep).await.error().0, 400);
    // What is refused before it is read to its end costs the connection.
    let client = || Client::new(baseline.address);
    let large = format!("{GOOD}{}", " ".repeat(256 * 1024));
    assert_eq!(client().post(PATH, &large).await.error().0, 413);
    for headers in
        [&[][..], &[("content-type", "text/plain")], &[JSON, ("content-encoding", "gzip")]]
    {
        let answer = client().try_request(Method::POST, PATH, headers, GOOD).await.unwrap();
        assert_eq!(answer.error().0, 415, "{headers:?}");
    }
    for (path, expected) in [
        ("/items/store/7", (404, "nothing has been sold in store 7".into())),
        ("/items/top10/5", (404, "nothing has been sold of item 5".into())),
        ("/items/store/x", no_number("storeID", "x")),
        ("/items/top10/1.5", no_number("itemID", "1.5")),
        ("/items/store", (404, "there is no such path".into())),
        (PATH, (405, "this path does not have that method: use POST".into())),
    ] {
        assert_eq!(client().get(path).await.error(), expected, "{path}");
    }
    let recorded = deployment.query("SELECT count(*) FROM purchase").await;
    assert_eq!(recorded[0].get::<_, i64>(0), 0, "nothing was taken");
}
