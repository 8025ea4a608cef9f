//! Every way a POST can be refused, and the status it is answered with.

use std::time::Duration;

use http_server::HttpError;
use telemetry::IngestMetrics;
use warp::http::StatusCode;

use crate::{SubmitError, clock::ClockError, parse::ParseError};

/// When a client that was refused for overload may try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The same, when somebody may have to make room first.
const RETRY_AFTER_ROOM: Duration = Duration::from_mins(1);

/// Why a POST was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The token is missing or wrong.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// The body is not of a form that can be read.
    #[error("{0}")]
    MediaType(&'static str),
    /// The path, a header or the body could not be read.
    #[error("{}", .0.message())]
    Request(HttpError),
    /// The body is not a purchase.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A time cannot be.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The idempotency key cannot be used.
    #[error("{0} must have 1 to {max} bytes", max = model::IdempotencyKey::MAX_TEXT)]
    Key(&'static str),
    /// Too many bulk requests at once.
    #[error("too many bulk requests are being read, try again later")]
    Busy,
    /// The stream does not take it.
    #[error(transparent)]
    Submit(#[from] SubmitError),
}

impl From<HttpError> for Refusal {
    fn from(error: HttpError) -> Self {
        Self::Request(error)
    }
}

impl Refusal {
    /// The answer.
    pub(crate) fn into_http(self) -> HttpError {
        let message = self.to_string();
        match self {
            Self::Unauthorized(_) => HttpError::unauthorized(message),
            Self::MediaType(_) => HttpError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message),
            Self::Request(error) => error,
            Self::Parse(_) | Self::Clock(_) | Self::Key(_) => HttpError::bad_request(message),
            Self::Busy => HttpError::unavailable(message, RETRY_AFTER),
            Self::Submit(
                SubmitError::Full(_) | SubmitError::Closed(_) | SubmitError::Unavailable { .. },
            ) => HttpError::unavailable(
                format!("nothing was taken: {message}, try again later"),
                RETRY_AFTER,
            ),
            Self::Submit(SubmitError::Refused(_)) => {
                HttpError::unavailable(format!("nothing was taken: {message}"), RETRY_AFTER_ROOM)
            }
            Self::Submit(SubmitError::Stopped(_) | SubmitError::Late(_)) => HttpError::unavailable(
                format!("the purchase may or may not have been taken: {message}"),
                RETRY_AFTER,
            ),
        }
    }

    /// What it is counted as: one of a fixed set.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Unauthorized(_) => "unauthorized",
            Self::MediaType(_) => "media_type",
            Self::Request(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => "too_large",
            Self::Request(error) if error.status() == StatusCode::REQUEST_TIMEOUT => "too_slow",
            Self::Request(_) | Self::Parse(_) | Self::Key(_) => "invalid",
            Self::Clock(_) => "clock",
            Self::Busy | Self::Submit(SubmitError::Full(_)) => "overloaded",
            Self::Submit(SubmitError::Refused(_)) => "saturated",
            Self::Submit(SubmitError::Unavailable { .. } | SubmitError::Late(_)) => "unavailable",
            Self::Submit(SubmitError::Closed(_) | SubmitError::Stopped(_)) => "stopped",
        }
    }

    /// Counts it as `purchases` that were not taken.
    pub(crate) fn count(&self, metrics: &IngestMetrics, purchases: u64) {
        metrics.rejected(self.reason()).inc_by(purchases);
    }
}
