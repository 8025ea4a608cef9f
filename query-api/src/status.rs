//! Which status an error has: the only place that says so.

use std::time::Duration;

use http_server::HttpError;
use hyper::StatusCode;
use view::{ReadError, WaitError};

/// What a client should wait before it tries again what is not possible now.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The answer to a GET that could not be read.
pub(crate) fn of_read(error: &ReadError) -> HttpError {
    let message = error.to_string();
    match error {
        ReadError::NotReady { .. } => HttpError::unavailable(message, RETRY_AFTER),
        ReadError::UnknownStore(_)
        | ReadError::UnknownItem(_)
        | ReadError::DateNotKept { .. }
        | ReadError::NoDate => HttpError::not_found(message),
        ReadError::WindowNotKept { .. } | ReadError::LengthOutOfRange { .. } => {
            HttpError::bad_request(message)
        }
    }
}

/// The answer to a GET that waited for a position in vain.
pub(crate) fn of_wait(error: &WaitError) -> HttpError {
    let message = format!("{WAIT_FOR}: {error}");
    match error {
        WaitError::NotYet { .. } => HttpError::unavailable(message, RETRY_AFTER),
        WaitError::UnknownPartition { .. } => HttpError::bad_request(message),
    }
}

/// Too many wait already.
pub(crate) fn too_many_waiters() -> HttpError {
    HttpError::unavailable("too many requests wait for a position", RETRY_AFTER)
}

/// Too many follow lists already.
pub(crate) fn too_many_streams() -> HttpError {
    HttpError::unavailable("too many clients follow lists as events", RETRY_AFTER)
}

/// The list is older than the client takes.
pub(crate) fn too_old(lag: Duration, limit: Duration) -> HttpError {
    let (lag, limit) = (lag.as_millis(), limit.as_millis());
    HttpError::unavailable(
        format!("the list is up to {lag} ms old, and {MAX_STALENESS} allows {limit} ms"),
        RETRY_AFTER,
    )
}

/// A reader has panicked.
pub(crate) fn internal() -> HttpError {
    HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, "the list could not be read")
}

/// The header that asks for a position.
pub(crate) const WAIT_FOR: &str = "Topline-Wait-For";
/// The header that bounds the age of the list, in milliseconds.
pub(crate) const MAX_STALENESS: &str = "Topline-Max-Staleness";
