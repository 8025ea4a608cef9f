//! One virtual client: one connection, and how what comes over it is judged.

use std::{sync::Arc, time::Duration};

use model::{ItemId, Position, StoreId};
use reqwest::{RequestBuilder, Response, StatusCode, header};
use serde::Deserialize;

use super::{Outcome, request::Request};
use crate::{BulkAnswer, Server, client};

/// The longest time that a client waits because it was asked to.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Characters of a message that are kept.
const MESSAGE: usize = 300;

/// What all clients send to.
#[derive(Debug)]
pub(crate) struct Target {
    server: Server,
    token: Option<String>,
    timeout: Duration,
}

impl Target {
    pub(crate) fn new(server: Server, token: Option<String>, timeout: Duration) -> Self {
        Self { server, token, timeout }
    }
}

/// A client that has one request under way at a time, and keeps its connection.
pub(crate) struct Connection {
    http: reqwest::Client,
    target: Arc<Target>,
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

    fn of_error(error: &reqwest::Error) -> Self {
        Self::failed(Outcome::of_error(error), 0, &client::causes(error))
    }
}

impl Connection {
    /// A client that keeps up to `idle` connections while they are not in use.
    ///
    /// # Errors
    /// If the HTTP client cannot be made.
    pub(crate) fn new(target: Arc<Target>, idle: usize) -> reqwest::Result<Self> {
        let http = target
            .server
            .http(target.timeout, target.timeout)
            // Each request is one line of the figures: nothing is sent twice behind their back.
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(idle)
            .build()?;
        Ok(Self { http, target })
    }

    /// Sends `request` once. `known`: whether what it asks for is known to exist.
    pub(crate) async fn send(&self, request: &Request, known: bool) -> Answer {
        let response = match self.prepare(request).send().await {
            Ok(response) => response,
            Err(error) => return Answer::of_error(&error),
        };
        let expected = match request {
            Request::Post(_) => StatusCode::CREATED,
            Request::Bulk(_) | Request::StoreItems(_) | Request::ItemStores(_) => StatusCode::OK,
        };
        if response.status() == expected {
            accept(request, response).await
        } else {
            reject(response, known).await
        }
    }

    fn prepare(&self, request: &Request) -> RequestBuilder {
        let server = &self.target.server;
        match request {
            Request::StoreItems(StoreId(id)) => {
                self.http.get(server.url(&format!("/items/store/{id}")))
            }
            Request::ItemStores(ItemId(id)) => {
                self.http.get(server.url(&format!("/items/top10/{id}")))
            }
            Request::Post(basket) => self
                .post(&basket.course_path(), "application/json")
                .header(client::IDEMPOTENCY_KEY, &basket.key)
                .body(basket.course_body()),
            Request::Bulk(excerpt) => {
                let mut body = Vec::new();
                excerpt.baskets().iter().for_each(|basket| basket.write_ndjson(&mut body));
                self.post("/v1/purchases", "application/x-ndjson").body(body)
            }
        }
    }

    fn post(&self, path: &str, content_type: &'static str) -> RequestBuilder {
        let request =
            self.http.post(self.target.server.url(path)).header(header::CONTENT_TYPE, content_type);
        match &self.target.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

/// Reads an answer with the right status to its end.
async fn accept(request: &Request, response: Response) -> Answer {
    let status = response.status().as_u16();
    let position = client::position_header(&response);
    let body = match response.bytes().await {
        Ok(body) => body,
        Err(error) => return Answer { status, ..Answer::of_error(&error) },
    };
    let wrong = |problem: String| Answer::failed(Outcome::WrongBody, status, &problem);
    let mut bulk = None;
    let right = match request {
        Request::Post(_) => Ok(()),
        Request::Bulk(_) => serde_json::from_slice(&body)
            .map(|answer| bulk = Some(answer))
            .map_err(|error| error.to_string()),
        Request::StoreItems(_) => StoreItemsBody::check(&body),
        Request::ItemStores(_) => ItemStoresBody::check(&body),
    };
    match (right, position) {
        (Ok(()), Ok(position)) => {
            let outcome = Outcome::Success;
            Answer { outcome, status, message: String::new(), pause: None, position, bulk }
        }
        (Err(problem), _) | (_, Err(problem)) => wrong(problem),
    }
}

/// Reads an answer with another status than the contract has.
async fn reject(response: Response, known: bool) -> Answer {
    let status = response.status();
    let asked = client::retry_after(&response);
    let outcome = if status == StatusCode::NOT_FOUND && !known {
        Outcome::Unknown
    } else {
        Outcome::of_status(status, asked.is_some())
    };
    match response.bytes().await {
        Ok(body) => {
            let message = client::message_of(&body);
            let pause = asked.map(|asked| asked.min(LONGEST_PAUSE));
            Answer { pause, ..Answer::failed(outcome, status.as_u16(), &message) }
        }
        Err(error) => Answer { status: status.as_u16(), ..Answer::of_error(&error) },
    }
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
