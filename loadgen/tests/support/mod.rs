//! A tiny server that answers as Topline does, and wrongly on request.
//!
//! It counts under the very paths it is asked for, so it shares no idea with the tally.

#![allow(dead_code, reason = "every test uses a part of it")]

pub(crate) mod raw;

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use warp::{
    Filter,
    http::{HeaderMap, Method, StatusCode},
    hyper::body::Bytes,
    path::FullPath,
};

type Response = warp::http::Response<String>;

/// Entries of a list; `None` is 404.
pub(crate) type List = Option<Vec<(u64, u64)>>;

/// Gives what is answered at a path instead of what is right.
pub(crate) type Tamper = dyn Fn(&str, List) -> List + Send + Sync;

/// What happens to a POST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is taken.
    Taken,
    /// 503 before anything is counted.
    Overloaded,
    /// It is counted, but the answer is a 500.
    AnswerLost,
    /// 400.
    Refused,
}

/// How the server misbehaves; by default it does not.
pub(crate) struct Behaviour {
    /// What a list becomes before it is answered, by path.
    pub(crate) tamper: Box<Tamper>,
    /// What happens to the n-th POST, from 0.
    pub(crate) fate: Box<dyn Fn(usize) -> Fate + Send + Sync>,
    /// Whether answers say how far the stream is.
    pub(crate) positions: bool,
    /// The longest list that may be asked for.
    pub(crate) max_k: usize,
    /// Whether a day closes when there is a purchase of a later one: what comes after that is not counted in it.
    pub(crate) closes_days: bool,
    /// Whether a line of the bulk call is rejected.
    pub(crate) rejects: Box<dyn Fn(&Value) -> bool + Send + Sync>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            tamper: Box::new(|_, list| list),
            fate: Box::new(|_| Fate::Taken),
            positions: true,
            max_k: usize::MAX,
            closes_days: false,
            rejects: Box::new(|_| false),
        }
    }
}

#[derive(Default)]
struct State {
    /// Counts by path (with the date, for a day) and id.
    counts: HashMap<String, HashMap<u64, u64>>,
    keys: HashSet<String>,
    posts: usize,
    applied: u64,
    newest_date: String,
    /// Stores in the order of their purchases.
    stores: Vec<u64>,
    /// Positions that GETs asked to wait for.
    waited_for: Vec<String>,
}

/// The server; it ends with the runtime it was started on.
#[derive(Clone)]
pub(crate) struct Fake {
    state: Arc<Mutex<State>>,
    behaviour: Arc<Behaviour>,
    /// Where it listens.
    pub(crate) base_url: Arc<str>,
}

impl Fake {
    /// Starts it on a free port.
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Self {
            state: Arc::default(),
            behaviour: Arc::new(behaviour),
            base_url: format!("http://{}", listener.local_addr().unwrap()).into(),
        };
        let handler = fake.clone();
        let query = warp::query::raw().or(warp::any().map(String::new)).unify();
        let routes = warp::method()
            .and(warp::path::full())
            .and(query)
            .and(warp::header::headers_cloned())
            .and(warp::body::bytes())
            .map(
                move |method: Method,
                      path: FullPath,
                      query: String,
                      headers: HeaderMap,
                      body: Bytes| {
                    if method == Method::POST {
                        handler.post(path.as_str(), &headers, &body)
                    } else {
                        handler.note_wait(&headers);
                        handler.get(path.as_str(), &query)
                    }
                },
            );
        tokio::spawn(warp::serve(routes).incoming(listener).run());
        fake
    }

    /// Stores in the order in which their purchases were taken.
    pub(crate) fn stores_in_order(&self) -> Vec<u64> {
        self.state.lock().unwrap().stores.clone()
    }

    /// Positions that GETs asked to wait for.
    pub(crate) fn waited_for(&self) -> Vec<String> {
        self.state.lock().unwrap().waited_for.clone()
    }

    fn note_wait(&self, headers: &HeaderMap) {
        if let Some(position) = headers.get("topline-wait-for") {
            let position = position.to_str().unwrap().to_owned();
            self.state.lock().unwrap().waited_for.push(position);
        }
    }

    fn post(&self, path: &str, headers: &HeaderMap, body: &[u8]) -> Response {
        let mut state = self.state.lock().unwrap();
        let fate = (self.behaviour.fate)(state.posts);
        state.posts += 1;
        match fate {
            Fate::Overloaded => return error(StatusCode::SERVICE_UNAVAILABLE, "too busy"),
            Fate::Refused => return error(StatusCode::BAD_REQUEST, "not today"),
            Fate::Taken | Fate::AnswerLost => {}
        }
        let (status, answer) = if path == "/v1/purchases" {
            (StatusCode::OK, self.take_bulk(&mut state, body))
        } else {
            let parts: Vec<&str> = path.split('/').collect();
            assert!(matches!(parts[..], ["", "purchase", _, "customer", _, "date", _]), "{path}");
            let mut purchase: Value = serde_json::from_slice(body).unwrap();
            purchase["storeID"] = json!(parts[2].parse::<u64>().unwrap());
            purchase["date"] = json!(parts[6]);
            purchase["key"] = json!(headers["idempotency-key"].to_str().unwrap());
            state.take(&purchase, self.behaviour.closes_days);
            (StatusCode::CREATED, String::new())
        };
        if fate == Fate::AnswerLost {
            return error(StatusCode::INTERNAL_SERVER_ERROR, "forgot what I was about to say");
        }
        let mut response = warp::http::Response::builder().status(status);
        if self.behaviour.positions {
            response = response.header("topline-position", format!("0:{}", state.applied));
        }
        response.body(answer).unwrap()
    }

    fn take_bulk(&self, state: &mut State, body: &[u8]) -> String {
        let (mut accepted, mut rejected) = (0, Vec::new());
        for (line, number) in std::str::from_utf8(body).unwrap().lines().zip(1..) {
            let purchase: Value = serde_json::from_str(line).unwrap();
            if (self.behaviour.rejects)(&purchase) {
                rejected.push(json!({"line": number, "message": "not this one"}));
            } else {
                state.take(&purchase, self.behaviour.closes_days);
                accepted += 1;
            }
        }
        json!({"accepted": accepted, "rejected": rejected}).to_string()
    }

    fn get(&self, path: &str, query: &str) -> Response {
        let parameter = |name: &str| {
            query.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
        };
        let date = parameter("date").unwrap_or_default();
        let counted = match path.split('/').collect::<Vec<_>>()[..] {
            ["", "items", "store", id] => format!("/v1/stores/{id}/top-items"),
            ["", "items", "top10", id] => format!("/v1/items/{id}/top-stores"),
            _ => path.to_owned(),
        };
        let k = parameter("k").map_or(10, |k| k.parse().unwrap());
        if k > self.behaviour.max_k {
            return error(StatusCode::BAD_REQUEST, "k is out of range");
        }
        let list = self.state.lock().unwrap().list(&format!("{counted}{date}"), k);
        let Some(list) = (self.behaviour.tamper)(path, list) else {
            return error(StatusCode::NOT_FOUND, "nobody has sent this id");
        };
        let (id, of_stores) =
            if counted.ends_with("items") { ("itemID", "items") } else { ("storeID", "stores") };
        let course = !path.starts_with("/v1");
        let count = if course { "numberOfItems" } else { "quantity" };
        let entries: Vec<Value> =
            list.into_iter().map(|(entry, sold)| json!({id: entry, count: sold})).collect();
        let body = if course {
            json!({"stores": entries})
        } else {
            let kind = parameter("window").unwrap_or("all");
            json!({"window": {"kind": kind}, of_stores: entries, "asOf": {}})
        };
        warp::http::Response::new(body.to_string())
    }
}

impl State {
    fn take(&mut self, purchase: &Value, closes_days: bool) {
        if let Some(key) = purchase["key"].as_str()
            && !self.keys.insert(key.to_owned())
        {
            return;
        }
        let store = purchase["storeID"].as_u64().unwrap();
        let date = purchase["date"].as_str().unwrap();
        let late = closes_days && date < &*self.newest_date;
        self.newest_date = date.max(&self.newest_date).to_owned();
        self.stores.push(store);
        self.applied += 1;
        for line in purchase["items"].as_array().unwrap() {
            let id = &line["ItemID"];
            let item = id.as_u64().unwrap_or_else(|| id.as_str().unwrap().parse().unwrap());
            let quantity = line.get("numberOfItems:").unwrap_or(&line["numberOfItems"]);
            let quantity = quantity.as_u64().unwrap();
            for date in ["", date].into_iter().take(if late { 1 } else { 2 }) {
                self.add(format!("/v1/stores/{store}/top-items{date}"), item, quantity);
                self.add(format!("/v1/items/{item}/top-stores{date}"), store, quantity);
                self.add(format!("/v1/top-items{date}"), item, quantity);
                self.add(format!("/v1/top-stores{date}"), store, quantity);
            }
        }
    }

    fn add(&mut self, path: String, id: u64, quantity: u64) {
        *self.counts.entry(path).or_default().entry(id).or_default() += quantity;
    }

    fn list(&self, path: &str, k: usize) -> List {
        let sold = self.counts.get(path)?.iter().filter(|(_, sold)| **sold > 0);
        let mut list: Vec<(u64, u64)> = sold.map(|(&id, &sold)| (id, sold)).collect();
        list.sort_by_key(|&(id, sold)| (Reverse(sold), id));
        list.truncate(k);
        Some(list)
    }
}

fn error(status: StatusCode, message: &str) -> Response {
    warp::http::Response::builder()
        .status(status)
        .header("retry-after", "0")
        .body(json!({"message": message}).to_string())
        .unwrap()
}
