//! A worker is killed under load: how long nothing fresh is answered, with a standby and without.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use model::{Partition, PartitionCount, StoreId};
use tempfile::TempDir;

use crate::{
    Args, PARTITIONS,
    common::{
        self,
        client::{Client, get_request},
        report::{self, Table, count},
        server::Server,
        visibility::sell_one,
    },
    passes::Bodies,
    roles::{Roles, start_job},
};

/// How long the load goes on around each kill, and when in this time the worker is killed.
const TIME: Duration = Duration::from_secs(10);
const KILL_AT: Duration = Duration::from_secs(3);
/// Between two polls.
const POLL: Duration = Duration::from_millis(1);
/// Items from here on are those of probes; each partition has as many for itself.
const FIRST_ITEM: u64 = 4_000_000_000;
const ITEMS: u64 = 1_000_000;

/// A worker that runs, and where it keeps its checkpoints.
struct Worker {
    server: Server,
    data: TempDir,
}

/// Kills workers beside bulk POSTs at a pace, and starts them again at once: first where another works on the
/// same partitions all the time, then where none does.
pub(crate) fn kills(args: &Args, roles: Roles, bodies: &Bodies) {
    report::title("A worker is killed");
    println!(
        "{} pairs; {} lines/s; the longest time in which a partition showed nothing new to a reader that polls, \
         before the kill and from then on\n",
        count(roles.job.pairs()),
        count(args.kill_pace),
    );
    let table = Table::new(&["standby", "before", "from the kill on", "ready again after"]);
    let Roles { cluster, ingest, job, query, data, .. } = roles;
    let mut worker = Worker { server: job, data };
    let data = common::directory();
    let mut standby = Worker { server: start_job(&cluster, data.path()).ready(), data };
    let restart = |worker: Worker| {
        worker.server.kill();
        let server = start_job(&cluster, worker.data.path()).ready();
        Worker { server, data: worker.data }
    };
    let bulk = bodies.bulk(args, ingest.public(), TIME, Some(args.kill_pace));
    let mut items = FIRST_ITEM;
    let mut around = |kill: &mut dyn FnMut()| {
        let (posts, gets) = (ingest.public(), query.public());
        let load = || drop(bulk.run(&query, &[]));
        gaps_around(posts, gets, &mut items, load, kill)
    };
    for _ in 0..args.kills {
        let mut killed = Some(worker);
        let gaps = around(&mut || killed = killed.take().map(&restart));
        gaps.row(&table, "yes");
        worker = standby;
        standby = killed.expect("started again");
    }
    standby.server.kill();
    let mut alone = Some(worker);
    for _ in 0..args.kills {
        around(&mut || alone = alone.take().map(&restart)).row(&table, "no");
    }
}

/// The longest times in which a partition showed nothing new.
struct Gaps {
    before: Duration,
    after: Duration,
    /// How long it took to kill and start again.
    restart: Duration,
}

impl Gaps {
    fn row(&self, table: &Table, standby: &str) {
        let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
        let times = [self.before, self.after, self.restart].map(seconds);
        table.row(&[&[standby.to_owned()], &times[..]].concat());
    }
}

/// Runs `load`, and `kill` in the middle of it. Probes use items from `items` on.
fn gaps_around(
    posts: SocketAddr,
    gets: SocketAddr,
    items: &mut u64,
    load: impl FnOnce() + Send,
    kill: &mut dyn FnMut(),
) -> Gaps {
    let stop = AtomicBool::new(false);
    let partitions = PartitionCount::new(PARTITIONS).expect("some");
    let (killed, restart, seen) = thread::scope(|scope| {
        let flag = &stop;
        let watchers: Vec<_> = partitions
            .iter()
            .map(|partition| {
                let first = *items;
                *items += ITEMS;
                scope.spawn(move || watch(posts, gets, (partitions, partition), first, flag))
            })
            .collect();
        let load = scope.spawn(load);
        thread::sleep(KILL_AT);
        let killed = Instant::now();
        kill();
        let restart = killed.elapsed();
        load.join().expect("all was taken");
        stop.store(true, Relaxed);
        let seen: Vec<_> =
            watchers.into_iter().map(|watcher| watcher.join().expect("probed")).collect();
        (killed, restart, seen)
    });
    let gaps = || seen.iter().flat_map(|times| times.windows(2).map(|pair| (pair[0], pair[1])));
    let longest = |after: bool| {
        let some = gaps().filter(|&(_, end)| (end > killed) == after);
        some.map(|(start, end)| end - start).max().expect("something was seen")
    };
    Gaps { before: longest(false), after: longest(true), restart }
}

/// Sells a new item in a store of the partition, looks for it until it shows, and so on. Gives when each did.
fn watch(
    posts: SocketAddr,
    gets: SocketAddr,
    (partitions, partition): (PartitionCount, Partition),
    first: u64,
    stop: &AtomicBool,
) -> Vec<Instant> {
    let store =
        (0..u32::MAX).find(|&store| partitions.of(StoreId(store)) == partition).expect("some");
    let (mut poster, mut getter) = (Client::connect(posts), Client::connect(gets));
    let mut seen = Vec::new();
    for item in first.. {
        if stop.load(Relaxed) {
            break;
        }
        sell_one(&mut poster, store.into(), item);
        let get = get_request(&format!("/items/top10/{item}"), "");
        loop {
            let status = getter.send(&get).expect("the server answers").status;
            if status == 200 {
                break;
            }
            assert_eq!(status, 404, "item {item}");
            thread::sleep(POLL);
        }
        seen.push(Instant::now());
    }
    seen
}
