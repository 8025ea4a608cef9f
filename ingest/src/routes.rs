//! The routes of ingest.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, Bytes};
use http_server::{APPLICATION_JSON, BodyLimits, HttpError, Routes, Segment, read_body};
use model::{BusinessDate, CustomerId, Position, Purchase, StoreId, Timestamp};
use telemetry::IngestMetrics;
use tokio::sync::Semaphore;
use warp::{
    Filter, Stream,
    http::{
        Response, StatusCode,
        header::{CONTENT_TYPE, HeaderName, HeaderValue},
    },
};

use crate::{
    IngestArgs, IngestHandle, WriteToken,
    bulk::parse_bulk,
    clock,
    headers::{PostHeaders, post_headers},
    key,
    parse::parse_basket,
    status::Refusal,
};

/// The header of an answer that says from which position on a view has the purchase.
pub const POSITION_HEADER: HeaderName = HeaderName::from_static("topline-position");

/// How long a bulk request waits for its turn before it is refused.
const BULK_PATIENCE: Duration = Duration::from_secs(2);

/// What the handlers share.
#[derive(Debug)]
struct Context {
    handle: IngestHandle,
    metrics: IngestMetrics,
    write_token: Option<WriteToken>,
    purchase_limits: BodyLimits,
    bulk_limits: BodyLimits,
    bulk_slots: Semaphore,
}

/// - `POST /purchase/{storeID}/customer/{custID}/date/{date}`: one purchase; 201 when it is durable
/// - `POST /v1/purchases`: a purchase a line; 200 when those accepted are durable
///
/// Everything a handler refuses is an answer already; only what is wrong with path or method is
/// a rejection of warp.
pub fn routes(handle: IngestHandle, args: &IngestArgs, metrics: IngestMetrics) -> Routes {
    type Store = Segment<StoreId>;
    type Customer = Segment<CustomerId>;
    type Date = Segment<BusinessDate>;
    let limits = |bytes: u32| BodyLimits { bytes: bytes as usize, time: args.body_timeout };
    let context = Arc::new(Context {
        handle,
        metrics,
        write_token: args.write_token.clone(),
        purchase_limits: limits(args.max_purchase_bytes),
        bulk_limits: limits(args.max_bulk_bytes),
        bulk_slots: Semaphore::new(args.max_bulk_requests as usize),
    });
    let context = warp::any().map(move || Arc::clone(&context));
    let one = warp::path!("purchase" / Store / "customer" / Customer / "date" / Date)
        .map(|store, customer, date| PurchasePath { store, customer, date })
        .and(post_headers())
        .and(warp::body::stream())
        .and(context.clone())
        .then(post_purchase);
    let bulk = warp::path!("v1" / "purchases")
        .and(post_headers())
        .and(warp::body::stream())
        .and(context)
        .then(post_bulk);
    Routes::new("ingest")
        .post("/purchase/{storeID}/customer/{custID}/date/{date}", one)
        .post("/v1/purchases", bulk)
}

/// The path of a purchase, not checked yet.
#[derive(Debug)]
struct PurchasePath {
    store: Segment<StoreId>,
    customer: Segment<CustomerId>,
    date: Segment<BusinessDate>,
}

async fn post_purchase<B: Buf>(
    path: PurchasePath,
    headers: PostHeaders,
    body: impl Stream<Item = Result<B, warp::Error>>,
    context: Arc<Context>,
) -> Result<Response<Bytes>, HttpError> {
    let outcome = async {
        let purchase = read_purchase(path, headers, body, &context).await?;
        Ok(context.handle.submit(vec![purchase]).await?)
    };
    let position = outcome.await.map_err(|refusal: Refusal| context.refuse(refusal, 1))?;
    let mut response = answer(&position, Bytes::new());
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

async fn read_purchase<B: Buf>(
    path: PurchasePath,
    headers: PostHeaders,
    body: impl Stream<Item = Result<B, warp::Error>>,
    context: &Context,
) -> Result<Purchase, Refusal> {
    headers.authorize(context.write_token.as_ref())?;
    let store = path.store.get("storeID")?;
    let customer = path.customer.get("custID")?;
    let date = path.date.get("date")?;
    headers.expect_json()?;
    let key = headers
        .idempotency_key()?
        .map(|text| key::digest(store, text, "the header Idempotency-Key"))
        .transpose()?;
    let body = read_body(body, headers.content_length(), context.purchase_limits).await?;
    let basket = parse_basket(&body)?;
    let event_time = clock::event_time(date, basket.occurred_at, Timestamp::now())?;
    Ok(Purchase { store, customer, date, event_time, key, lines: basket.lines })
}

async fn post_bulk<B: Buf>(
    headers: PostHeaders,
    body: impl Stream<Item = Result<B, warp::Error>>,
    context: Arc<Context>,
) -> Result<Response<Bytes>, HttpError> {
    let refuse = |refusal| context.refuse(refusal, 1);
    headers
        .authorize(context.write_token.as_ref())
        .and_then(|()| headers.expect_ndjson())
        .map_err(refuse)?;
    // Held until the answer: it stands for the memory of the body and its purchases.
    let _slot = tokio::time::timeout(BULK_PATIENCE, context.bulk_slots.acquire())
        .await
        .map_err(|_| refuse(Refusal::Busy))?;
    let body = read_body(body, headers.content_length(), context.bulk_limits)
        .await
        .map_err(|error| refuse(error.into()))?;
    let (purchases, mut report) = parse_bulk(&body, Timestamp::now(), &context.metrics).await;
    drop(body);
    report.accepted = purchases.len();
    let position = context
        .handle
        .submit(purchases)
        .await
        .map_err(|error| context.refuse(error.into(), report.accepted as u64))?;
    let json = serde_json::to_vec(&report).expect("numbers and strings always serialise");
    let mut response = answer(&position, Bytes::from(json));
    response.headers_mut().insert(CONTENT_TYPE, APPLICATION_JSON);
    Ok(response)
}

fn answer(position: &Position, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    if !position.is_empty() {
        let position = HeaderValue::from_maybe_shared(Bytes::from(position.to_string()))
            .expect("digits, colons and commas are valid in a header");
        response.headers_mut().insert(POSITION_HEADER, position);
    }
    response
}

impl Context {
    fn refuse(&self, refusal: Refusal, purchases: u64) -> HttpError {
        refusal.count(&self.metrics, purchases);
        refusal.into_http()
    }
}
