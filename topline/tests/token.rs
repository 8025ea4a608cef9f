//! A server whose writers need a token.

mod common;

use common::{JSON, NDJSON, Server, command, purchase_path};

#[test]
fn only_writers_with_the_token_may_write() {
    let data = tempfile::tempdir().unwrap();
    let mut command = command(data.path(), &[]);
    command.env("TOPLINE_WRITE_TOKEN", "s3cret");
    let server = Server::spawn(command).unwrap_or_else(|ended| panic!("{ended:?}"));
    let path = purchase_path(7, "20210101");
    let body = br#"{"items":[{"ItemID":5,"numberOfItems":1}]}"#;
    for (authorization, message) in [
        (None, "writing needs a header Authorization: Bearer …"),
        (Some("Basic s3cret"), "writing needs a header Authorization: Bearer …"),
        (Some("Bearer wrong"), "the bearer token is wrong"),
        (Some("Bearer s3cre"), "the bearer token is wrong"),
    ] {
        for (path, content_type) in [(&*path, JSON), ("/v1/purchases", NDJSON)] {
            let mut headers = vec![content_type];
            headers.extend(authorization.map(|value| ("authorization", value)));
            let answer = server.request("POST", path, &headers, body);
            assert_eq!(answer.error(), (401, message.to_owned()));
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
    assert_eq!(
        server.get("/items/store/7").error().0,
        404,
        "readers need none, and nothing counts"
    );
    let headers = [JSON, ("authorization", "Bearer s3cret")];
    let answer = server.request("POST", &path, &headers, body);
    assert_eq!(answer.parts(), (201, ""));
    let ended = server.terminate();
    assert!(!ended.log.contains("s3cret"), "{}", ended.log);
}
