//! The routes.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, Bytes};
use http_server::{APPLICATION_JSON, BodyLimits, HttpError, Routes, Segment, read_body};
use model::{BusinessDate, CustomerId, ItemId, Purchase, StoreId, Timestamp};
use serde::Serialize;
use warp::{
    Filter, Rejection, Stream,
    http::{Response, StatusCode, header::CONTENT_TYPE},
};

use super::{Design, Entry, Refusal, parse_lines};

const BODY_LIMITS: BodyLimits = BodyLimits { bytes: 256 * 1024, time: Duration::from_secs(30) };

type Store = Segment<StoreId>;
type Customer = Segment<CustomerId>;
type Date = Segment<BusinessDate>;
type Item = Segment<ItemId>;
type Answered = Result<Response<Bytes>, HttpError>;

/// The routes of the contract over `design`; `name` is its name in metrics.
pub fn routes<D: Design>(name: &'static str, design: &Arc<D>) -> Routes {
    let design = Arc::clone(design);
    let design = warp::any().map(move || Arc::clone(&design));
    let post = warp::path!("purchase" / Store / "customer" / Customer / "date" / Date)
        .map(|store, customer, date| PurchasePath { store, customer, date })
        .and(headers())
        .and(warp::body::stream())
        .and(design.clone())
        .then(async |path, headers, body, design| post(path, headers, body, design).await);
    let items_of_store = warp::path!("items" / "store" / Store)
        .and(design.clone())
        .then(async |store, design| get_items(store, design).await);
    let stores_of_item = warp::path!("items" / "top10" / Item)
        .and(design)
        .then(async |item, design| get_stores(item, design).await);
    Routes::new(name)
        .post("/purchase/{storeID}/customer/{custID}/date/{date}", post)
        .get("/items/store/{storeID}", items_of_store)
        .get("/items/top10/{itemID}", stores_of_item)
}

/// The path of a purchase, not checked yet.
struct PurchasePath {
    store: Store,
    customer: Customer,
    date: Date,
}

/// What the headers of a POST say.
struct Headers {
    length: Option<u64>,
    media_type: Option<String>,
    encoding: Option<String>,
}

fn headers() -> impl Filter<Extract = (Headers,), Error = Rejection> + Clone {
    use warp::header::optional;
    optional("content-length")
        .and(optional("content-type"))
        .and(optional("content-encoding"))
        .map(|length, media_type, encoding| Headers { length, media_type, encoding })
}

impl Headers {
    fn expect_json(&self) -> Result<(), Refusal> {
        let essence = self.media_type.as_deref().and_then(|text| text.split(';').next());
        if !essence.is_some_and(|name| name.trim().eq_ignore_ascii_case("application/json")) {
            return Err(Refusal::MediaType("the content type must be application/json"));
        }
        match self.encoding.as_deref() {
            Some(encoding) if !encoding.trim().eq_ignore_ascii_case("identity") => {
                Err(Refusal::MediaType("the body must not have a content encoding"))
            }
            _ => Ok(()),
        }
    }
}

async fn post<B: Buf, D: Design>(
    path: PurchasePath,
    headers: Headers,
    body: impl Stream<Item = Result<B, warp::Error>>,
    design: Arc<D>,
) -> Answered {
    design.record(read_purchase(path, headers, body).await?).await?;
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

async fn read_purchase<B: Buf>(
    path: PurchasePath,
    headers: Headers,
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Purchase, Refusal> {
    let store = path.store.get("storeID")?;
    let customer = path.customer.get("custID")?;
    let date = path.date.get("date")?;
    headers.expect_json()?;
    let body = read_body(body, headers.length, BODY_LIMITS).await?;
    let lines = parse_lines(&body)?;
    Ok(Purchase { store, customer, date, event_time: Timestamp::now(), key: None, lines })
}

/// Both lists have this name: the existing clients expect it.
#[derive(Serialize)]
struct List<T> {
    stores: Vec<T>,
}

#[derive(Serialize)]
struct ItemEntry {
    #[serde(rename = "itemID")]
    item: ItemId,
    #[serde(rename = "numberOfItems")]
    count: u64,
}

#[derive(Serialize)]
struct StoreEntry {
    #[serde(rename = "storeID")]
    store: StoreId,
    #[serde(rename = "numberOfItems")]
    count: u64,
}

async fn get_items<D: Design>(store: Store, design: Arc<D>) -> Answered {
    let store = store.get("storeID")?;
    let entries = design.top_items(store).await?;
    answer(
        entries,
        |Entry { id: item, count }| ItemEntry { item, count },
        || format!("in store {store}"),
    )
}

async fn get_stores<D: Design>(item: Item, design: Arc<D>) -> Answered {
    let item = item.get("itemID")?;
    let entries = design.top_stores(item).await?;
    answer(
        entries,
        |Entry { id: store, count }| StoreEntry { store, count },
        || format!("of item {item}"),
    )
}

fn answer<Id, T: Serialize>(
    entries: Vec<Entry<Id>>,
    form: impl Fn(Entry<Id>) -> T,
    name: impl FnOnce() -> String,
) -> Answered {
    if entries.is_empty() {
        return Err(Refusal::NeverSeen(name()).into());
    }
    let list = List { stores: entries.into_iter().map(form).collect() };
    let json = serde_json::to_vec(&list).expect("numbers always have a JSON form");
    let mut response = Response::new(Bytes::from(json));
    response.headers_mut().insert(CONTENT_TYPE, APPLICATION_JSON);
    Ok(response)
}
