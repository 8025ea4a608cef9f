//! A purchase as a client knows it, and its two forms on the wire.

use model::{BusinessDate, CustomerId, Line, StoreId, Timestamp};
use serde::Serialize;

/// A purchase to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basket {
    /// Where it was bought.
    pub store: StoreId,
    /// Who bought it.
    pub customer: CustomerId,
    /// The business day it belongs to.
    pub date: BusinessDate,
    /// When it happened; `None` leaves it to the server's clock.
    pub occurred_at: Option<Timestamp>,
    /// Idempotency key: makes it safe to send the purchase again after an unclear failure.
    pub key: String,
    /// What was bought.
    pub lines: Vec<Line>,
}

/// A line as the generated clients write it: the id as text, the quantity under a key that ends in a
/// colon.
#[derive(Serialize)]
struct CourseLine {
    #[serde(rename = "ItemID")]
    item: String,
    #[serde(rename = "numberOfItems:")]
    quantity: u32,
}

#[derive(Serialize)]
struct CourseBody {
    items: Vec<CourseLine>,
}

#[derive(Serialize)]
struct BulkItem {
    #[serde(rename = "ItemID")]
    item: u64,
    #[serde(rename = "numberOfItems")]
    quantity: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BulkPurchase<'a> {
    #[serde(rename = "storeID")]
    store: StoreId,
    #[serde(rename = "custID")]
    customer: CustomerId,
    date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    occurred_at: Option<String>,
    key: &'a str,
    items: Vec<BulkItem>,
}

impl Basket {
    /// Path of the call of the existing clients that sends it.
    pub fn course_path(&self) -> String {
        format!("/purchase/{}/customer/{}/date/{}", self.store, self.customer, self.date)
    }

    /// Body of the call of the existing clients that sends it.
    #[expect(clippy::missing_panics_doc, reason = "numbers and text always have a JSON form")]
    pub fn course_body(&self) -> Vec<u8> {
        let line =
            |line: &Line| CourseLine { item: line.item.to_string(), quantity: line.quantity };
        let body = CourseBody { items: self.lines.iter().map(line).collect() };
        serde_json::to_vec(&body).expect("numbers and text always have a JSON form")
    }

    /// Appends its line for the bulk call, with the line feed.
    #[expect(clippy::missing_panics_doc, reason = "numbers and text always have a JSON form")]
    pub fn write_ndjson(&self, body: &mut Vec<u8>) {
        let item = |line: &Line| BulkItem { item: line.item.0, quantity: line.quantity };
        let purchase = BulkPurchase {
            store: self.store,
            customer: self.customer,
            date: self.date.to_string(),
            occurred_at: self.occurred_at.map(|at| at.to_string()),
            key: &self.key,
            items: self.lines.iter().map(item).collect(),
        };
        serde_json::to_writer(&mut *body, &purchase)
            .expect("numbers and text always have a JSON form, and memory takes every byte");
        body.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use model::ItemId;

    use super::*;

    fn basket() -> Basket {
        Basket {
            store: StoreId(7),
            customer: CustomerId(7003),
            date: "20210101".parse().unwrap(),
            occurred_at: Some("2021-01-01T09:30:00Z".parse().unwrap()),
            key: "till \"4\"".to_owned(),
            lines: vec![Line { item: ItemId(123), quantity: 1 }],
        }
    }

    #[test]
    fn the_course_form_is_that_of_the_generated_clients() {
        assert_eq!(basket().course_path(), "/purchase/7/customer/7003/date/20210101");
        let body = String::from_utf8(basket().course_body()).unwrap();
        assert_eq!(body, r#"{"items":[{"ItemID":"123","numberOfItems:":1}]}"#);
    }

    #[test]
    fn the_bulk_form_is_one_line() {
        let mut body = Vec::new();
        basket().write_ndjson(&mut body);
        let expected = concat!(
            r#"{"storeID":7,"custID":7003,"date":"20210101","occurredAt":"2021-01-01T09:30:00.000Z","#,
            r#""key":"till \"4\"","items":[{"ItemID":123,"numberOfItems":1}]}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }
}
