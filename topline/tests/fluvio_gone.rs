//! The cluster no longer has what a worker needs, or never had what its checkpoints hold: the worker says
//! so, and does not count something else.

mod common;

use std::{path::Path, time::Duration};

use common::{
    Server,
    cluster::{front, job, setup},
    eventually,
    sales::{Request, Sale},
};
use fluvio_log::{Cluster, ClusterError, Topic};
use fluvio_testing::TestCluster;
use tokio::runtime::Runtime;

const WAIT: Duration = Duration::from_mins(1);
/// How long a topic made anew may take, and how often it is tried.
const WAIT_ANEW: Duration = Duration::from_secs(20);
const TRIES: usize = 4;

/// The topic of the purchases, of which the cluster keeps little.
fn make_topic(runtime: &Runtime, cluster: &Cluster, wait: Duration) -> Result<(), ClusterError> {
    let topic = Topic {
        name: "purchases".to_owned(),
        partitions: 1,
        replication: 1,
        retention: Duration::from_hours(1),
        max_partition_bytes: Some(16 << 10),
        segment_bytes: 8 << 10,
    };
    runtime.block_on(fluvio_log::setup(cluster, &[], &[topic], wait))
}

/// Deletes the topic and makes it anew. What the servers still say of the old one can reach the SC after the new one
/// is there, which then never gets online; another one does.
fn make_topic_anew(runtime: &Runtime, cluster: &Cluster) {
    for _ in 0..TRIES {
        runtime.block_on(cluster.delete_topic("purchases")).expect("deleted");
        match make_topic(runtime, cluster, WAIT_ANEW) {
            Ok(()) => return,
            Err(ClusterError::NotReady { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("a topic made anew does not get online in {TRIES} tries");
}

/// Sells so many items, and gives the position.
fn sell(ingest: &Server, first: u64, many: u64) -> String {
    let sales = Request::Bulk((first..first + many).map(|n| Sale::of(1, n)).collect());
    sales.send(&mut ingest.client()).expect("acknowledged")
}

/// Runs a worker until it has a checkpoint at the end of the stream.
fn count(cluster: &TestCluster, data: &Path, args: &[&str]) {
    let worker = job(cluster, data, args).unwrap_or_else(|ended| panic!("{ended:?}"));
    eventually("all is counted", || {
        (worker.metric("topline_job_lag_batches", &[]) == 0.0).then_some(())
    });
    let ended = worker.terminate();
    assert!(ended.status.success(), "{}", ended.log);
}

/// What a worker says that cannot start.
fn refused(cluster: &TestCluster, data: &Path, args: &[&str]) -> String {
    match job(cluster, data, args) {
        Ok(worker) => panic!("it has started:\n{}", worker.kill().log),
        Err(ended) => {
            assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
            ended.log
        }
    }
}

/// The line that says why; what ends meanwhile may log lines after it.
fn reason(said: &str) -> &str {
    let mut lines = said.lines();
    lines.find(|line| line.starts_with("topline: ")).expect("a reason")
}

/// Asserts that it says where and what, and what to do.
fn says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "'{part}' is not in: {said}");
    }
}

#[test]
fn what_is_gone_is_not_passed_over() {
    let Some(servers) = TestCluster::start(1) else { return };
    setup(&servers, "other", &["--partitions", "1"]);
    let cluster = Cluster::new(&servers.address(), None).expect("no TLS");
    let runtime = Runtime::new().expect("threads");
    make_topic(&runtime, &cluster, WAIT).expect("made");
    let data = tempfile::tempdir().unwrap();
    let ingest = front(&servers, "ingest");
    sell(&ingest, 0, 10);
    count(&servers, data.path(), &[]);

    // More than the cluster keeps.
    let mut sold = 10;
    eventually("the beginning is gone", || {
        sell(&ingest, sold, 200);
        sold += 200;
        (ingest.metric("topline_log_earliest_offset", &[]) > 100.0).then_some(())
    });
    let gone = refused(&servers, data.path(), &[]);
    let file = data.path().join("checkpoints/partition-0.redb");
    let file = file.to_str().expect("text");
    says(&gone, &["partition 0 of the stream begins at offset ", ", after offset "]);
    says(&gone, &[file, "batches in between are gone", "run once with --rebuild=remaining"]);
    // The checkpoints are left as they are: there is nothing to make them anew from.
    let rebuild = refused(&servers, data.path(), &["--rebuild"]);
    says(&rebuild, &["partition 0 of the stream begins at", "only in the checkpoints"]);
    assert_eq!(reason(&refused(&servers, data.path(), &[])), reason(&gone));
    let empty = tempfile::tempdir().unwrap();
    let none = refused(&servers, empty.path(), &[]);
    says(&none, &["there is no checkpoint", "partition 0 of the stream begins at offset"]);
    count(&servers, data.path(), &["--rebuild=remaining"]);
    drop(ingest);

    // Another topic of the same name, that has less than the checkpoint.
    make_topic_anew(&runtime, &cluster);
    let ingest = front(&servers, "ingest");
    sell(&ingest, 0, 10);
    let ahead = refused(&servers, data.path(), &[]);
    says(&ahead, &[file, " ends at offset ", "but partition 0 of the stream ends at "]);
    says(&ahead, &["is not the one it was made from", "--rebuild=remaining"]);
    says(&refused(&servers, data.path(), &["--rebuild"]), &["but partition 0 of the stream ends"]);
    count(&servers, data.path(), &["--rebuild=remaining"]);
    drop(ingest);

    // Once more, and it has grown past the checkpoint meanwhile.
    make_topic_anew(&runtime, &cluster);
    let ingest = front(&servers, "ingest");
    sell(&ingest, 1000, 10);
    eventually("it has as much as the checkpoint", || {
        sell(&ingest, 1000, 10);
        (ingest.metric("topline_log_end_offset", &[]) > 50.0).then_some(())
    });
    let other = refused(&servers, data.path(), &[]);
    says(&other, &[file, " has counted another record at offset ", "--rebuild=remaining"]);
    says(&refused(&servers, data.path(), &["--rebuild"]), &["has counted another record"]);
    count(&servers, data.path(), &["--rebuild=remaining"]);
}
