//! The description of the API.

use bytes::Bytes;
use http_server::APPLICATION_JSON;
use hyper::{Response, header::CONTENT_TYPE};

/// The OpenAPI 3.1 document: every call of the public listener, with every answer.
pub const OPENAPI: &str = include_str!("../openapi.json");

pub(crate) fn openapi() -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(OPENAPI.as_bytes()));
    response.headers_mut().insert(CONTENT_TYPE, APPLICATION_JSON);
    response
}
