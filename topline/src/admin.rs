//! The side outputs on the admin listener: what could not be counted as it should.

use std::fmt::Write;

use bytes::Bytes;
use http_server::{APPLICATION_JSON, HttpError, Routes};
use serde::{Deserialize, Serialize};
use stream_job::{CheckpointError, DeadLetter, LatePurchase, SideOutputs};
use warp::{
    Filter,
    http::{Response, StatusCode, header::CONTENT_TYPE},
};

/// Entries shown of each partition if the request does not say.
const DEFAULT_LIMIT: usize = 100;
/// The most entries shown of each partition.
const MAX_LIMIT: usize = 10_000;
/// The most bytes shown of a record that is not a batch.
const SHOWN_BYTES: usize = 256;

#[derive(Debug, Deserialize)]
struct Params {
    limit: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Late {
    partition: u32,
    offset: u64,
    #[serde(rename = "storeID")]
    store: u32,
    #[serde(rename = "custID")]
    customer: u32,
    date: String,
    event_time: String,
    items: Vec<Item>,
}

#[derive(Serialize)]
struct Item {
    #[serde(rename = "itemID")]
    item: u64,
    quantity: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dead {
    partition: u32,
    offset: u64,
    error: String,
    bytes: usize,
    hex: String,
}

/// - `/late`: the newest purchases that came after their business day had closed
/// - `/dead-letters`: the newest records of the stream that are not batches
///
/// Both as of the last checkpoints, at most `limit` of each partition.
pub(crate) fn routes(side: SideOutputs) -> Routes {
    let late = side.clone();
    let late = warp::path!("late").and(warp::query()).then(move |params| {
        let side = late.clone();
        answer(params, move |limit| Ok(side.late(limit)?.iter().map(Late::from).collect()))
    });
    let dead = warp::path!("dead-letters").and(warp::query()).then(move |params| {
        let side = side.clone();
        answer(params, move |limit| Ok(side.dead_letters(limit)?.iter().map(Dead::from).collect()))
    });
    Routes::new("side-outputs").get("/late", late).get("/dead-letters", dead)
}

async fn answer<T: Serialize + Send + 'static>(
    params: Params,
    read: impl FnOnce(usize) -> Result<Vec<T>, CheckpointError> + Send + 'static,
) -> Response<Bytes> {
    let limit = params.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let read = tokio::task::spawn_blocking(move || read(limit)).await;
    let failed = |error: String| HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, error).to_http();
    match read {
        Ok(Ok(entries)) => match serde_json::to_vec(&entries) {
            Ok(body) => {
                let mut response = Response::new(Bytes::from(body));
                response.headers_mut().insert(CONTENT_TYPE, APPLICATION_JSON);
                response
            }
            Err(error) => failed(error.to_string()),
        },
        Ok(Err(error)) => failed(error.to_string()),
        Err(error) => failed(error.to_string()),
    }
}

impl From<&LatePurchase> for Late {
    fn from(late: &LatePurchase) -> Self {
        let purchase = &late.purchase;
        let item = |line: &model::Line| Item { item: line.item.0, quantity: line.quantity };
        Self {
            partition: late.partition.0,
            offset: late.offset.0,
            store: purchase.store.0,
            customer: purchase.customer.0,
            date: purchase.date.to_string(),
            event_time: purchase.event_time.to_string(),
            items: purchase.lines.iter().map(item).collect(),
        }
    }
}

impl From<&DeadLetter> for Dead {
    fn from(dead: &DeadLetter) -> Self {
        let mut hex = String::new();
        for byte in dead.record.iter().take(SHOWN_BYTES) {
            let _infallible = write!(hex, "{byte:02x}");
        }
        Self {
            partition: dead.partition.0,
            offset: dead.offset.0,
            error: dead.error.to_string(),
            bytes: dead.record.len(),
            hex,
        }
    }
}
