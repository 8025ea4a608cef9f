//! POSTs of one purchase of five lines, each answered when it is durable, in a closed loop; beside it
//! a file that is written to and synced in pieces of the size of the commits. And under that load:
//! from POST answered to visible in a GET. `cargo bench -p topline --bench post`.

mod common;

use std::{
    fs::File,
    io::{Seek, Write},
    path::Path,
    time::{Duration, Instant},
};

use clap::Parser;
use common::{
    load::{Load, Measured, Protocol},
    purchases::Chain,
    report::{self, Table, count, millis},
    server::Server,
    visibility::{Probes, Visibility},
};
use random::Random;

#[derive(Debug, Parser)]
struct Args {
    /// Clients, one number for each row
    #[arg(long, env = "BENCH_CONNECTIONS", value_delimiter = ',', default_value = "64,512,1024")]
    connections: Vec<usize>,
    /// Seconds that count of each measurement
    #[arg(long, env = "BENCH_SECONDS", default_value_t = 10.0)]
    seconds: f64,
    /// Threads of the client
    #[arg(long, env = "BENCH_THREADS", default_value_t = 2)]
    threads: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// Before what counts.
const WARM_UP: Duration = Duration::from_secs(1);
/// Purchases made before; they are sent again when all have been.
const PURCHASES: usize = 50_000;
/// How long the file beside is written.
const FILE_TIME: Duration = Duration::from_secs(2);
/// The bytes of the file that does not grow.
const FILE_ROOM: usize = 256 << 20;

fn main() {
    let args = Args::parse();
    let (chain, mut random) = (Chain::new(1000, 100_000), Random::new(2));
    let requests: Vec<_> =
        (0..PURCHASES).map(|_| chain.post_one(&chain.purchase(&mut random))).collect();
    report::title("POST of one purchase, durable");
    println!(
        "{} client threads, {} s; probes run in a second pass, of which the last column is\n",
        args.threads, args.seconds
    );
    let table = Table::new(&[
        "clients",
        "POST/s",
        "p50",
        "p99",
        "max",
        "POSTs a commit",
        "bytes a commit",
        "commits/s",
        "file, growing, syncs/s",
        "file with room, syncs/s",
        "POST/s with probes",
    ]);
    let seen: Vec<_> = args
        .connections
        .iter()
        .map(|&connections| (connections, measure(&args, connections, &requests, &table)))
        .collect();
    report::title("From POST answered to visible, under POSTs of one purchase");
    let table = Visibility::table();
    for (connections, visibility) in seen {
        visibility.rows(&table, &format!("{connections} clients"));
    }
}

/// On a server of its own, so that no row has the state of the one before.
fn measure(args: &Args, connections: usize, requests: &[Vec<u8>], table: &Table) -> Visibility {
    let directory = common::directory();
    let server = Server::serve(&directory.path().join("data")).ready();
    let load = Load {
        address: server.public(),
        protocol: Protocol::Http(201),
        requests,
        connections,
        threads: args.threads,
        warm_up: WARM_UP,
        time: Duration::from_secs_f64(args.seconds),
    };
    let before = Commits::of(&server);
    let mut alone = load.run();
    let commits = Commits::of(&server).since(&before);
    // Opening the connections is not in it, for nothing is committed then.
    let commits_per_second = commits.count / (load.warm_up + load.time).as_secs_f64();
    let (probed, visibility) = Probes::new(server.public(), server.public()).during(|| load.run());
    server.kill();
    let [growing, with_room] =
        synced_per_second(&directory.path().join("file"), commits.bytes_each());
    let Measured { per_second, latencies } = &mut alone;
    table.row(&[
        connections.to_string(),
        count(*per_second),
        millis(latencies.quantile(0.5)),
        millis(latencies.quantile(0.99)),
        millis(latencies.quantile(1.0)),
        count(commits.purchases / commits.count),
        count(commits.bytes_each() as f64),
        count(commits_per_second),
        count(growing),
        count(with_room),
        count(probed.per_second),
    ]);
    visibility
}

/// What the log has committed.
struct Commits {
    count: f64,
    purchases: f64,
    bytes: f64,
}

impl Commits {
    fn of(server: &Server) -> Self {
        let metric = |name| server.metric(name).iter().sum();
        Self {
            count: metric("topline_log_commit_duration_seconds_count"),
            purchases: metric("topline_ingest_batch_purchases_sum"),
            bytes: metric("topline_ingest_batch_bytes_sum"),
        }
    }

    fn since(self, earlier: &Self) -> Self {
        Self {
            count: self.count - earlier.count,
            purchases: self.purchases - earlier.purchases,
            bytes: self.bytes - earlier.bytes,
        }
    }

    fn bytes_each(&self) -> usize {
        (self.bytes / self.count) as usize
    }
}

/// How often a file can be written to and synced in a second, with nothing around it: if it grows each
/// time, which the file system has to make durable too, and if the room is there already.
fn synced_per_second(path: &Path, bytes: usize) -> [f64; 2] {
    let piece = vec![b'x'; bytes];
    [false, true].map(|room| {
        let mut file = File::create(path).expect("the directory can be written to");
        if room {
            file.write_all(&vec![0; FILE_ROOM]).expect("the disk has room");
            file.sync_all().expect("the disk is well");
            file.rewind().expect("a file");
        }
        let (start, mut synced) = (Instant::now(), 0);
        while start.elapsed() < FILE_TIME {
            file.write_all(&piece).expect("the disk has room");
            file.sync_data().expect("the disk is well");
            synced += 1;
        }
        f64::from(synced) / start.elapsed().as_secs_f64()
    })
}
