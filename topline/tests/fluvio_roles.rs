//! Two ingests, three workers and two query replicas over a cluster of two SPUs, each killed under load
//! and started again: both replicas agree with the tally, and so does one that starts last; then the
//! workers are fewer.

mod common;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use common::{
    Server,
    cluster::setup,
    load::Load,
    sales::{Request, Sale, Tally, check, retry},
};
use fluvio_testing::TestCluster;
use random::Random;

const SENDERS: u64 = 4;

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
    let load = Load::default();
    load.send_to(&ingests);
    load.during(SENDERS, || {
        let more = |many| load.more("purchases are taken", many);
        more(100);
        workers.remove(1).kill();
        more(100);
        assert_eq!(workers[0].admin_get("/late").parts(), (200, "[]"));
        // Reads go on meanwhile, and say how old they are.
        assert_eq!(replicas[0].get("/v1/top-stores").status, 200);
        workers.insert(1, place.job(1, 3));
        more(50);
        replicas.remove(0).kill();
        more(50);
        replicas.push(place.query());
        ingests.remove(0).kill();
        ingests.push(place.ingest());
        load.send_to(&ingests);
        more(100);
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
