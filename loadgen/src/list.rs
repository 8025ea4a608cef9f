//! The lists a server can be asked for, and how they are read.

use model::{BusinessDate, ItemId, StoreId};
use serde_json::Value;

use crate::Entry;

/// A list to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// Top 10 items of a store, by the existing clients' call.
    CourseStore(StoreId),
    /// Top 10 stores for an item, by the existing clients' call.
    CourseItem(ItemId),
    /// Top items of a store.
    Store(StoreId),
    /// Top stores for an item.
    Item(ItemId),
    /// Top items of the chain.
    ChainItems,
    /// Top stores of the chain.
    ChainStores,
}

impl List {
    /// Entries of the lists of the existing clients' calls.
    pub const COURSE_K: usize = 10;

    /// Path and query that ask for the best `k`, on one business date or since the beginning. The
    /// existing clients' calls have neither date nor `k`.
    pub fn path(self, date: Option<BusinessDate>, k: usize) -> String {
        let path = match self {
            Self::CourseStore(store) => return format!("/items/store/{store}"),
            Self::CourseItem(item) => return format!("/items/top10/{item}"),
            Self::Store(store) => format!("/v1/stores/{store}/top-items"),
            Self::Item(item) => format!("/v1/items/{item}/top-stores"),
            Self::ChainItems => "/v1/top-items".to_owned(),
            Self::ChainStores => "/v1/top-stores".to_owned(),
        };
        let window = date.map_or_else(|| "all".to_owned(), |date| format!("day&date={date}"));
        format!("{path}?window={window}&k={k}")
    }

    /// How many entries an answer to [`Self::path`] has at most.
    pub fn longest(self, k: usize) -> usize {
        if self.is_course() { Self::COURSE_K } else { k }
    }

    /// Names of the array, of the id and of the count.
    fn names(self) -> [&'static str; 3] {
        match self {
            Self::CourseStore(_) => ["stores", "itemID", "numberOfItems"],
            Self::CourseItem(_) => ["stores", "storeID", "numberOfItems"],
            Self::Store(_) | Self::ChainItems => ["items", "itemID", "quantity"],
            Self::Item(_) | Self::ChainStores => ["stores", "storeID", "quantity"],
        }
    }

    /// Whether it is asked for by a call of the existing clients.
    pub(crate) fn is_course(self) -> bool {
        matches!(self, Self::CourseStore(_) | Self::CourseItem(_))
    }

    /// Reads the body of an answer, strictly: whatever the contract does not have is a problem.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(self, body: &[u8], date: Option<BusinessDate>) -> Result<Vec<Entry>, String> {
        let body: Value =
            serde_json::from_slice(body).map_err(|error| format!("not JSON: {error}"))?;
        let [array, id, count] = self.names();
        if self.is_course() {
            if body.as_object().is_some_and(|members| members.len() != 1) {
                return Err(format!("there are members other than {array}"));
            }
        } else {
            window_agrees(&body, date)?;
        }
        let list = body
            .get(array)
            .and_then(Value::as_array)
            .ok_or_else(|| format!("there is no array {array}"))?;
        let entry = |value: &Value| {
            let members = value.as_object().filter(|members| members.len() == 2)?;
            Some((members.get(id)?.as_u64()?, members.get(count)?.as_u64()?))
        };
        list.iter()
            .map(|value| {
                entry(value).ok_or_else(|| format!("{value} is not of the form {{{id}, {count}}}"))
            })
            .collect()
    }
}

fn window_agrees(body: &Value, date: Option<BusinessDate>) -> Result<(), String> {
    let expected = if date.is_some() { "day" } else { "all" };
    match body.pointer("/window/kind").and_then(Value::as_str) {
        Some(kind) if kind == expected => Ok(()),
        Some(kind) => Err(format!("the window is {kind}, expected {expected}")),
        None => Err("the window has no kind".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_contract_are_read() {
        let course =
            br#"{"stores":[{"itemID":5,"numberOfItems":42},{"itemID":6,"numberOfItems":1}]}"#;
        let list = List::CourseStore(StoreId(1));
        assert_eq!(list.read(course, None), Ok(vec![(5, 42), (6, 1)]));
        let native = br#"{"window":{"kind":"day"},"items":[{"itemID":5,"quantity":42}],"asOf":{}}"#;
        let date = "20210101".parse().ok();
        assert_eq!(List::ChainItems.read(native, date), Ok(vec![(5, 42)]));
        assert_eq!(List::ChainItems.path(date, 7), "/v1/top-items?window=day&date=20210101&k=7");
    }

    #[test]
    fn answers_outside_the_contract_are_not() {
        let problem = |body: &str| List::CourseStore(StoreId(1)).read(body.as_bytes(), None);
        for body in [
            "",
            "[]",
            r#"{"items":[]}"#,
            r#"{"stores":[],"more":1}"#,
            r#"{"stores":[{"itemID":"5","numberOfItems":42}]}"#,
            r#"{"stores":[{"itemID":5,"numberOfItems":-1}]}"#,
            r#"{"stores":[{"itemID":5,"numberOfItems":1,"more":1}]}"#,
            r#"{"stores":[{"itemID":5,"numberOfItems:":42}]}"#,
        ] {
            assert!(problem(body).is_err(), "{body}");
        }
        let native = |body: &str| List::ChainItems.read(body.as_bytes(), None);
        assert!(native(r#"{"window":{"kind":"day"},"items":[]}"#).is_err());
        assert!(native(r#"{"items":[]}"#).is_err());
        assert_eq!(native(r#"{"window":{"kind":"all"},"items":[]}"#), Ok(Vec::new()));
    }
}
