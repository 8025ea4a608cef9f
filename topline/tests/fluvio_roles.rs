//! Two ingests, three workers and two query replicas over a cluster of two SPUs, each killed under load
//! and started again: both replicas agree with the tally, and so does one that starts last; then the
//! workers are fewer.

mod common;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use common::{
    Client, Server,
    cluster::setup,
    eventually,
    sales::{Request, Sale, Tally, check, retry},
};
use fluvio_testing::TestCluster;
use random::Random;

const SENDERS: u64 = 4;
/// After a request that was not acknowledged.
const PAUSE: Duration = Duration::from_millis(20);

/// Where the parts of the system are.
struct Place {
    cluster: String,
    data: PathBuf,
}

impl Place {
    fn start(&self, role: &str, args: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_topline"));
        command.env_clear().args([role, "--log", "info", "--fluvio", &self.cluster]);
        command.args(["--admin-listen", "127.0.0.1:0"]).args(args);
        Server::spawn(command).unwrap_or_else(|ended| panic!("{role}: {ended:?}"))
    }

    fn ingest(&self) -> Server {
        self.start("ingest", &["--listen", "127.0.0.1:0"])
    }

    fn query(&self) -> Server {
        self.start("query", &["--listen", "127.0.0.1:0"])
    }

    /// A worker that keeps its checkpoints where all do.
    fn job(&self, worker: usize, workers: usize) -> Server {
        self.job_in(&self.data, worker, workers)
    }

    fn job_in(&self, data: &Path, worker: usize, workers: usize) -> Server {
        let (worker, workers) = (worker.to_string(), workers.to_string());
        let data = data.to_str().expect("text");
        let identity = ["--worker", &worker, "--workers", &workers, "--data-dir", data];
        let often = ["--checkpoint-interval", "200ms", "--keyframe-interval", "2s"];
        self.start("job", &[&identity[..], &often[..]].concat())
    }
}

/// Sends to whichever ingest is there until it is stopped.
struct Load {
    tally: Mutex<Tally>,
    ingests: Mutex<Vec<std::net::SocketAddr>>,
    acknowledged: AtomicU64,
    stop: AtomicBool,
}

/// Ends the senders when dropped, also by a panic.
struct Stopper<'a>(&'a Load);

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Relaxed);
    }
}

impl Load {
    fn send(&self, id: u64) {
        let (mut random, mut number) = (Random::stream(11, id), 1);
        let mut client: Option<Client> = None;
        while !self.stop.load(Relaxed) {
            let ingests = self.ingests.lock().unwrap().clone();
            let ingest = ingests[random.below(ingests.len() as u64) as usize];
            let connected = client.take().or_else(|| Client::connect(ingest).ok());
            let sales = 1 + random.below(20);
            let request = Request::Bulk((0..sales).map(|n| Sale::of(id, number + n)).collect());
            number += sales;
            let position = connected.and_then(|mut connected| {
                let position = request.send(&mut connected)?;
                client = Some(connected);
                Some(position)
            });
            if position.is_some() {
                self.acknowledged.fetch_add(1, Relaxed);
            } else {
                thread::sleep(PAUSE);
            }
            self.tally.lock().unwrap().note(request, position.as_deref());
        }
    }

    fn more(&self, many: u64) {
        let before = self.acknowledged.load(Relaxed);
        eventually("purchases are taken", || {
            (self.acknowledged.load(Relaxed) >= before + many).then_some(())
        });
    }
}

/// Sells something in every store.
fn sell(ingest: &Server, tally: &mut Tally, time: u64) {
    let sales = Request::Bulk((0..100).map(|n| Sale::of(99, 1000 * time + n)).collect());
    let position = sales.send(&mut ingest.client()).expect("acknowledged");
    tally.note(sales, Some(&position));
}

#[test]
fn both_replicas_agree_with_the_tally() {
    let Some(cluster) = TestCluster::start(2) else { return };
    setup(&cluster, "purchases", &["--partitions", "6"]);
    let data = tempfile::tempdir().unwrap();
    let place = Place { cluster: cluster.address(), data: data.path().to_owned() };
    let mut workers: Vec<Server> = (0..3).map(|worker| place.job(worker, 3)).collect();
    let mut ingests: Vec<Server> = (0..2).map(|_| place.ingest()).collect();
    let mut replicas: Vec<Server> = (0..2).map(|_| place.query()).collect();
    let load = Load {
        tally: Mutex::default(),
        ingests: Mutex::new(ingests.iter().map(|ingest| ingest.public).collect()),
        acknowledged: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        let _stopper = Stopper(&load);
        for id in 0..SENDERS {
            let load = &load;
            scope.spawn(move || load.send(id));
        }
        load.more(100);
        workers.remove(1).kill();
        load.more(100);
        assert_eq!(workers[0].admin_get("/late").parts(), (200, "[]"));
        // Reads go on meanwhile, and say how old they are.
        assert_eq!(replicas[0].get("/v1/top-stores").status, 200);
        workers.insert(1, place.job(1, 3));
        load.more(50);
        replicas.remove(0).kill();
        load.more(50);
        replicas.push(place.query());
        ingests.remove(0).kill();
        ingests.push(place.ingest());
        *load.ingests.lock().unwrap() = ingests.iter().map(|ingest| ingest.public).collect();
        load.more(100);
    });
    let tally = &mut *load.tally.lock().unwrap();
    retry(&ingests[0], tally, &mut Random::new(3));
    replicas.push(place.query());
    for replica in &replicas {
        check(replica, tally, true);
    }

    // Fewer workers, on the same checkpoints.
    for worker in workers {
        let ended = worker.terminate();
        assert!(ended.status.success(), "{}", ended.log);
    }
    let mut workers: Vec<Server> = (0..2).map(|worker| place.job(worker, 2)).collect();
    sell(&ingests[0], tally, 1);
    for replica in &replicas {
        check(replica, tally, true);
    }

    // A standby of each, with checkpoints of its own; the first ones go.
    let own = tempfile::tempdir().unwrap();
    let standbys: Vec<Server> = (0..2).map(|worker| place.job_in(own.path(), worker, 2)).collect();
    sell(&ingests[0], tally, 2);
    workers.drain(..).for_each(|worker| drop(worker.kill()));
    sell(&ingests[0], tally, 3);
    for replica in &replicas {
        check(replica, tally, true);
    }
    workers.extend(standbys);
    for server in workers.into_iter().chain(replicas).chain(ingests) {
        let ended = server.terminate();
        assert!(ended.status.success(), "{}", ended.log);
    }
}
