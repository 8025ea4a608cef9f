//! One virtual client: one connection, and how what comes over it is judged.

use std::{fmt, sync::Arc, time::Duration};

use model::{ItemId, Position, StoreId};
use parking_lot::Mutex;
use reqwest::{
    StatusCode,
    header::{HeaderValue, InvalidHeaderValue},
};
use serde::Deserialize;

use super::{
    Outcome,
    link::{Link, LinkError},
    request::Request,
    wire::{self, Response},
};
use crate::{
    BulkAnswer, Server,
    client::{self, causes},
    server::Endpoint,
};

/// The longest time that a client waits because it was asked to.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Characters of a message that are kept.
const MESSAGE: usize = 300;

/// What all clients send to.
#[derive(Debug)]
pub(crate) struct Target {
    server: Server,
    /// What the header `Authorization` of a POST says.
    credentials: Option<HeaderValue>,
    timeout: Duration,
}

impl Target {
    /// Requests to `server`, each answered within `timeout`; POSTs show `token`.
    ///
    /// # Errors
    /// If the token has characters that no header may have.
    pub(crate) fn new(
        server: Server,
        token: Option<&str>,
        timeout: Duration,
    ) -> Result<Self, InvalidHeaderValue> {
        let credentials = token.map(|token| HeaderValue::try_from(format!("Bearer {token}")));
        Ok(Self { server, credentials: credentials.transpose()?, timeout })
    }
}

/// A client that has one request under way at a time, and keeps its connection.
pub(crate) struct Connection {
    link: Link,
    target: Arc<Target>,
}

/// Clients for requests beside each other, as many as are under way.
pub(crate) struct Connections {
    idle: Mutex<Vec<Connection>>,
    target: Arc<Target>,
}

impl Connections {
    pub(crate) fn new(target: Arc<Target>) -> Self {
        Self { idle: Mutex::default(), target }
    }

    /// Sends `request` once, as [`Connection::send`].
    pub(crate) async fn send(&self, request: &Request, known: bool) -> Answer {
        let idle = self.idle.lock().pop();
        let mut connection = idle.unwrap_or_else(|| Connection::new(Arc::clone(&self.target)));
        let answer = connection.send(request, known).await;
        self.idle.lock().push(connection);
        answer
    }
}

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    /// Of the answer; 0 if there was none.
    pub(crate) status: u16,
    /// What went wrong, in words; empty for a success.
    pub(crate) message: String,
    /// How long the server asks not to be asked again.
    pub(crate) pause: Option<Duration>,
    /// Position in the stream that has what was posted, where the server says it.
    pub(crate) position: Option<Position>,
    /// Answer of the bulk call.
    pub(crate) bulk: Option<BulkAnswer>,
}

impl Answer {
    fn failed(outcome: Outcome, status: u16, message: &str) -> Self {
        let message = message.chars().take(MESSAGE).collect();
        Self { outcome, status, message, pause: None, position: None, bulk: None }
    }

    fn of_error(error: &LinkError) -> Self {
        Self::failed(Outcome::of_error(error), 0, &causes(error))
    }
}

impl Connection {
    /// A client that connects with its first request.
    pub(crate) fn new(target: Arc<Target>) -> Self {
        Self { link: Link::new(target.timeout), target }
    }

    /// Sends `request` once. `known`: whether what it asks for is known to exist.
    pub(crate) async fn send(&mut self, request: &Request, known: bool) -> Answer {
        let endpoint = self.target.server.endpoint();
        let prepared = self.target.prepare(request);
        let response = match self.link.exchange(endpoint, &prepared).await {
            Ok(response) => response,
            Err(error) => return Answer::of_error(&error),
        };
        let expected = match request {
            Request::Post(_) => StatusCode::CREATED,
            Request::Bulk(_) | Request::StoreItems(_) | Request::ItemStores(_) => StatusCode::OK,
        };
        if response.status == expected {
            accept(request, &response)
        } else {
            reject(&response, known)
        }
    }
}

impl Target {
    /// What is sent.
    fn prepare(&self, request: &Request) -> Vec<u8> {
        match request {
            Request::StoreItems(StoreId(id)) => self.get(format_args!("/items/store/{id}")),
            Request::ItemStores(ItemId(id)) => self.get(format_args!("/items/top10/{id}")),
            Request::Post(basket) => {
                let key = HeaderValue::try_from(&*basket.key).expect("keys are plain text");
                let key = Some((client::IDEMPOTENCY_KEY, &key));
                let (path, body) = (basket.course_path(), basket.course_body());
                self.post(&path, "application/json", key, body.as_ref())
            }
            Request::Bulk(excerpt) => {
                let mut body = Vec::new();
                excerpt.baskets().iter().for_each(|basket| basket.write_ndjson(&mut body));
                self.post("/v1/purchases", "application/x-ndjson", None, &body)
            }
        }
    }

    fn get(&self, path: fmt::Arguments<'_>) -> Vec<u8> {
        let Endpoint { prefix, authority, .. } = self.server.endpoint();
        let host = ("host", authority.as_bytes());
        wire::request("GET", format_args!("{prefix}{path}"), [host], None)
    }

    fn post(
        &self,
        path: &str,
        content_type: &'static str,
        key: Option<(&'static str, &HeaderValue)>,
        body: &[u8],
    ) -> Vec<u8> {
        let Endpoint { prefix, authority, .. } = self.server.endpoint();
        let credentials = self.credentials.as_ref().map(|value| ("authorization", value));
        let headers = [Some(("host", authority)), credentials, key];
        let headers = headers.into_iter().flatten().map(|(name, value)| (name, value.as_bytes()));
        let headers = headers.chain([("content-type", content_type.as_bytes())]);
        wire::request("POST", format_args!("{prefix}{path}"), headers, Some(body))
    }
}

/// Reads an answer with the right status.
fn accept(request: &Request, response: &Response) -> Answer {
    let (status, body) = (response.status.as_u16(), &*response.body);
    let wrong = |problem: String| Answer::failed(Outcome::WrongBody, status, &problem);
    let mut bulk = None;
    let right = match request {
        Request::Post(_) => Ok(()),
        Request::Bulk(_) => serde_json::from_slice(body)
            .map(|answer| bulk = Some(answer))
            .map_err(|error| error.to_string()),
        Request::StoreItems(_) => StoreItemsBody::check(body),
        Request::ItemStores(_) => ItemStoresBody::check(body),
    };
    match (right, client::position_header(&response.headers)) {
        (Ok(()), Ok(position)) => {
            let outcome = Outcome::Success;
            Answer { outcome, status, message: String::new(), pause: None, position, bulk }
        }
        (Err(problem), _) | (_, Err(problem)) => wrong(problem),
    }
}

/// Reads an answer with another status than the contract has.
fn reject(response: &Response, known: bool) -> Answer {
    let status = response.status;
    let asked = client::retry_after(&response.headers);
    let outcome = if status == StatusCode::NOT_FOUND && !known {
        Outcome::Unknown
    } else {
        Outcome::of_status(status, asked.is_some())
    };
    let message = client::message_of(&response.body);
    let pause = asked.map(|asked| asked.min(LONGEST_PAUSE));
    Answer { pause, ..Answer::failed(outcome, status.as_u16(), &message) }
}

/// The most entries of a list.
const LONGEST: usize = crate::List::COURSE_K;

macro_rules! body {
    ($(#[$meta:meta])* $name:ident, $entry:ident, $id:literal) => {
        $(#[$meta])*
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $name {
            stores: Vec<$entry>,
        }

        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $entry {
            #[serde(rename = $id)]
            _id: u64,
            #[serde(rename = "numberOfItems")]
            count: u64,
        }

        impl $name {
            /// Every answer is read: a fast server that answers nonsense is not fast.
            fn check(body: &[u8]) -> Result<(), String> {
                let body: Self = serde_json::from_slice(body).map_err(|error| error.to_string())?;
                if body.stores.len() > LONGEST {
                    return Err(format!("a list of {} entries", body.stores.len()));
                }
                if !body.stores.is_sorted_by(|a, b| a.count >= b.count) {
                    return Err("the list is not in the order of its counts".to_owned());
                }
                Ok(())
            }
        }
    };
}

body! {
    /// The top items of a store. The array really is named `stores`.
    StoreItemsBody, StoreItem, "itemID"
}
body! {
    /// The top stores for an item.
    ItemStoresBody, ItemStore, "storeID"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_outside_the_contract_are_wrong() {
        let right =
            br#"{"stores":[{"itemID":5,"numberOfItems":7},{"itemID":6,"numberOfItems":7}]}"#;
        assert_eq!(StoreItemsBody::check(right), Ok(()));
        assert_eq!(ItemStoresBody::check(br#"{"stores":[]}"#), Ok(()));
        let entries = [r#"{"itemID":5,"numberOfItems":7}"#; 11].join(",");
        for wrong in [
            String::new(),
            "[]".to_owned(),
            r#"{"items":[]}"#.to_owned(),
            r#"{"stores":[],"more":1}"#.to_owned(),
            r#"{"stores":[{"storeID":5,"numberOfItems":7}]}"#.to_owned(),
            r#"{"stores":[{"itemID":"5","numberOfItems":7}]}"#.to_owned(),
            r#"{"stores":[{"itemID":5,"numberOfItems":7},{"itemID":6,"numberOfItems":8}]}"#
                .to_owned(),
            format!(r#"{{"stores":[{entries}]}}"#),
        ] {
            assert!(StoreItemsBody::check(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
