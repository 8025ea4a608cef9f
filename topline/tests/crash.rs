//! Killed at any moment under load, again and again: everything acknowledged is counted, and once.
//!
//! Keyed purchases whose answer never came are sent again with their keys until they are acknowledged,
//! and then their counts are known exactly. Those without a key may have been counted or not.

mod common;

use random::Random;
use std::{
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

use common::{
    Client, Server, command,
    sales::{Request, Sale, Tally, check, retry},
};

const ROUNDS: u64 = 9;
/// Clients that send a purchase at a time, with keys and without, and clients that send many.
const KEYED: u64 = 3;
const UNKEYED: u64 = 2;
const BULK: u64 = 2;
/// Stores from here on are sold in without keys.
const UNKEYED_STORES: u64 = 1000;
/// Checkpoints come so often that some are cut short.
const ARGS: [&str; 4] = ["--checkpoint-interval", "100ms", "--partitions", "3"];

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
