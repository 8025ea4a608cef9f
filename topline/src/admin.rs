//! The side outputs on the admin listener: what could not be counted as it should.

use bytes::Bytes;
use http_server::{APPLICATION_JSON, HttpError, Routes, known_params, parse_number};
use serde::Serialize;
use stream_job::{CheckpointError, DeadLetter, SideOutputs};
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

/// The decoded query parameters.
type Params = Vec<(String, String)>;

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
        answer(params, move |limit| side.late(limit))
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
    let limit = match limit(&params) {
        Ok(limit) => limit,
        Err(error) => return error.to_http(),
    };
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

/// How many entries are asked for; no more than are shown at most.
fn limit(params: &Params) -> Result<usize, HttpError> {
    let Some(text) = known_params(params, &["limit"])?("limit") else { return Ok(DEFAULT_LIMIT) };
    let limit = parse_number(text, u64::MAX)
        .map_err(|problem| HttpError::bad_request(format!("limit: {problem}")))?;
    Ok(usize::try_from(limit).map_or(MAX_LIMIT, |limit| limit.min(MAX_LIMIT)))
}

impl From<&DeadLetter> for Dead {
    fn from(dead: &DeadLetter) -> Self {
        Self {
            partition: dead.partition.0,
            offset: dead.offset.0,
            error: dead.error.to_string(),
            bytes: dead.record.len(),
            hex: dead.hex(SHOWN_BYTES),
        }
    }
}
