//! The roles as processes of their own over a Fluvio cluster of one SPU: what the stream can do by
//! itself; bulk POSTs through ingest, stream, job and feed into a replica; from POST answered to visible
//! there; and how soon a new replica is ready. `cargo bench -p topline --bench fluvio`.
//!
//! Needs the server, `fluvio-run`, on `PATH` or by `FLUVIO_RUN`. The cluster keeps its data in a temporary
//! directory of the system, and syncs nothing to the disk before it acknowledges.

mod common;

use std::{
    collections::VecDeque,
    ffi::OsStr,
    path::Path,
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::Parser;
use common::{
    bulk::{Bulk, Pass},
    client::Position,
    process::{cpu_seconds, grandchild, resident_bytes},
    purchases::Chain,
    report::{self, Table, count, megabytes},
    server::Server,
    visibility::{self, Visibility},
};
use fluvio_log::{ClusterArgs, FluvioLog, FluvioLogConfig, Isolation};
use fluvio_testing::TestCluster;
use futures_util::future::join_all;
use log::Log;
use model::{Offset, Partition};
use random::Random;
use tokio::runtime::Runtime;
use view::feed::Replica;

#[derive(Debug, Parser)]
struct Args {
    /// Connections that send bulk POSTs
    #[arg(long, env = "BENCH_BULK_CONNECTIONS", default_value_t = 4)]
    connections: usize,
    /// Seconds of each pass
    #[arg(long, env = "BENCH_SECONDS", default_value_t = 20.0)]
    seconds: f64,
    /// Seconds that records are appended to the stream alone
    #[arg(long, env = "BENCH_STREAM_SECONDS", default_value_t = 5.0)]
    stream_seconds: f64,
    /// Bodies made before
    #[arg(long, env = "BENCH_BULK_BODIES", default_value_t = 500)]
    bodies: usize,
    /// Purchases in a body
    #[arg(long, env = "BENCH_BULK_PURCHASES", default_value_t = 2000)]
    purchases: usize,
    /// Stores
    #[arg(long, env = "BENCH_STORES", default_value_t = 1000)]
    stores: u32,
    /// Items
    #[arg(long, env = "BENCH_ITEMS", default_value_t = 100_000)]
    items: u32,
    /// New replicas started after the POSTs, and as many after a keyframe
    #[arg(long, env = "BENCH_REPLICAS", default_value_t = 2)]
    replicas: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

const PARTITIONS: u32 = 4;
/// Of the records appended to the stream alone.
const RECORD_BYTES: usize = 64 * 1024;
/// Such records under way in each partition.
const IN_FLIGHT: usize = 16;
/// How long the cluster may take to answer.
const OPEN_TIMEOUT: Duration = Duration::from_mins(1);
/// How long the job may take to write keyframes, and how often they are looked for.
const KEYFRAME_TIMEOUT: Duration = Duration::from_mins(5);
const POLL: Duration = Duration::from_millis(100);
/// Bytes of the feed read at a time.
const READ_BYTES: usize = 1 << 20;

fn main() {
    let args = Args::parse();
    let Some(cluster) = TestCluster::start(1) else { return };
    let runtime = Runtime::new().expect("the system gives threads");
    report::title("Appends to Fluvio");
    println!(
        "one SPU, {} s, records of {} bytes, {IN_FLIGHT} under way in each partition\n",
        args.stream_seconds,
        count(RECORD_BYTES as f64),
    );
    let time = Duration::from_secs_f64(args.stream_seconds);
    let table = Table::new(&["partitions", "MB/s", "records/s", "SPU CPU/s", "client CPU/s"]);
    for partitions in [1, PARTITIONS] {
        let topic = format!("records-{partitions}");
        setup(&cluster, &topic, partitions);
        runtime.block_on(append_alone(&cluster, &topic, time)).row(&table, partitions);
    }

    setup(&cluster, PURCHASES, PARTITIONS);
    let directory = common::directory();
    let roles = Roles::start(&cluster, directory.path());
    let position = through_all_roles(&args, &roles);
    new_replicas(&args, &roles, &position, &runtime);
}

/// The topic of the purchases; that of their views is [`views_of`] it.
const PURCHASES: &str = "purchases";

fn views_of(topic: &str) -> String {
    format!("{topic}-views")
}

/// Registers the SPU and makes the topics, with one replica of each partition.
fn setup(cluster: &TestCluster, topic: &str, partitions: u32) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_topline"));
    command.args(["setup", "--fluvio", &cluster.address(), "--replication", "1"]);
    command.args(["--purchases-topic", topic, "--views-topic", &views_of(topic)]);
    command.args(["--partitions", &partitions.to_string()]);
    for spu in cluster.spus() {
        command.args(["--register-spu", &spu]);
    }
    let setup = command.output().expect("the binary is built with the benches");
    assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
}

/// The process of the SPU.
fn spu() -> u32 {
    grandchild("spu").expect("the cluster runs")
}

async fn open(address: String, topic: &str) -> Arc<FluvioLog> {
    let cluster = ClusterArgs { fluvio: Some(address), ..ClusterArgs::default() };
    let config = FluvioLogConfig {
        cluster: cluster.cluster().expect("an address").expect("it is given"),
        topic: topic.to_owned(),
        isolation: Isolation::default(),
        open_timeout: OPEN_TIMEOUT,
    };
    FluvioLog::open(config).await.expect("the topic is ready")
}

/// What was appended to the stream alone.
struct Appended {
    records: usize,
    time: Duration,
    /// Seconds.
    spu_cpu: f64,
    client_cpu: f64,
}

async fn append_alone(cluster: &TestCluster, topic: &str, time: Duration) -> Appended {
    let log = open(cluster.address(), topic).await;
    let mut random = Random::new(4);
    let payload: Bytes = (0..RECORD_BYTES).map(|_| random.next() as u8).collect();
    let cpu = || [spu(), std::process::id()].map(cpu_seconds);
    let (before, start) = (cpu(), Instant::now());
    let appenders = log.partitions().iter().map(|partition| {
        tokio::spawn(append_until(log.clone(), partition, payload.clone(), start + time))
    });
    let records = join_all(appenders).await;
    let (time, [spu_cpu, client_cpu]) = (start.elapsed(), cpu());
    log.close();
    Appended {
        records: records.into_iter().map(|appended| appended.expect("it does not panic")).sum(),
        time,
        spu_cpu: spu_cpu - before[0],
        client_cpu: client_cpu - before[1],
    }
}

/// Keeps records under way until `end`; gives how many there were, all of them acknowledged.
async fn append_until(
    log: Arc<FluvioLog>,
    partition: Partition,
    payload: Bytes,
    end: Instant,
) -> usize {
    let (mut under_way, mut records) = (VecDeque::new(), 0);
    loop {
        while under_way.len() < IN_FLIGHT && Instant::now() < end {
            under_way.push_back(log.append(partition, payload.clone()));
        }
        let Some(first) = under_way.pop_front() else { return records };
        first.await.expect("the cluster takes records");
        records += 1;
    }
}

impl Appended {
    fn row(&self, table: &Table, partitions: u32) {
        let a_second = |number: f64| number / self.time.as_secs_f64();
        let records = self.records as f64;
        table.row(&[
            partitions.to_string(),
            count(a_second(records * RECORD_BYTES as f64) / 1e6),
            count(a_second(records)),
            format!("{:.2}", a_second(self.spu_cpu)),
            format!("{:.2}", a_second(self.client_cpu)),
        ]);
    }
}

/// The processes over the cluster.
struct Roles {
    cluster: String,
    ingest: Server,
    job: Server,
    query: Server,
    spu: u32,
}

impl Roles {
    /// Starts one of each, the job with all partitions.
    fn start(cluster: &TestCluster, data: &Path) -> Self {
        let cluster = cluster.address();
        let data = ["--data-dir".as_ref(), data.as_os_str()];
        let job = start("job", &cluster, &data);
        let ingest = start("ingest", &cluster, &LISTEN.map(OsStr::new)).ready();
        let query = start_query(&cluster).ready();
        Self { job: job.ready(), ingest, query, spu: spu(), cluster }
    }

    fn processes(&self) -> [u32; 5] {
        let [ingest, job, query] = [&self.ingest, &self.job, &self.query].map(Server::pid);
        [ingest, self.spu, job, query, std::process::id()]
    }
}

const LISTEN: [&str; 2] = ["--listen", "127.0.0.1:0"];

fn start(role: &str, cluster: &str, args: &[&OsStr]) -> Server {
    let views = views_of(PURCHASES);
    let mut all: Vec<&OsStr> =
        ["--fluvio", cluster, "--purchases-topic", PURCHASES].map(OsStr::new).into();
    if role != "ingest" {
        all.extend(["--views-topic", &views].map(OsStr::new));
    }
    all.extend(args);
    Server::start(role, &all)
}

fn start_query(cluster: &str) -> Server {
    start("query", cluster, &LISTEN.map(OsStr::new))
}

/// Bulk POSTs with and without probes, and probes without them; gives what has all that was sent in bulk.
fn through_all_roles(args: &Args, roles: &Roles) -> Position {
    let (chain, mut random) = (Chain::new(args.stores, args.items), Random::new(3));
    let bodies: Vec<_> =
        (0..args.bodies).map(|_| chain.post_many(args.purchases, &mut random)).collect();
    let bulk = Bulk {
        address: roles.ingest.public(),
        connections: args.connections,
        time: Duration::from_secs_f64(args.seconds),
        bodies: &bodies,
        purchases: args.purchases,
    };
    report::title("Bulk POST over Fluvio");
    println!(
        "one SPU, {PARTITIONS} partitions, one process of each role; {} connections, {} s each pass, \
         {} bodies of {} purchases and {} bytes\n",
        args.connections,
        args.seconds,
        args.bodies,
        args.purchases,
        count(bodies[0].len() as f64),
    );
    let table = Table::new(&[
        "pass",
        "lines/s acknowledged",
        "lines/s visible",
        "ingest CPU/s",
        "SPU CPU/s",
        "job CPU/s",
        "query CPU/s",
        "client CPU/s",
        "pairs",
        "job memory",
        "query memory",
    ]);
    let run = || bulk.run(&roles.query, &roles.processes());
    row("alone", &run(), &table, roles);
    let (posts, gets) = (roles.ingest.public(), roles.query.public());
    let ((), quiet) = visibility::during(posts, gets, || thread::sleep(bulk.time));
    let (probed, loaded) = visibility::during(posts, gets, run);
    row("with probes", &probed, &table, roles);

    report::title("From POST answered to visible in a replica");
    let table = Visibility::table();
    quiet.rows(&table, "the probes alone");
    loaded.rows(&table, "bulk POSTs");
    probed.position
}

fn row(name: &str, pass: &Pass, table: &Table, roles: &Roles) {
    let mut cells = vec![
        name.to_owned(),
        count(pass.acknowledged_per_second()),
        count(pass.visible_per_second()),
    ];
    cells.extend(pass.cores().map(|cores| format!("{cores:.2}")));
    cells.push(count(roles.job.pairs()));
    let servers = [&roles.job, &roles.query];
    cells.extend(servers.map(|server| megabytes(resident_bytes(server.pid()))));
    table.row(&cells);
}

/// Starts replicas, one after the other: after the POSTs, whose changes they have to read one by one, and
/// after a keyframe of everything.
fn new_replicas(args: &Args, roles: &Roles, position: &Position, runtime: &Runtime) {
    report::title("A new replica");
    println!("{} pairs; each starts at the last keyframe\n", count(roles.job.pairs()));
    let table = Table::new(&[
        "after",
        "views from the keyframe on",
        "read alone",
        "listens",
        "right answers",
        "`/readyz`",
        "CPU seconds",
        "memory",
    ]);
    let views = runtime.block_on(open(roles.cluster.clone(), &views_of(PURCHASES)));
    let before = runtime.block_on(keyframes(&views));
    for _ in 0..args.replicas {
        new_replica("the POSTs", roles, position, &views, runtime).row(&table);
    }
    runtime.block_on(later_keyframes(&views, &before));
    for _ in 0..args.replicas {
        new_replica("a keyframe", roles, position, &views, runtime).row(&table);
    }
    views.close();
}

/// What a new replica has taken; times from the start of its process.
struct Started {
    after: &'static str,
    /// Of the views from the last keyframe on, and how long it takes to read them and do nothing.
    bytes: u64,
    read: Duration,
    listens: Duration,
    right: Duration,
    ready: Duration,
    cpu: f64,
    memory: u64,
}

/// Starts one, until it has everything in `position`, and is ready.
fn new_replica(
    after: &'static str,
    roles: &Roles,
    position: &Position,
    views: &FluvioLog,
    runtime: &Runtime,
) -> Started {
    let start = Instant::now();
    let bytes = runtime.block_on(read_views(views));
    let read = start.elapsed();

    let start = Instant::now();
    let replica = start_query(&roles.cluster);
    let listens = start.elapsed();
    let (right, ready) = thread::scope(|scope| {
        let ready = scope.spawn(|| {
            replica.wait_until_ready();
            start.elapsed()
        });
        replica.wait_for(position);
        (start.elapsed(), ready.join().expect("it becomes ready"))
    });
    let (cpu, memory) = (cpu_seconds(replica.pid()), resident_bytes(replica.pid()));
    Started { after, bytes, read, listens, right, ready, cpu, memory }
}

impl Started {
    fn row(&self, table: &Table) {
        let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
        table.row(&[
            self.after.to_owned(),
            megabytes(self.bytes),
            seconds(self.read),
            seconds(self.listens),
            seconds(self.right),
            seconds(self.ready),
            format!("{:.2}", self.cpu),
            megabytes(self.memory),
        ]);
    }
}

/// Where the last keyframe of each partition begins, as its last record says.
async fn keyframes(views: &FluvioLog) -> Vec<(Partition, Offset)> {
    let partitions = views.partitions().iter().map(async |partition| {
        let last = Offset(views.bounds(partition).next.0 - 1);
        let records = views.read(partition, last, 1).await.expect("the last record");
        let keyframe = Replica::start(records.first().map(|record| &*record.payload));
        (partition, keyframe.expect("not damaged").expect("the job has written one"))
    });
    join_all(partitions).await
}

/// Waits until each partition has a keyframe after `before`.
async fn later_keyframes(views: &FluvioLog, before: &[(Partition, Offset)]) {
    let start = Instant::now();
    while keyframes(views).await.iter().zip(before).any(|(now, before)| now == before) {
        assert!(start.elapsed() < KEYFRAME_TIMEOUT, "the job writes no keyframes");
        tokio::time::sleep(POLL).await;
    }
}

/// Reads what a new replica does: the views of all partitions from the last keyframe on; gives their bytes.
async fn read_views(views: &FluvioLog) -> u64 {
    let partitions = keyframes(views).await.into_iter().map(async |(partition, mut at)| {
        let (next, mut bytes) = (views.bounds(partition).next, 0);
        while at < next {
            for record in views.read(partition, at, READ_BYTES).await.expect("records") {
                bytes += record.payload.len() as u64;
                at = record.offset.next();
            }
        }
        bytes
    });
    join_all(partitions).await.into_iter().sum()
}
