//! Entity tags, HEAD, and the description of the API.

mod common;

use common::{QUIET, Server, purchase_path};

#[test]
fn what_has_not_changed_is_not_sent_again() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &QUIET);
    let sell = |item| {
        let body = format!(r#"{{"items":[{{"ItemID":{item},"numberOfItems":1}}]}}"#);
        let answer = server.post(&purchase_path(7, "20210101"), &body);
        answer.header("topline-position").unwrap().to_owned()
    };
    let mut position = sell(5);
    for path in ["/items/store/7", "/v1/stores/7/top-items", "/v1/top-items?k=3", "/v1/top-stores"]
    {
        let answer = server.get_at(path, &position);
        let etag = answer.header("etag").unwrap().to_owned();
        assert_eq!(etag.starts_with("W/"), path.starts_with("/v1"), "{etag}");
        let known = [("if-none-match", &*etag)];
        let same = server.request("GET", path, &known, b"");
        assert_eq!((same.parts(), same.header("etag")), ((304, ""), Some(&*etag)), "{path}");
        assert_eq!(same.header("topline-position"), answer.header("topline-position"));

        let head = server.request("HEAD", path, &[], b"");
        let without_date = |answer: &common::Answer| {
            let mut headers = answer.headers.clone();
            headers.retain(|(name, _)| name != "date");
            headers
        };
        assert_eq!(head.parts(), (200, ""), "{path}");
        assert_eq!(without_date(&head), without_date(&answer), "{path}");

        position = sell(6);
        let changed = [known[0], ("Topline-Wait-For", &position)];
        let changed = server.request("GET", path, &changed, b"");
        assert_eq!(changed.status, 200, "{path}");
        assert_ne!(changed.header("etag"), Some(&*etag), "{path}");
    }
}

#[test]
fn the_description_names_every_call() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &QUIET);
    let answer = server.get("/openapi.json");
    let description = answer.json();
    assert!(description["openapi"].as_str().unwrap().starts_with("3."));
    let paths: Vec<_> = description["paths"].as_object().unwrap().keys().collect();
    for path in [
        "/purchase/{storeID}/customer/{custID}/date/{date}",
        "/items/store/{storeID}",
        "/items/top10/{itemID}",
        "/v1/stores/{storeID}/top-items",
        "/v1/top-items",
        "/v1/items/{itemID}/top-stores",
        "/v1/top-stores",
        "/v1/purchases",
    ] {
        assert!(paths.iter().any(|known| *known == path), "{path} is not in {paths:?}");
        // What is described is there: a path that is not there is a 404 of another text.
        let path = path.replace("{date}", "20210101").replace(['{', '}'], "");
        let (status, message) = server.request("DELETE", &path, &[], b"").error();
        assert_eq!(status, 405, "{path}: {message}");
    }
}
