//! The routes of the admin listener: metrics, health, readiness.

use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde::Serialize;
use telemetry::Registry;
use warp::Filter;

use crate::{APPLICATION_JSON, HttpError, NotReady, Readiness, Routes};

/// - `/metrics`: the metrics of `registry`, in the text format of Prometheus
/// - `/healthz`: 200 as long as the process answers
/// - `/readyz`: 200, or 503 naming what is not ready
pub fn admin_routes(registry: Registry, readiness: Readiness) -> Routes {
    let metrics = warp::path!("metrics").map(move || metrics(&registry));
    let health = warp::path!("healthz").map(|| json(StatusCode::OK, &Health { status: "ok" }));
    let ready = warp::path!("readyz").map(move || ready(&readiness));
    Routes::new("admin").get("/metrics", metrics).get("/healthz", health).get("/readyz", ready)
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ready {
    ready: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_ready: Vec<NotReady>,
}

fn metrics(registry: &Registry) -> Response<Bytes> {
    match telemetry::render(registry) {
        Ok(text) => {
            let mut response = Response::new(Bytes::from(text));
            let format = HeaderValue::from_static(telemetry::TEXT_FORMAT);
            response.headers_mut().insert(CONTENT_TYPE, format);
            response
        }
        Err(error) => HttpError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the metrics cannot be encoded: {error}"),
        )
        .to_http(),
    }
}

fn ready(readiness: &Readiness) -> Response<Bytes> {
    let not_ready = readiness.not_ready();
    let ready = not_ready.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &Ready { ready, not_ready })
}

fn json(status: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    let body = serde_json::to_vec(body).expect("plain structs always serialise");
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, APPLICATION_JSON);
    response
}
