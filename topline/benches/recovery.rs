//! Killed while purchases come in, with millions of them in its state: how long until it serves right
//! answers again. `cargo bench -p topline --bench recovery`.
//!
//! Right is what the senders have tallied of what was acknowledged. What was under way at the kill may
//! be in an answer or not, until it is sent again under the same keys: then answers must be exact.

mod common;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use common::{
    client::{Answer, Client, Position},
    copy_directory, directory_bytes,
    process::resident_bytes,
    purchases::{Chain, Purchase, post_bulk},
    report::{self, Table, count, megabytes},
    server::Server,
};
use random::Random;

#[derive(Debug, Parser)]
struct Args {
    /// Purchases acknowledged before those that the kill interrupts
    #[arg(long, env = "BENCH_RECOVERY_PURCHASES", default_value_t = 10_000_000)]
    purchases: u64,
    /// Times it is killed; when the last checkpoint was is different each time
    #[arg(long, env = "BENCH_RECOVERY_KILLS", default_value_t = 3)]
    kills: u32,
    /// Seconds that purchases come in before each kill
    #[arg(long, env = "BENCH_RECOVERY_SECONDS", default_value_t = 3.0)]
    seconds: f64,
    /// Connections that send
    #[arg(long, env = "BENCH_BULK_CONNECTIONS", default_value_t = 4)]
    connections: u64,
    /// Stores
    #[arg(long, env = "BENCH_STORES", default_value_t = 1000)]
    stores: u32,
    /// Items
    #[arg(long, env = "BENCH_ITEMS", default_value_t = 100_000)]
    items: u32,
    /// Copies the data as the last kill left it into this directory, which must not exist: starts from one and the
    /// same image can be compared, and profiled
    #[arg(long, env = "BENCH_RECOVERY_IMAGE", value_name = "DIRECTORY")]
    image: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// Purchases in a body.
const BODY: usize = 2000;
/// Between two looks at a server that is not ready.
const POLL: Duration = Duration::from_millis(1);
/// Ranks whose lists are checked: the most popular, and some that are not.
const STORE_RANKS: [usize; 4] = [0, 1, 30, 500];
const ITEM_RANKS: [usize; 5] = [0, 1, 30, 1000, 30_000];
/// The length of the lists.
const TOP: usize = 10;

fn main() {
    let args = Args::parse();
    let chain = Chain::new(args.stores, args.items);
    let directory = common::directory();
    let data = directory.path().join("data");
    report::title("Recovery from kill -9");

    let mut server = Server::serve(&data).ready();
    let mut senders: Vec<_> = (0..args.connections).map(|id| Sender::new(id, &chain)).collect();
    let start = Instant::now();
    load(&server, &mut senders, args.purchases);
    println!(
        "{} purchases acknowledged in {:.0} s, then {} s more before each kill\n",
        count(args.purchases as f64),
        start.elapsed().as_secs_f64(),
        args.seconds,
    );
    let table = Table::new(&COLUMNS);
    let mut lists = 0;
    for kill in 1..=args.kills {
        let held = interrupt(server, &data, &mut senders, Duration::from_secs_f64(args.seconds));
        if let Some(image) = args.image.as_deref().filter(|_| kill == args.kills) {
            copy_directory(&data, image).expect("there is room for the image");
        }
        let under_way = senders.iter().map(|sender| sender.under_way.len()).sum();
        let times;
        (server, times) = restart(&data, &senders);
        show(&table, &held, under_way, &times, resident_bytes(server.pid()));
        send_again(&server, &mut senders);
        lists += check_exact(&server, &senders);
    }
    println!("\nverified: {lists} lists, 0 differences");
}

/// What a server held when it was killed.
struct Held {
    pairs: f64,
    memory: u64,
    checkpoints: u64,
    log: u64,
    /// Seconds since the last checkpoint, of the partition where it was longest.
    checkpoint_age: f64,
}

/// From the start of the process.
struct Times {
    listening: Duration,
    ready: Duration,
    right: Duration,
}

const COLUMNS: [&str; 10] = [
    "pairs",
    "checkpoints",
    "last checkpoint",
    "log",
    "memory",
    "purchases under way",
    "memory after",
    "listens",
    "right answers",
    "`/readyz`",
];

fn show(table: &Table, held: &Held, under_way: usize, times: &Times, memory_after: u64) {
    let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
    table.row(&[
        count(held.pairs),
        megabytes(held.checkpoints),
        format!("{:.1} s before", held.checkpoint_age),
        megabytes(held.log),
        megabytes(held.memory),
        count(under_way as f64),
        megabytes(memory_after),
        seconds(times.listening),
        seconds(times.right),
        seconds(times.ready),
    ]);
}

/// Quantities sold, of the stores and items that are watched only.
#[derive(Debug, Clone, Default)]
struct Tally {
    stores: BTreeMap<u32, HashMap<u32, u64>>,
    items: BTreeMap<u32, HashMap<u32, u64>>,
}

impl Tally {
    fn of(chain: &Chain) -> Self {
        Self {
            stores: STORE_RANKS.map(|rank| (chain.store(rank), HashMap::new())).into(),
            items: ITEM_RANKS.map(|rank| (chain.item(rank), HashMap::new())).into(),
        }
    }

    fn add(&mut self, purchases: &[Purchase]) {
        for Purchase { store, lines } in purchases {
            let mut of_store = self.stores.get_mut(store);
            for (item, quantity) in lines {
                if let Some(items) = &mut of_store {
                    *items.entry(*item).or_default() += u64::from(*quantity);
                }
                if let Some(stores) = self.items.get_mut(item) {
                    *stores.entry(*store).or_default() += u64::from(*quantity);
                }
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        for (all, more) in [(&mut self.stores, &other.stores), (&mut self.items, &other.items)] {
            for (entity, counts) in more {
                let all = all.entry(*entity).or_default();
                for (id, quantity) in counts {
                    *all.entry(*id).or_default() += quantity;
                }
            }
        }
    }

    /// The GETs of the lists watched, with what they count.
    fn lists(&self) -> impl Iterator<Item = (String, &HashMap<u32, u64>)> {
        let path = |prefix: &'static str| move |(id, counts)| (format!("{prefix}{id}"), counts);
        let stores = self.stores.iter().map(path("/items/store/"));
        stores.chain(self.items.iter().map(path("/items/top10/")))
    }
}

/// Sends purchases over a connection, and remembers what it must find again.
struct Sender<'a> {
    chain: &'a Chain,
    id: u64,
    random: Random,
    /// Purchases with keys so far.
    keyed: u64,
    tally: Tally,
    position: Position,
    /// The purchases sent without an answer, and their request.
    under_way: Vec<Purchase>,
    request: Vec<u8>,
}

impl<'a> Sender<'a> {
    fn new(id: u64, chain: &'a Chain) -> Self {
        Self {
            chain,
            id,
            random: Random::new(id << 32),
            keyed: 0,
            tally: Tally::of(chain),
            position: Position::default(),
            under_way: Vec::new(),
            request: Vec::new(),
        }
    }

    /// Makes the next request.
    fn prepare(&mut self, keyed: bool) {
        let mut body = String::new();
        self.under_way.clear();
        for _ in 0..BODY {
            let purchase = self.chain.purchase(&mut self.random);
            let key = keyed.then(|| format!("{}-{}", self.id, self.keyed));
            self.keyed += u64::from(keyed);
            self.chain.push_line(&mut body, &purchase, key.as_deref());
            self.under_way.push(purchase);
        }
        self.request = post_bulk(&body);
    }

    /// Sends the request; whether it was acknowledged.
    fn send(&mut self, client: &mut Client) -> bool {
        let Ok(answer) = client.send(&self.request) else { return false };
        let accepted = format!(r#"{{"accepted":{BODY},"rejected":[]}}"#);
        assert_eq!((answer.status, &answer.body), (200, &accepted));
        self.tally.add(&self.under_way);
        self.position.add(&answer);
        self.under_way.clear();
        true
    }
}

/// Sends `purchases` purchases without keys; ends when all are visible.
fn load(server: &Server, senders: &mut [Sender<'_>], purchases: u64) {
    let taken = AtomicU64::new(0);
    thread::scope(|scope| {
        for sender in &mut *senders {
            let (taken, mut client) = (&taken, Client::connect(server.public()));
            scope.spawn(move || {
                while taken.fetch_add(BODY as u64, Ordering::Relaxed) < purchases {
                    sender.prepare(false);
                    assert!(sender.send(&mut client), "the server has ended");
                }
            });
        }
    });
    for sender in senders {
        server.wait_for(&sender.position);
    }
}

/// Sends purchases with keys, and kills the server in the middle.
fn interrupt(server: Server, data: &Path, senders: &mut [Sender<'_>], time: Duration) -> Held {
    thread::scope(|scope| {
        for sender in senders {
            let mut client = Client::connect(server.public());
            scope.spawn(move || {
                sender.prepare(true);
                while sender.send(&mut client) {
                    sender.prepare(true);
                }
            });
        }
        thread::sleep(time);
        let held = Held {
            pairs: server.pairs(),
            memory: resident_bytes(server.pid()),
            checkpoints: directory_bytes(&data.join("checkpoints")),
            log: directory_bytes(&data.join("log")),
            checkpoint_age: server
                .metric("topline_job_checkpoint_age_seconds")
                .into_iter()
                .fold(0.0, f64::max),
        };
        server.kill();
        held
    })
}

/// What all senders have sent and had acknowledged.
fn acknowledged(senders: &[Sender<'_>]) -> Tally {
    let mut all = Tally::default();
    for sender in senders {
        all.merge(&sender.tally);
    }
    all
}

/// Starts it on the same data; gives it when its answers are right.
///
/// # Panics
/// At the first answer that is given, but not right.
fn restart(data: &Path, senders: &[Sender<'_>]) -> (Server, Times) {
    let least = acknowledged(senders);
    let mut most = least.clone();
    for sender in senders {
        most.add(&sender.under_way);
    }

    let start = Instant::now();
    let server = Server::serve(data);
    let listening = start.elapsed();
    let (ready, right) = thread::scope(|scope| {
        let ready = scope.spawn(|| {
            answered(&mut Client::connect(server.admin()), "/readyz");
            start.elapsed()
        });
        let mut client = Client::connect(server.public());
        for ((path, least), (_, most)) in least.lists().zip(most.lists()) {
            check_between(&path, &list(&answered(&mut client, &path)), least, most);
        }
        let right = start.elapsed();
        (ready.join().expect("it becomes ready"), right)
    });
    (server, Times { listening, ready, right })
}

/// Sends what was under way again, under the same keys, until all of it is acknowledged.
fn send_again(server: &Server, senders: &mut [Sender<'_>]) {
    for sender in senders {
        if !sender.under_way.is_empty() {
            assert!(sender.send(&mut Client::connect(server.public())), "the server has ended");
        }
        server.wait_for(&sender.position);
    }
}

/// Compares all lists; gives how many.
fn check_exact(server: &Server, senders: &[Sender<'_>]) -> usize {
    let tally = acknowledged(senders);
    let mut client = Client::connect(server.public());
    for (path, counts) in tally.lists() {
        let mut expected: Vec<_> = counts.iter().map(|(&id, &quantity)| (id, quantity)).collect();
        // The most first, and of the same the smaller id.
        expected.sort_unstable_by_key(|&(id, quantity)| (Reverse(quantity), id));
        expected.truncate(TOP);
        assert_eq!(list(&client.get(&path)), expected, "{path}");
    }
    tally.lists().count()
}

/// Whether a list can be, if the true counts are between `least` and `most`.
fn check_between(
    path: &str,
    list: &[(u32, u64)],
    least: &HashMap<u32, u64>,
    most: &HashMap<u32, u64>,
) {
    assert!(list.len() >= least.len().min(TOP), "{path} is too short: {list:?}");
    assert!(list.is_sorted_by_key(|&(id, quantity)| (Reverse(quantity), id)), "{path}: {list:?}");
    for (id, quantity) in list {
        let known = |counts: &HashMap<u32, u64>| counts.get(id).copied().unwrap_or_default();
        let range = known(least)..=known(most);
        assert!(range.contains(quantity), "{path}, {id}: {quantity} is not in {range:?}");
    }
    let last = list.last().map_or(0, |&(_, quantity)| quantity);
    for (id, least) in least {
        let listed = list.iter().any(|(other, _)| other == id);
        assert!(listed || *least <= last, "{path}: {id} with {least} is missing from {list:?}");
    }
}

/// GETs until the server is ready to answer.
fn answered(client: &mut Client, path: &str) -> Answer {
    loop {
        let answer = client.get(path);
        match answer.status {
            200 => return answer,
            503 => thread::sleep(POLL),
            _ => panic!("{path}: {answer:?}"),
        }
    }
}

/// The (id, quantity) of a list.
fn list(answer: &Answer) -> Vec<(u32, u64)> {
    let json: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
    let number = |value: &serde_json::Value| value.as_u64().expect("a number");
    let entries = json["stores"].as_array().expect("a list").iter();
    entries
        .map(|entry| {
            let id = entry.get("itemID").or(entry.get("storeID")).expect("an id");
            (number(id) as u32, number(&entry["numberOfItems"]))
        })
        .collect()
}
