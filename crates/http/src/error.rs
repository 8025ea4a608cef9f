//! The one form in which every service answers an error: a status and `{"message":"..."}`.

use std::{borrow::Cow, convert::Infallible, time::Duration};

use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
};
use warp::{Rejection, Reply, filters::body::BodyDeserializeError, reject};

/// The media type of JSON bodies.
pub const APPLICATION_JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An error as the client sees it.
///
/// Handlers return it as the error of a `Result`, which is a reply; filters that must stop a
/// request early reject with it.
#[derive(Debug, Clone)]
pub struct HttpError {
    status: StatusCode,
    message: Cow<'static, str>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl HttpError {
    /// An error of `status`; `message` says what is wrong and where.
    pub fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, message: message.into(), header: None }
    }

    /// 400: the request itself is wrong.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 401: a bearer token is needed, and missing or wrong.
    pub fn unauthorized(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
            .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// 404: there is no such thing.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 503: not now; `retry_after` is rounded up to seconds.
    pub fn unavailable(message: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
            .with_header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// 405: `allow` names the methods the path has.
    pub(crate) fn method_not_allowed(allow: HeaderValue) -> Self {
        let methods = allow.to_str().unwrap_or_default();
        let message = format!("this path does not have that method: use {methods}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, message).with_header(ALLOW, allow)
    }

    /// 404 for a path no service has.
    pub(crate) fn unknown_path() -> Self {
        Self::not_found("there is no such path")
    }

    /// The same with a header; a second call replaces the first.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The answer.
    pub fn to_http(&self) -> Response<Bytes> {
        let body = serde_json::json!({ "message": self.message }).to_string();
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, APPLICATION_JSON);
        if let Some((name, value)) = &self.header {
            response.headers_mut().insert(name, value.clone());
        }
        response
    }
}

impl reject::Reject for HttpError {}

impl Reply for HttpError {
    fn into_response(self) -> warp::reply::Response {
        self.to_http().map(Into::into)
    }
}

/// What went wrong while the filters of warp took a request apart.
///
/// Of the rejections of a chain of `or`, the most telling counts: one of ours, then one about the
/// contents of the request, then a wrong method, then an unknown path.
pub fn error_of(rejection: &Rejection) -> HttpError {
    if let Some(error) = rejection.find::<HttpError>() {
        return error.clone();
    }
    let bad_request = rejection
        .find::<reject::InvalidHeader>()
        .map(ToString::to_string)
        .or_else(|| rejection.find::<reject::MissingHeader>().map(ToString::to_string))
        .or_else(|| rejection.find::<reject::InvalidQuery>().map(ToString::to_string))
        .or_else(|| rejection.find::<BodyDeserializeError>().map(ToString::to_string));
    if let Some(message) = bad_request {
        HttpError::bad_request(message)
    } else if rejection.find::<reject::PayloadTooLarge>().is_some() {
        HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large")
    } else if rejection.find::<reject::UnsupportedMediaType>().is_some() {
        HttpError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content type is not supported")
    } else if rejection.find::<reject::LengthRequired>().is_some() {
        HttpError::new(StatusCode::LENGTH_REQUIRED, "the header content-length is missing")
    } else if rejection.find::<reject::MethodNotAllowed>().is_some() {
        HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not have that method")
    } else if rejection.is_not_found() {
        HttpError::unknown_path()
    } else {
        tracing::error!(?rejection, "a rejection has no answer");
        HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, "the server made a mistake")
    }
}

/// For [`warp::Filter::recover`]: answers every rejection.
pub async fn recover(rejection: Rejection) -> Result<warp::reply::Response, Infallible> {
    Ok(error_of(&rejection).into_response())
}
