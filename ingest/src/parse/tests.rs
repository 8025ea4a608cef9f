use model::{ItemId, MAX_LINES};

use super::*;

fn line(item: u64, quantity: u32) -> Line {
    Line { item: ItemId(item), quantity }
}

#[test]
fn both_spellings_and_both_forms_of_an_id_are_read() {
    let body = br#"{"items":[{"ItemID":"123","numberOfItems:":1},
        {"numberOfItems":4294967295,"ItemID":18446744073709551615},
        {"ItemID":"007","numberOfItems":2}]}"#;
    let basket = parse_basket(body).unwrap();
    assert_eq!(basket.lines, [line(123, 1), line(u64::MAX, u32::MAX), line(7, 2)]);
    assert_eq!(basket.occurred_at, None);
}

#[test]
fn quantity_0_counts_nothing() {
    let body = br#"{"items":[{"ItemID":"1","numberOfItems":0}]}"#;
    assert_eq!(parse_basket(body).unwrap().lines, []);
}

#[test]
fn unknown_fields_are_skipped() {
    let body = br#"{"till":{"id":[1,-2,3.5,null,true,"x"]},"items":
        [{"ItemID":1,"name":"tea","numberOfItems":3}],"storeID":"not for a body"}"#;
    assert_eq!(parse_basket(body).unwrap().lines, [line(1, 3)]);
}

#[test]
fn an_entry_has_store_customer_date_time_and_key() {
    let text = br#"{"storeID":1,"custID":1000,"date":"20210101",
        "occurredAt":"2021-01-01T09:30:00Z","key":"a\u00e9","items":[{"ItemID":5,"numberOfItems":2}]}"#;
    let entry = parse_entry(text).unwrap();
    assert_eq!((entry.store, entry.customer), (StoreId(1), CustomerId(1000)));
    assert_eq!(entry.date.to_string(), "20210101");
    assert_eq!(entry.key.as_deref(), Some("aé"));
    assert_eq!(entry.basket.lines, [line(5, 2)]);
    let time = entry.basket.occurred_at.unwrap();
    assert_eq!(time.to_string(), "2021-01-01T09:30:00.000Z");
    let nulls = br#"{"storeID":1,"custID":1,"date":"20210101","occurredAt":null,"key":null,
        "items":[{"ItemID":5,"numberOfItems":2}]}"#;
    let entry = parse_entry(nulls).unwrap();
    assert_eq!((entry.key, entry.basket.occurred_at), (None, None));
}

/// What the message must begin with.
#[test]
fn errors_say_where() {
    let item = |item: &str| format!(r#"{{"items":[{{"ItemID":1,"numberOfItems":1}},{item}]}}"#);
    for (body, expected) in [
        (item(r#"{"ItemID":1,"numberOfItems":-1}"#), "items[1].numberOfItems: invalid type"),
        (item(r#"{"ItemID":1,"numberOfItems":1.5}"#), "items[1].numberOfItems: invalid type"),
        (item(r#"{"ItemID":1,"numberOfItems":1.0}"#), "items[1].numberOfItems: invalid type"),
        (item(r#"{"ItemID":1,"numberOfItems":"1"}"#), "items[1].numberOfItems: invalid type"),
        (
            item(r#"{"ItemID":1,"numberOfItems":4294967296}"#),
            "items[1].numberOfItems: invalid value",
        ),
        (item(r#"{"ItemID":1,"numberOfItems":1e999}"#), "items[1].numberOfItems: number out"),
        (
            item(r#"{"ItemID":1,"numberOfItems":99999999999999999999}"#),
            "items[1].numberOfItems: invalid type",
        ),
        (item(r#"{"ItemID":1,"numberOfItems":[[1]]}"#), "items[1].numberOfItems: invalid"),
        (item(r#"{"ItemID":"","numberOfItems":1}"#), "items[1].ItemID: ''"),
        (item(r#"{"ItemID":"+1","numberOfItems":1}"#), "items[1].ItemID: '+1'"),
        (item(r#"{"ItemID":-1,"numberOfItems":1}"#), "items[1].ItemID: invalid type"),
        (
            item(r#"{"ItemID":"18446744073709551616","numberOfItems":1}"#),
            "items[1].ItemID: 18446744073709551616 is larger",
        ),
        (item(r#"{"ItemID":1}"#), "items[1]: missing field `numberOfItems`"),
        (item(r#"{"numberOfItems":1}"#), "items[1]: missing field `ItemID`"),
        (item(r#"{"ItemID":1,"ItemID":1,"numberOfItems":1}"#), "items[1].ItemID: the field is"),
        (
            item(r#"{"ItemID":1,"numberOfItems":1,"numberOfItems:":1}"#),
            "items[1].numberOfItems: the field is given twice",
        ),
        (item("5"), "items[1]: invalid type: integer `5`, expected an object"),
        (item(""), "items[1]: "),
        (r#"{"items":[]}"#.into(), "items: invalid length 0, expected a list of 1 to 1000"),
        (r#"{"items":{}}"#.into(), "items: invalid type: map"),
        (r#"{"items":null}"#.into(), "items: invalid type: null"),
        (r#"{"items":[],"items":[]}"#.into(), "items: invalid length"),
        (r#"{"occurredAt":"noon","items":[]}"#.into(), "occurredAt: 'noon' is not a time"),
        (r#"{"occurredAt":null,"occurredAt":null}"#.into(), "occurredAt: the field is given"),
        ("{}".into(), "items is missing"),
        ("[]".into(), "invalid type: sequence"),
        ("null".into(), "invalid type: null"),
        (String::new(), "EOF while parsing a value (line 1, column 0)"),
        ("nonsense".into(), "expected ident"),
        (format!("{} x", item("{\"ItemID\":1,\"numberOfItems\":1}")), "trailing characters"),
        (format!("{0}{0}", item("{\"ItemID\":1,\"numberOfItems\":1}")), "trailing characters"),
    ] {
        let error = parse_basket(body.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{body}: {error}");
    }
}

#[test]
fn errors_of_an_entry_say_where() {
    let entry = |rest: &str| format!(r#"{{"items":[{{"ItemID":1,"numberOfItems":1}}]{rest}}}"#);
    for (line, expected) in [
        (entry(""), "storeID is missing"),
        (entry(r#","storeID":1"#), "custID is missing"),
        (entry(r#","storeID":1,"custID":1"#), "date is missing"),
        (entry(r#","storeID":-1"#), "storeID: invalid type: integer `-1`"),
        (entry(r#","storeID":4294967296"#), "storeID: invalid value"),
        (entry(r#","date":"20210230""#), "date: '20210230' is not a date"),
        (entry(r#","date":20210101"#), "date: invalid type"),
        (entry(r#","key":5"#), "key: invalid type"),
        (entry(r#","key":"a","key":"a""#), "key: the field is given twice"),
    ] {
        let error = parse_entry(line.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{line}: {error}");
    }
}

#[test]
fn the_number_of_items_is_bounded() {
    let items = |count: usize| {
        let items = vec![r#"{"ItemID":1,"numberOfItems":0}"#; count];
        format!(r#"{{"items":[{}]}}"#, items.join(","))
    };
    assert!(parse_basket(items(MAX_LINES).as_bytes()).is_ok());
    let error = parse_basket(items(MAX_LINES + 1).as_bytes()).unwrap_err().to_string();
    assert!(error.starts_with("items: there are more than 1000 items"), "{error}");
}

#[test]
fn deep_nesting_is_an_error() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        for body in [
            deep.clone(),
            format!(r#"{{"items":{deep}}}"#),
            format!(r#"{{"items":[{deep}]}}"#),
            format!(r#"{{"x":{deep}}}"#),
            format!(r#"{{"items":[{{"x":{deep}}}]}}"#),
        ] {
            assert!(parse_basket(body.as_bytes()).is_err());
        }
    }
}

#[test]
fn other_text_than_utf_8_is_an_error() {
    let error = parse_basket(b"{\"x\":\"\xff\"}").unwrap_err().to_string();
    assert_eq!(error, "the text is not UTF-8 from byte 6 on");
}

#[test]
fn a_long_quote_is_cut() {
    let body = format!(r#"{{"items":"{}"}}"#, "ä".repeat(10_000));
    let error = parse_basket(body.as_bytes()).unwrap_err().to_string();
    assert!(error.len() < 3 * MAX_MESSAGE && error.contains('…'), "{error}");
}
