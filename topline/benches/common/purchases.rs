//! Purchases, the same in every run.

use std::fmt::Write;

use model::Timestamp;
use random::Random;

use super::client::post_request;

/// Lines of a purchase.
pub(crate) const LINES: usize = 5;

/// Ids of which the n-th most popular is drawn in proportion to 1/n.
#[derive(Debug)]
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(count: u32) -> Self {
        let sums = (1..=count).scan(0.0, |sum, n| {
            *sum += 1.0 / f64::from(n);
            Some(*sum)
        });
        Self(sums.collect())
    }

    fn draw(&self, random: &mut Random) -> u32 {
        let at = random.unit() * self.0.last().expect("some ids");
        self.id(self.0.partition_point(|&sum| sum <= at).min(self.0.len() - 1))
    }

    /// The id of a rank from 0. Popular ids are no neighbours. (The factor is a prime, so that all
    /// ids occur.)
    fn id(&self, rank: usize) -> u32 {
        (rank as u64 * 2_654_435_761 % self.0.len() as u64) as u32
    }
}

/// The business date now, as it is written.
pub(crate) fn today() -> String {
    Timestamp::now().date().to_string()
}

/// A chain of stores, and what it sells.
#[derive(Debug)]
pub(crate) struct Chain {
    stores: Zipf,
    items: Zipf,
    date: String,
}

/// What is bought at once: (item, quantity).
#[derive(Debug, Clone)]
pub(crate) struct Purchase {
    pub(crate) store: u32,
    pub(crate) lines: [(u32, u32); LINES],
}

impl Chain {
    /// Everything is sold today.
    pub(crate) fn new(stores: u32, items: u32) -> Self {
        Self { stores: Zipf::new(stores), items: Zipf::new(items), date: today() }
    }

    pub(crate) fn store(&self, rank: usize) -> u32 {
        self.stores.id(rank)
    }

    pub(crate) fn item(&self, rank: usize) -> u32 {
        self.items.id(rank)
    }

    pub(crate) fn purchase(&self, random: &mut Random) -> Purchase {
        Purchase {
            store: self.stores.draw(random),
            lines: std::array::from_fn(|_| (self.items.draw(random), 1 + random.next() as u32 % 3)),
        }
    }

    /// The bytes of a POST of one purchase.
    pub(crate) fn post_one(&self, purchase: &Purchase) -> Vec<u8> {
        let path = format!("/purchase/{}/customer/1000/date/{}", purchase.store, self.date);
        let mut body = "{".to_owned();
        push_items(&mut body, purchase);
        body.push('}');
        post_request(&path, "application/json", &body)
    }

    /// Adds a line of NDJSON.
    pub(crate) fn push_line(&self, body: &mut String, purchase: &Purchase, key: Option<&str>) {
        let Self { date, .. } = self;
        let Purchase { store, .. } = purchase;
        write!(body, r#"{{"storeID":{store},"custID":1000,"date":"{date}","#).expect("a String");
        if let Some(key) = key {
            write!(body, r#""key":"{key}","#).expect("a String");
        }
        push_items(body, purchase);
        body.push_str("}\n");
    }

    /// The bytes of a bulk POST of `purchases` purchases.
    pub(crate) fn post_many(&self, purchases: usize, random: &mut Random) -> Vec<u8> {
        let mut body = String::new();
        for _ in 0..purchases {
            self.push_line(&mut body, &self.purchase(random), None);
        }
        post_bulk(&body)
    }
}

/// The bytes of a bulk POST of lines of NDJSON.
pub(crate) fn post_bulk(body: &str) -> Vec<u8> {
    post_request("/v1/purchases", "application/x-ndjson", body)
}

/// Adds the items, as a member of an object.
fn push_items(body: &mut String, purchase: &Purchase) {
    body.push_str(r#""items":["#);
    for (at, (item, quantity)) in purchase.lines.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        write!(body, r#"{comma}{{"ItemID":{item},"numberOfItems":{quantity}}}"#).expect("a String");
    }
    body.push(']');
}
