//! Every way a request can be refused, and the status it is answered with.

use std::time::Duration;

use http_server::HttpError;
use warp::http::StatusCode;

use super::ParseError;

/// When a client may try again what is not possible now.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a request was refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// The path, a header or the body could not be read.
    #[error("{}", .0.message())]
    Request(HttpError),
    /// The body is not of a form that can be read.
    #[error("{0}")]
    MediaType(&'static str),
    /// The body is not a purchase.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A store or an item that has never been sold.
    #[error("nothing has been sold {0}")]
    NeverSeen(String),
    /// The purchase was not taken: too many wait, or what must take it is away.
    #[error("nothing was taken: {0}, try again later")]
    NotTaken(&'static str),
    /// The purchase was sent on, and nothing was heard of it.
    #[error("the purchase may or may not have been taken: {0}")]
    Unclear(&'static str),
    /// The question cannot be answered now.
    #[error("{0}, try again later")]
    Unavailable(&'static str),
}

impl From<HttpError> for Refusal {
    fn from(error: HttpError) -> Self {
        Self::Request(error)
    }
}

impl From<Refusal> for HttpError {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::Request(error) => error,
            Refusal::MediaType(_) => Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message),
            Refusal::Parse(_) => Self::bad_request(message),
            Refusal::NeverSeen(_) => Self::not_found(message),
            Refusal::NotTaken(_) | Refusal::Unclear(_) | Refusal::Unavailable(_) => {
                Self::unavailable(message, RETRY_AFTER)
            }
        }
    }
}
