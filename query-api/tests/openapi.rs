//! The description is served, is sound, and names every route.

mod common;

use common::Server;
use query_api::OPENAPI;
use serde_json::Value;

#[tokio::test]
async fn the_description_is_served() {
    let server = Server::start().await;
    assert_eq!(server.body("/openapi.json").await, OPENAPI);
    server.stop().await;
}

#[tokio::test]
async fn every_route_is_described() {
    let server = Server::start().await;
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    for (method, path) in server.routes().iter() {
        let operation = &document["paths"][path][method.as_str().to_lowercase()];
        assert!(operation["responses"]["200"].is_object(), "{method} {path}");
        for name in path.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
            let parameters = operation["parameters"].as_array().unwrap();
            let named = |p: &Value| resolve(&document, p)["name"] == name;
            assert!(parameters.iter().any(named), "{name} of {path}");
        }
    }
    server.stop().await;
}

/// The calls of ingest, which this crate does not know.
#[test]
fn the_posts_are_described() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    for (path, status) in
        [("/purchase/{storeID}/customer/{custID}/date/{date}", "201"), ("/v1/purchases", "200")]
    {
        let responses = document["paths"][path]["post"]["responses"].as_object().unwrap();
        let statuses: Vec<&str> = responses.keys().map(String::as_str).collect();
        let expected = [status, "400", "401", "405", "408", "413", "415", "500", "503"];
        assert_eq!(statuses, expected, "{path}");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let mut references = 0;
    walk(&document, &mut |value| {
        if value.get("$ref").is_some() {
            assert!(resolve(&document, value).is_object(), "{value}");
            references += 1;
        }
    });
    assert!(references > 100);
}

fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).unwrap_or(&Value::Null),
        None => value,
    }
}

fn walk(value: &Value, visit: &mut impl FnMut(&Value)) {
    visit(value);
    match value {
        Value::Array(values) => values.iter().for_each(|value| walk(value, visit)),
        Value::Object(values) => values.values().for_each(|value| walk(value, visit)),
        _ => {}
    }
}
