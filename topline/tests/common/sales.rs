//! Purchases that can be told apart, and the tally of what became of them.

use std::collections::{BTreeMap, BTreeSet};

use random::Random;

use super::{Client, JSON, NDJSON, Server};

const STORES: u64 = 12;
const DATE: &str = "20210101";

/// A purchase that no other is like: no two sell the same item.
#[derive(Debug, Clone)]
pub(crate) struct Sale {
    pub(crate) store: u64,
    pub(crate) item: u64,
    pub(crate) quantity: u64,
}

impl Sale {
    /// The `number`-th of a client.
    pub(crate) fn of(client: u64, number: u64) -> Self {
        let item = client * 1_000_000 + number;
        let mut random = Random::new(item);
        let store = random.below(STORES);
        Self { store, item, quantity: 1 + random.below(9) }
    }

    pub(crate) fn key(&self) -> String {
        format!("sale-{}", self.item)
    }

    pub(crate) fn items(&self) -> String {
        format!(r#"[{{"ItemID":{},"numberOfItems":{}}}]"#, self.item, self.quantity)
    }

    pub(crate) fn line(&self) -> String {
        let Self { store, .. } = self;
        let (key, items) = (self.key(), self.items());
        format!(r#"{{"storeID":{store},"custID":1,"date":"{DATE}","key":"{key}","items":{items}}}"#)
    }
}

/// A request: a purchase, or many, all with keys or the only one without.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    Keyed(Sale),
    Unkeyed(Sale),
    Bulk(Vec<Sale>),
}

impl Request {
    /// Sends it; the position if it was acknowledged.
    pub(crate) fn send(&self, client: &mut Client) -> Option<String> {
        let (path, content_type, body) = match self {
            Self::Keyed(sale) | Self::Unkeyed(sale) => (path(sale), JSON, body(sale)),
            Self::Bulk(sales) => {
                let lines: Vec<_> = sales.iter().map(Sale::line).collect();
                ("/v1/purchases".to_owned(), NDJSON, lines.join("\n"))
            }
        };
        let key = if let Self::Keyed(sale) = self { sale.key() } else { String::new() };
        let mut headers = vec![content_type];
        if !key.is_empty() {
            headers.push(("idempotency-key", &key));
        }
        let answer = client.request("POST", &path, &headers, body.as_bytes())?;
        match (self, answer.status) {
            (_, 503) => return None,
            (Self::Bulk(sales), 200) => {
                assert_eq!(answer.body, format!(r#"{{"accepted":{},"rejected":[]}}"#, sales.len()));
            }
            (_, status) => assert_eq!((status, &*answer.body), (201, ""), "{self:?}"),
        }
        Some(answer.header("topline-position").expect("a position").to_owned())
    }

    pub(crate) fn sales(&self) -> &[Sale] {
        match self {
            Self::Keyed(sale) | Self::Unkeyed(sale) => std::slice::from_ref(sale),
            Self::Bulk(sales) => sales,
        }
    }
}

pub(crate) fn path(sale: &Sale) -> String {
    format!("/purchase/{}/customer/1/date/{DATE}", sale.store)
}

pub(crate) fn body(sale: &Sale) -> String {
    format!(r#"{{"items":{}}}"#, sale.items())
}

/// What the clients know of what they have sent.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// With keys, and acknowledged at least once.
    pub(crate) acknowledged: BTreeMap<u64, Sale>,
    /// With keys, and not acknowledged.
    pub(crate) unclear: Vec<Request>,
    /// Without keys, by store: the least and the most there can be.
    pub(crate) unkeyed: BTreeMap<u64, (u64, u64)>,
    /// A view that has this has everything acknowledged.
    position: BTreeMap<u64, u64>,
}

impl Tally {
    pub(crate) fn note(&mut self, request: Request, position: Option<&str>) {
        for part in position.iter().flat_map(|position| position.split(',')) {
            let (partition, next) = part.split_once(':').expect("a position");
            let known = self.position.entry(partition.parse().expect("a number")).or_default();
            *known = (*known).max(next.parse().expect("a number"));
        }
        match (&request, position) {
            (Request::Unkeyed(sale), _) => {
                let (least, most) = self.unkeyed.entry(sale.store).or_default();
                *least += if position.is_some() { sale.quantity } else { 0 };
                *most += sale.quantity;
            }
            (_, Some(_)) => {
                let sales = request.sales().iter().map(|sale| (sale.item, sale.clone()));
                self.acknowledged.extend(sales);
            }
            (_, None) => self.unclear.push(request),
        }
    }

    pub(crate) fn position(&self) -> String {
        let parts: Vec<_> = self.position.iter().map(|(p, next)| format!("{p}:{next}")).collect();
        parts.join(",")
    }
}

/// Sends again what had no answer, and some of what had one.
pub(crate) fn retry(server: &Server, tally: &mut Tally, random: &mut Random) {
    let mut again = std::mem::take(&mut tally.unclear);
    let keys: Vec<u64> = tally.acknowledged.keys().copied().collect();
    for _ in 0..keys.len().min(20) {
        let item = keys[random.below(keys.len() as u64) as usize];
        again.push(Request::Keyed(tally.acknowledged[&item].clone()));
    }
    let mut client = server.client();
    for request in again {
        let position = request.send(&mut client).expect("acknowledged");
        tally.note(request, Some(&position));
    }
}

/// Compares the totals of the stores, which show any loss and any double count; and if `every`, the
/// list of every item.
pub(crate) fn check(server: &Server, tally: &Tally, every: bool) {
    let mut expected: BTreeMap<u64, (u64, u64)> = tally.unkeyed.clone();
    for sale in tally.acknowledged.values() {
        let (least, most) = expected.entry(sale.store).or_default();
        *least += sale.quantity;
        *most += sale.quantity;
    }
    let answer = server.get_at("/v1/top-stores?k=100", &tally.position());
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut seen = BTreeSet::new();
    for entry in answer.json()["stores"].as_array().unwrap() {
        let (store, sold) =
            (entry["storeID"].as_u64().unwrap(), entry["quantity"].as_u64().unwrap());
        let (least, most) = expected.get(&store).copied().unwrap_or((0, 0));
        assert!((least..=most).contains(&sold), "store {store}: {sold}, not {least} to {most}");
        seen.insert(store);
    }
    for (store, (least, _)) in &expected {
        assert!(*least == 0 || seen.contains(store), "store {store} is missing");
    }
    if every {
        let mut client = server.client();
        for Sale { store, item, quantity } in tally.acknowledged.values() {
            let path = format!("/items/top10/{item}");
            let answer = client.request("GET", &path, &[], b"").expect("an answer");
            let list =
                format!(r#"{{"stores":[{{"storeID":{store},"numberOfItems":{quantity}}}]}}"#);
            assert_eq!(answer.parts(), (200, &*list), "item {item}");
        }
    }
}
