//! The three calls of the existing clients, byte for byte.

use crate::common::{Deployment, for_each_design};

for_each_design!(scenario);

async fn scenario(deployment: Deployment) {
    let now = deployment.reads_its_writes();
    let baseline = deployment.start().await;
    let client = &baseline.client;
    for body in [
        r#"{"items":[{"ItemID":"123","numberOfItems:":1}]}"#,
        r#"{"items":[{"ItemID":123,"numberOfItems":2}]}"#,
        r#"{"items":[{"numberOfItems":4,"ItemID":"123"},{"ItemID":5,"numberOfItems:":42}]}"#,
        r#" { "items" : [ { "ItemID" : "0" , "numberOfItems" : 3 , "new" : [{}] } ] , "x" : 1 } "#,
        r#"{"items":[{"ItemID":18446744073709551615,"numberOfItems":6}]}"#,
        r#"{"items":[{"ItemID":"99","numberOfItems":0}]}"#,
        r#"{"items":[{"ItemID":"123","numberOfItems":1},{"ItemID":"123","numberOfItems":1}]}"#,
    ] {
        let answer = client.post("/purchase/7/customer/1000/date/20210101", body).await;
        assert_eq!(answer.parts(), (201, ""), "{body}");
        assert_eq!(answer.header("content-length"), Some("0"));
    }
    let expected = concat!(
        r#"{"stores":[{"itemID":5,"numberOfItems":42},{"itemID":123,"numberOfItems":9},"#,
        r#"{"itemID":18446744073709551615,"numberOfItems":6},{"itemID":0,"numberOfItems":3}]}"#,
    );
    client.expect_list("/items/store/7", expected, now).await;
    let store = client.get("/items/store/7").await;
    assert_eq!(store.header("content-type"), Some("application/json"));
    let unknown = client.get("/items/top10/99").await.error();
    assert_eq!(unknown, (404, "nothing has been sold of item 99".to_owned()));

    // More stores than the list is long: ties by smaller id.
    let largest = u64::from(u32::MAX);
    for store in [0, largest, 9, 8, 2, 3, 4, 5, 6, 1, 10] {
        let path = format!("/purchase/{store}/customer/{}/date/00000229", largest - store);
        let answer = client.post(&path, r#"{"items":[{"ItemID":77,"numberOfItems":1}]}"#).await;
        assert_eq!(answer.parts(), (201, ""), "{store}");
    }
    let entries = [0, 1, 2, 3, 4, 5, 6, 8, 9, 10]
        .map(|store| format!(r#"{{"storeID":{store},"numberOfItems":1}}"#));
    let expected = format!(r#"{{"stores":[{}]}}"#, entries.join(","));
    client.expect_list("/items/top10/77", &expected, now).await;
    // The same among items, beyond the half where a sign would turn their order round.
    let items: Vec<u64> = (0..12).map(|n| (1 << 63) - 6 + n).collect();
    let lines = items.iter().rev().map(|id| format!(r#"{{"ItemID":{id},"numberOfItems":5}}"#));
    let body = format!(r#"{{"items":[{}]}}"#, lines.collect::<Vec<_>>().join(","));
    let answer = client.post("/purchase/70/customer/1/date/20210101", &body).await;
    assert_eq!(answer.parts(), (201, ""));
    let entries = items[..10].iter().map(|id| format!(r#"{{"itemID":{id},"numberOfItems":5}}"#));
    let expected = format!(r#"{{"stores":[{}]}}"#, entries.collect::<Vec<_>>().join(","));
    client.expect_list("/items/store/70", &expected, now).await;
    // The existing clients may send any query parameters.
    assert_eq!(client.get("/items/store/70?k=0&x=1").await.parts(), (200, &*expected));
    assert_eq!(client.get("/healthz").await.parts(), (200, r#"{"status":"ok"}"#));
}
