//! The paths.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http_server::{HttpError, Routes, Segment};
use hyper::{HeaderMap, Response};
use model::{ItemId, StoreId};
use telemetry::ViewMetrics;
use view::{Format, Query, Subject, View};
use warp::Filter;
use window::WindowKind;

use crate::{
    Args,
    events::follow,
    handler::Handler,
    openapi::openapi,
    page::page,
    params::{DEFAULT_K, Params},
};

type Store = Segment<StoreId>;
type Item = Segment<ItemId>;
type Pairs = Vec<(String, String)>;
type Answered = Result<Response<Bytes>, HttpError>;

/// The GET API over `view`.
///
/// The paths of the existing clients come first, and look at nothing but the path and the headers. They
/// ignore query parameters, as these clients have always been able to send them.
pub fn routes(view: Arc<View>, metrics: ViewMetrics, args: &Args) -> Routes {
    let shared = Arc::new(Handler::new(view, metrics, args));
    let handler = with(&shared);
    let legacy = handler.clone().and(warp::header::headers_cloned());
    let native = warp::query::<Pairs>().and(handler).and(warp::header::headers_cloned());

    let items_of_store = warp::path!("items" / "store" / Store).and(legacy.clone()).then(
        |store: Store, handler, headers| answer_legacy(store_subject(store), handler, headers),
    );
    let stores_of_item = warp::path!("items" / "top10" / Item)
        .and(legacy)
        .then(|item: Item, handler, headers| answer_legacy(item_subject(item), handler, headers));
    let store_top_items = warp::path!("v1" / "stores" / Store / "top-items")
        .and(native.clone())
        .then(|store: Store, pairs, handler, headers| {
            answer_native(store_subject(store), pairs, handler, headers)
        });
    let item_top_stores = warp::path!("v1" / "items" / Item / "top-stores")
        .and(native.clone())
        .then(|item: Item, pairs, handler, headers| {
            answer_native(item_subject(item), pairs, handler, headers)
        });
    let top_items =
        warp::path!("v1" / "top-items").and(native.clone()).then(|pairs, handler, headers| {
            answer_native(Ok(Subject::TopItems), pairs, handler, headers)
        });
    let top_stores =
        warp::path!("v1" / "top-stores").and(native).then(|pairs, handler, headers| {
            answer_native(Ok(Subject::TopStores), pairs, handler, headers)
        });
    event_routes(&shared)
        .get("/", warp::path::end().map(page))
        .get("/items/store/{storeID}", items_of_store)
        .get("/items/top10/{itemID}", stores_of_item)
        .get("/v1/stores/{storeID}/top-items", store_top_items)
        .get("/v1/items/{itemID}/top-stores", item_top_stores)
        .get("/v1/top-items", top_items)
        .get("/v1/top-stores", top_stores)
        .get("/openapi.json", warp::path!("openapi.json").map(openapi))
}

/// The lists of the native API as events.
fn event_routes(handler: &Arc<Handler>) -> Routes {
    let following = warp::query::<Pairs>().and(with(handler)).and(warp::header::headers_cloned());
    let store = warp::path!("v1" / "stores" / Store / "top-items" / "events")
        .and(following.clone())
        .then(|store: Store, pairs, handler, headers| {
            follow_native(store_subject(store), pairs, handler, headers)
        });
    let item = warp::path!("v1" / "items" / Item / "top-stores" / "events")
        .and(following.clone())
        .then(|item: Item, pairs, handler, headers| {
            follow_native(item_subject(item), pairs, handler, headers)
        });
    let top_items = warp::path!("v1" / "top-items" / "events").and(following.clone()).then(
        |pairs, handler, headers| follow_native(Ok(Subject::TopItems), pairs, handler, headers),
    );
    let top_stores = warp::path!("v1" / "top-stores" / "events").and(following).then(
        |pairs, handler, headers| follow_native(Ok(Subject::TopStores), pairs, handler, headers),
    );
    Routes::new("query")
        .get("/v1/stores/{storeID}/top-items/events", store)
        .get("/v1/items/{itemID}/top-stores/events", item)
        .get("/v1/top-items/events", top_items)
        .get("/v1/top-stores/events", top_stores)
}

fn with(
    handler: &Arc<Handler>,
) -> impl Filter<Extract = (Arc<Handler>,), Error = Infallible> + Clone + use<> {
    let handler = Arc::clone(handler);
    warp::any().map(move || Arc::clone(&handler))
}

fn store_subject(store: Store) -> Result<Subject, HttpError> {
    store.get("storeID").map(Subject::Store)
}

fn item_subject(item: Item) -> Result<Subject, HttpError> {
    item.get("itemID").map(Subject::Item)
}

/// The top 10 since the beginning, in the form of the existing clients.
async fn answer_legacy(
    subject: Result<Subject, HttpError>,
    handler: Arc<Handler>,
    headers: HeaderMap,
) -> Answered {
    let query = Query {
        subject: subject?,
        kind: WindowKind::All,
        date: None,
        k: DEFAULT_K.min(handler.max_k),
        format: Format::Legacy,
    };
    handler.answer(query, headers).await
}

async fn answer_native(
    subject: Result<Subject, HttpError>,
    pairs: Pairs,
    handler: Arc<Handler>,
    headers: HeaderMap,
) -> Answered {
    let query = native_query(subject?, &pairs, &handler)?;
    handler.answer(query, headers).await
}

async fn follow_native(
    subject: Result<Subject, HttpError>,
    pairs: Pairs,
    handler: Arc<Handler>,
    headers: HeaderMap,
) -> Result<warp::reply::Response, HttpError> {
    let query = native_query(subject?, &pairs, &handler)?;
    follow(handler, query, &headers).await
}

fn native_query(
    subject: Subject,
    pairs: &[(String, String)],
    handler: &Handler,
) -> Result<Query, HttpError> {
    let Params { kind, date, k } = Params::parse(pairs, handler.max_k)?;
    Ok(Query { subject, kind, date, k, format: Format::V1 })
}
