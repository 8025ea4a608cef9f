//! Killed at any moment under load, again and again: everything acknowledged is counted, and once.
//!
//! Keyed purchases whose answer never came are sent again with their keys until they are acknowledged,
//! and then their counts are known exactly. Those without a key may have been counted or not.

mod common;

use random::Random;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use common::{Client, JSON, NDJSON, Server, command};

const ROUNDS: u64 = 9;
/// Clients that send a purchase at a time, with keys and without, and clients that send many.
const KEYED: u64 = 3;
const UNKEYED: u64 = 2;
const BULK: u64 = 2;
const STORES: u64 = 12;
/// Stores from here on are sold in without keys.
const UNKEYED_STORES: u64 = 1000;
const DATE: &str = "20210101";
/// Checkpoints come so often that some are cut short.
const ARGS: [&str; 4] = ["--checkpoint-interval", "100ms", "--partitions", "3"];

/// A purchase that no other is like: no two sell the same item.
#[derive(Debug, Clone)]
struct Sale {
    store: u64,
    item: u64,
    quantity: u64,
}

impl Sale {
    /// The `number`-th of a client.
    fn of(client: u64, number: u64) -> Self {
        let item = client * 1_000_000 + number;
        let mut random = Random::new(item);
        let store = random.below(STORES);
        Self { store, item, quantity: 1 + random.below(9) }
    }

    fn key(&self) -> String {
        format!("sale-{}", self.item)
    }

    fn items(&self) -> String {
        format!(r#"[{{"ItemID":{},"numberOfItems":{}}}]"#, self.item, self.quantity)
    }

    fn line(&self) -> String {
        let Self { store, .. } = self;
        let (key, items) = (self.key(), self.items());
        format!(r#"{{"storeID":{store},"custID":1,"date":"{DATE}","key":"{key}","items":{items}}}"#)
    }
}

/// A request: a purchase, or many, all with keys or the only one without.
#[derive(Debug, Clone)]
enum Request {
    Keyed(Sale),
    Unkeyed(Sale),
    Bulk(Vec<Sale>),
}

impl Request {
    /// Sends it; the position if it was acknowledged.
    fn send(&self, client: &mut Client) -> Option<String> {
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

    fn sales(&self) -> &[Sale] {
        match self {
            Self::Keyed(sale) | Self::Unkeyed(sale) => std::slice::from_ref(sale),
            Self::Bulk(sales) => sales,
        }
    }
}

fn path(sale: &Sale) -> String {
    format!("/purchase/{}/customer/1/date/{DATE}", sale.store)
}

fn body(sale: &Sale) -> String {
    format!(r#"{{"items":{}}}"#, sale.items())
}

/// What the clients know of what they have sent.
#[derive(Debug, Default)]
struct Tally {
    /// With keys, and acknowledged at least once.
    acknowledged: BTreeMap<u64, Sale>,
    /// With keys, and not acknowledged.
    unclear: Vec<Request>,
    /// Without keys, by store: the least and the most there can be.
    unkeyed: BTreeMap<u64, (u64, u64)>,
    /// A view that has this has everything acknowledged.
    position: BTreeMap<u64, u64>,
}

impl Tally {
    fn note(&mut self, request: Request, position: Option<&str>) {
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

    fn position(&self) -> String {
        let parts: Vec<_> = self.position.iter().map(|(p, next)| format!("{p}:{next}")).collect();
        parts.join(",")
    }
}

/// A client that sends until the server is gone. Its numbers go on from round to round.
struct Sender {
    id: u64,
    next: u64,
}

impl Sender {
    fn request(&mut self, random: &mut Random) -> Request {
        let mut sale = |store_offset| {
            self.next += 1;
            let sale = Sale::of(self.id, self.next);
            Sale { store: sale.store + store_offset, ..sale }
        };
        if self.id < KEYED {
            Request::Keyed(sale(0))
        } else if self.id < KEYED + UNKEYED {
            let sale = sale(UNKEYED_STORES);
            Request::Unkeyed(Sale { item: 0, ..sale })
        } else {
            Request::Bulk((0..=random.below(60)).map(|_| sale(0)).collect())
        }
    }

    fn run(&mut self, address: SocketAddr, tally: &Mutex<Tally>, acks: &AtomicU64, seed: u64) {
        let mut random = Random::new(seed ^ self.id);
        let Ok(mut client) = Client::connect(address) else { return };
        loop {
            let request = self.request(&mut random);
            let position = request.send(&mut client);
            tally.lock().unwrap().note(request, position.as_deref());
            if position.is_none() {
                return;
            }
            acks.fetch_add(1, Ordering::Release);
        }
    }
}

/// Lets the clients send, and kills the server on the way.
fn round(server: Server, senders: &mut [Sender], tally: &Arc<Mutex<Tally>>, random: &mut Random) {
    let acks = AtomicU64::new(0);
    let (enough, pause) = (1 + random.below(150), Duration::from_millis(random.below(250)));
    let (address, seed) = (server.public, random.next());
    thread::scope(|scope| {
        for sender in senders {
            let (tally, acks) = (&tally, &acks);
            scope.spawn(move || sender.run(address, tally, acks, seed));
        }
        while acks.load(Ordering::Acquire) < enough {
            thread::yield_now();
        }
        // The moment is random, also as seen from the checkpoints.
        thread::sleep(pause);
        server.kill();
    });
}

/// Kills a server on its way up: recovery must survive that too.
fn killed_while_starting(data_dir: &Path, random: &mut Random) {
    let mut command = command(data_dir, &ARGS);
    let mut child = command.stderr(Stdio::null()).spawn().expect("the binary starts");
    thread::sleep(Duration::from_millis(random.below(120)));
    child.kill().expect("it runs");
    child.wait().expect("a child");
}

/// Sends again what had no answer, and some of what had one.
fn retry(server: &Server, tally: &mut Tally, random: &mut Random) {
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
fn check(server: &Server, tally: &Tally, every: bool) {
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

#[test]
fn everything_acknowledged_is_counted_exactly_once() {
    let data = tempfile::tempdir().unwrap();
    let mut random = Random::new(20_210_101);
    let tally = Arc::new(Mutex::new(Tally::default()));
    let mut senders: Vec<Sender> =
        (0..KEYED + UNKEYED + BULK).map(|id| Sender { id, next: 0 }).collect();
    for number in 0..=ROUNDS {
        killed_while_starting(data.path(), &mut random);
        let server = Server::start(data.path(), &ARGS);
        if number > 0 {
            let tally = &mut *tally.lock().unwrap();
            retry(&server, tally, &mut random);
            check(&server, tally, number == ROUNDS);
        }
        if number < ROUNDS {
            round(server, &mut senders, &tally, &mut random);
        }
    }
    let tally = tally.lock().unwrap();
    assert!(tally.acknowledged.len() as u64 > 20 * ROUNDS, "too little was sent to tell");
}
