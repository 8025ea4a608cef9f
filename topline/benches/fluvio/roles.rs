//! The processes over the cluster, and its topics.

use std::{ffi::OsStr, path::Path, process::Command, sync::Arc, time::Duration};

use fluvio_log::{ClusterArgs, FluvioLog, FluvioLogConfig, Isolation};
use fluvio_testing::TestCluster;
use tempfile::TempDir;

use crate::common::{self, process::grandchild, server::Server};

/// How long the cluster may take to answer.
const OPEN_TIMEOUT: Duration = Duration::from_mins(1);

/// The topic of the purchases; that of their views is [`views_of`] it.
pub(crate) const PURCHASES: &str = "purchases";

pub(crate) fn views_of(topic: &str) -> String {
    format!("{topic}-views")
}

/// The arguments that say which topics of late purchases and dead letters go with `topic`.
fn side_topics(topic: &str) -> [String; 2] {
    [format!("--late-topic={topic}-late"), format!("--dead-letters-topic={topic}-dead-letters")]
}

/// Registers the SPU and makes the topics, with one replica of each partition.
pub(crate) fn setup(cluster: &TestCluster, topic: &str, partitions: u32) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_topline"));
    command.args(["setup", "--fluvio", &cluster.address(), "--replication", "1"]);
    command.args(["--purchases-topic", topic, "--views-topic", &views_of(topic)]);
    command.args(side_topics(topic)).args(["--partitions", &partitions.to_string()]);
    for spu in cluster.spus() {
        command.args(["--register-spu", &spu]);
    }
    let setup = command.output().expect("the binary is built with the benches");
    assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
}

/// The process of the SPU.
pub(crate) fn spu() -> u32 {
    grandchild("spu").expect("the cluster runs")
}

pub(crate) async fn open(address: String, topic: &str) -> Arc<FluvioLog> {
    let cluster = ClusterArgs { fluvio: Some(address), ..ClusterArgs::default() };
    let config = FluvioLogConfig {
        cluster: cluster.cluster().expect("an address").expect("it is given"),
        topic: topic.to_owned(),
        isolation: Isolation::default(),
        open_timeout: OPEN_TIMEOUT,
    };
    FluvioLog::open(config).await.expect("the topic is ready")
}

/// The processes over the cluster.
pub(crate) struct Roles {
    pub(crate) cluster: String,
    pub(crate) ingest: Server,
    pub(crate) job: Server,
    pub(crate) query: Server,
    spu: u32,
    /// Where the job keeps its checkpoints.
    pub(crate) data: TempDir,
}

impl Roles {
    /// Starts one of each, the job with all partitions.
    pub(crate) fn start(cluster: &TestCluster) -> Self {
        let (cluster, data) = (cluster.address(), common::directory());
        let job = start_job(&cluster, data.path());
        let ingest = start("ingest", &cluster, &LISTEN.map(OsStr::new)).ready();
        let query = start_query(&cluster).ready();
        Self { job: job.ready(), ingest, query, spu: spu(), cluster, data }
    }

    pub(crate) fn processes(&self) -> [u32; 5] {
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

pub(crate) fn start_query(cluster: &str) -> Server {
    start("query", cluster, &LISTEN.map(OsStr::new))
}

/// A worker of all partitions, before it is ready.
pub(crate) fn start_job(cluster: &str, data: &Path) -> Server {
    let [late, dead_letters] = side_topics(PURCHASES);
    let data = ["--data-dir".as_ref(), data.as_os_str(), late.as_ref(), dead_letters.as_ref()];
    start("job", cluster, &data)
}
