//! POSTs that are refused: the reason is named, and nothing of them is taken.

mod common;

use common::{Answer, Client, JSON, NDJSON, QUIET, Server, purchase_path};

const GOOD: &str = r#"{"items":[{"ItemID":5,"numberOfItems":1}]}"#;
const LIMITS: &[&str] = &["--max-purchase-bytes", "2000000", "--max-bulk-bytes", "3000000"];
const PATH: &str = "/purchase/7/customer/1000/date/20210101";

/// A server that has sold one item, and what it says then.
struct Sold {
    server: Server,
    before: Vec<Answer>,
    _data: tempfile::TempDir,
}

impl Sold {
    fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let server = Server::start(data.path(), &[&QUIET[..], LIMITS].concat());
        let answer = server.post(PATH, r#"{"items":[{"ItemID":5,"numberOfItems":42}]}"#);
        let position = answer.header("topline-position").unwrap().to_owned();
        assert_eq!(server.get_at("/items/store/7", &position).status, 200);
        let mut sold = Self { server, before: Vec::new(), _data: data };
        sold.before = sold.lists();
        assert_eq!(
            sold.before[0].parts(),
            (200, r#"{"stores":[{"itemID":5,"numberOfItems":42}]}"#)
        );
        sold
    }

    /// Lists and positions of everything there is. Without ticks the log only grows by purchases.
    fn lists(&self) -> Vec<Answer> {
        ["/items/store/7", "/items/top10/5", "/v1/top-items?k=100", "/v1/top-stores?k=100"]
            .map(|path| {
                let mut answer = self.server.get(path);
                answer.headers.retain(|(name, _)| name != "date");
                answer
            })
            .into()
    }

    /// Nothing was taken, not even into the log; and the server still works.
    fn check_unchanged(&self, purchases: u64, case: &str) {
        assert_eq!(self.lists(), self.before, "{case}");
        let end = self.server.metric("topline_ingest_purchases_total", &[]);
        assert_eq!(end as u64, purchases, "{case}");
    }
}

#[test]
fn wrong_paths_and_bodies_are_refused_by_name() {
    let sold = Sold::start();
    let no_number =
        |name: &str, text: &str| format!("{name}: '{text}' is not a whole number of 0 or more");
    for (path, message) in [
        ("/purchase/x/customer/1000/date/20210101", no_number("storeID", "x")),
        ("/purchase/-1/customer/1000/date/20210101", no_number("storeID", "-1")),
        ("/purchase/1.5/customer/1000/date/20210101", no_number("storeID", "1.5")),
        (
            "/purchase/4294967296/customer/1000/date/20210101",
            "storeID: 4294967296 is larger than 4294967295".to_owned(),
        ),
        ("/purchase/7/customer/+1/date/20210101", no_number("custID", "+1")),
        (
            "/purchase/7/customer/1000/date/20210230",
            "date: '20210230' is not a date: there is no such day in the calendar".to_owned(),
        ),
        (
            "/purchase/7/customer/1000/date/2021-01-01",
            "date: '2021-01-01' is not a date: expected eight digits, yyyyMMdd, such as 20210101"
                .to_owned(),
        ),
    ] {
        assert_eq!(sold.server.post(path, GOOD).error(), (400, message), "{path}");
    }
    let far = sold.server.post(&purchase_path(7, "99991231"), GOOD).error();
    assert_eq!(far.0, 400);
    assert!(far.1.starts_with("date: 99991231 is more than a day ahead of the clock"), "{far:?}");
    sold.check_unchanged(1, "paths");

    for (body, part) in [
        ("", "EOF while parsing"),
        ("{", "EOF while parsing"),
        ("null", "invalid type: null, expected an object with the field items"),
        ("[]", "expected an object with the field items"),
        ("{}", "items is missing"),
        (r#"{"items":null}"#, "items: invalid type: null"),
        (r#"{"items":[]}"#, "items: invalid length 0, expected a list of 1 to 1000 items"),
        (r#"{"items":[{}]}"#, "items[0]: missing field `ItemID`"),
        (r#"{"items":[{"ItemID":5}]}"#, "items[0]: missing field `numberOfItems`"),
        (r#"{"items":[{"numberOfItems":5}]}"#, "items[0]: missing field `ItemID`"),
        (r#"{"items":[{"ItemID":-5,"numberOfItems":1}]}"#, "items[0].ItemID: "),
        (r#"{"items":[{"ItemID":"x","numberOfItems":1}]}"#, "items[0].ItemID: 'x' is not"),
        (r#"{"items":[{"ItemID":"","numberOfItems":1}]}"#, "items[0].ItemID: '' is not"),
        (r#"{"items":[{"ItemID":18446744073709551616,"numberOfItems":1}]}"#, "items[0].ItemID: "),
        (r#"{"items":[{"ItemID":5.5,"numberOfItems":1}]}"#, "items[0].ItemID: "),
        (r#"{"items":[{"ItemID":5,"numberOfItems":-1}]}"#, "items[0].numberOfItems: "),
        (r#"{"items":[{"ItemID":5,"numberOfItems":4294967296}]}"#, "items[0].numberOfItems: "),
        (r#"{"items":[{"ItemID":5,"numberOfItems":1e400}]}"#, "out of range"),
        (r#"{"items":[{"ItemID":5,"numberOfItems":0.5}]}"#, "items[0].numberOfItems: "),
        (r#"{"items":[{"ItemID":5,"numberOfItems":1.0}]}"#, "items[0].numberOfItems: "),
        (r#"{"items":[{"ItemID":5,"numberOfItems":"1"}]}"#, "items[0].numberOfItems: "),
        (
            r#"{"items":[{"ItemID":5,"numberOfItems":1,"ItemID":6}]}"#,
            "items[0].ItemID: the field is given twice",
        ),
        (
            r#"{"items":[{"ItemID":5,"numberOfItems":1,"numberOfItems":1}]}"#,
            "the field is given twice",
        ),
        (
            r#"{"items":[{"ItemID":5,"numberOfItems":1,"numberOfItems:":1}]}"#,
            "the field is given twice",
        ),
        (
            r#"{"items":[{"ItemID":5,"numberOfItems":1}],"items":[]}"#,
            "items: the field is given twice",
        ),
        // The first line is good, the second is not: neither counts.
        (r#"{"items":[{"ItemID":5,"numberOfItems":1},{"ItemID":6}]}"#, "items[1]: missing field"),
        (r#"{"items":[{"ItemID":5,"numberOfItems":1}]} x"#, "trailing characters"),
        (r#"{"items":[{"ItemID":5,"numberOfItems":1}]"#, "EOF while parsing"),
        (
            r#"{"items":[{"ItemID":5,"numberOfItems":1}],"occurredAt":"x"}"#,
            "occurredAt: 'x' is not a time",
        ),
        (
            r#"{"items":[{"ItemID":5,"numberOfItems":1}],"occurredAt":"9998-01-01T00:00:00Z"}"#,
            "is more than 5 minutes ahead of the clock",
        ),
    ] {
        let (status, message) = sold.server.post(PATH, body).error();
        assert_eq!(status, 400, "{body}: {message}");
        assert!(message.contains(part), "{body}: {message}");
    }
    let too_many = vec![r#"{"ItemID":5,"numberOfItems":1}"#; 1001].join(",");
    let (status, message) = sold.server.post(PATH, &format!(r#"{{"items":[{too_many}]}}"#)).error();
    assert_eq!(status, 400);
    assert!(message.starts_with("items: there are more than 1000 items"), "{message}");
    let text = b"{\"items\":[{\"ItemID\":5,\"numberOfItems\":1}],\"\xff\":1}";
    let (status, message) = sold.server.request("POST", PATH, &[JSON], text).error();
    assert_eq!((status, &*message), (400, "the text is not UTF-8 from byte 43 on"));
    sold.check_unchanged(1, "bodies");
}

#[test]
fn deep_nesting_is_refused_in_every_place() {
    let sold = Sold::start();
    for (open, close) in [("[", "]"), (r#"{"items":"#, "}"), (r#"{"x":"#, "}")] {
        let nest = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        for body in [
            nest.clone(),
            format!(r#"{{"items":{nest}"#),
            format!(r#"{{"unknown":{nest}"#),
            format!(r#"{{"items":[{{"ItemID":5,"numberOfItems":1,"x":{nest}"#),
        ] {
            let (status, message) = sold.server.post(PATH, &body).error();
            assert_eq!(status, 400, "{message}");
            let line = sold.server.bulk(&[body]);
            assert_eq!(line.status, 200);
            assert_eq!(line.json()["accepted"], 0);
            assert_eq!(line.json()["rejected"].as_array().unwrap().len(), 1);
        }
    }
    sold.check_unchanged(1, "nesting");
}

#[test]
fn bodies_of_the_wrong_type_or_size_are_refused() {
    let sold = Sold::start();
    let server = &sold.server;
    let message = "the content type must be application/json".to_owned();
    for headers in [
        &[][..],
        &[("content-type", "text/plain")],
        &[("content-type", "application/x-www-form-urlencoded")],
        &[NDJSON],
    ] {
        let answer = server.request("POST", PATH, headers, GOOD.as_bytes());
        assert_eq!(answer.error(), (415, message.clone()), "{headers:?}");
    }
    let encoded = [JSON, ("content-encoding", "gzip")];
    let answer = server.request("POST", PATH, &encoded, GOOD.as_bytes());
    assert_eq!(answer.error(), (415, "the body must not have a content encoding".to_owned()));
    let message =
        "the content type must be application/x-ndjson, application/ndjson or application/jsonl";
    for headers in [&[][..], &[JSON]] {
        let answer = server.request("POST", "/v1/purchases", headers, GOOD.as_bytes());
        assert_eq!(answer.error(), (415, message.to_owned()), "{headers:?}");
    }

    for (path, content_type, limit) in
        [(PATH, JSON.1, 2_000_000), ("/v1/purchases", NDJSON.1, 3_000_000)]
    {
        let message = format!("the body is larger than {limit} bytes, the most this path takes");
        let large = format!("{GOOD}{}", " ".repeat(limit));
        let headers = [("content-type", content_type)];
        let answer = server.request("POST", path, &headers, large.as_bytes());
        assert_eq!(answer.error(), (413, message.clone()), "declared");
        let answer = declared_only(server, path, content_type);
        assert_eq!(answer.error(), (413, message.clone()), "only declared");
        let answer = chunked(server, path, content_type, large.as_bytes());
        assert_eq!(answer.error(), (413, message), "chunked");
    }
    sold.check_unchanged(1, "sizes");
    // Chunks are no reason to refuse.
    assert_eq!(chunked(server, PATH, JSON.1, GOOD.as_bytes()).parts(), (201, ""));
}

/// Says that a large body comes, and waits for the answer.
fn declared_only(server: &Server, path: &str, content_type: &str) -> Answer {
    let mut client = server.client();
    client.send(format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\ncontent-length: \
         99999999999\r\n\r\n"
    ));
    client.answer("POST").expect("an answer")
}

fn chunked(server: &Server, path: &str, content_type: &str, body: &[u8]) -> Answer {
    let mut client = server.client();
    client.send(format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\ntransfer-encoding: \
         chunked\r\n\r\n"
    ));
    for chunk in body.chunks(16_000) {
        client.send([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    }
    client.send("0\r\n\r\n");
    client.answer("POST").expect("an answer")
}

#[test]
fn truncated_bodies_take_nothing() {
    let sold = Sold::start();
    let head = |length: usize| {
        format!(
            "POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n"
        )
    };
    for cut in [0, 1, GOOD.len() / 2, GOOD.len() - 1] {
        let mut client = sold.server.client();
        client.send([head(GOOD.len()).as_bytes(), &GOOD.as_bytes()[..cut]].concat());
        client.finish();
        check_truncated(client, cut);
    }
    // The body would be whole, were there not more announced.
    let mut client = sold.server.client();
    client.send([head(GOOD.len() + 1).as_bytes(), GOOD.as_bytes()].concat());
    client.finish();
    check_truncated(client, GOOD.len());
    // Nor does a client that goes away without a word leave anything.
    let mut client = sold.server.client();
    client.send([head(GOOD.len()).as_bytes(), &GOOD.as_bytes()[..5]].concat());
    drop(client);
    sold.check_unchanged(1, "truncated");
}

/// There is nobody to answer; if there is an answer, it is a refusal.
fn check_truncated(mut client: Client, cut: usize) {
    if let Some(answer) = client.answer("POST") {
        assert_eq!(answer.error().0, 400, "cut at {cut}");
    }
}
