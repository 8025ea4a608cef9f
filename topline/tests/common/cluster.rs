//! A Fluvio cluster made ready by the real binary.

use std::{path::Path, process::Command};

use fluvio_testing::TestCluster;

use super::{Ended, Server};

/// `topline setup`, which registers the SPUs and makes the topic.
pub(crate) fn setup(cluster: &TestCluster, topic: &str, args: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_topline"));
    command.env_clear().args(["setup", "--fluvio", &cluster.address(), "--purchases-topic", topic]);
    for spu in cluster.spus() {
        command.args(["--register-spu", &spu]);
    }
    let setup = command.args(args).output().expect("the binary starts");
    assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
}

/// Starts a role over the cluster and waits until it is ready, or has ended.
pub(crate) fn role(cluster: &TestCluster, role: &str, args: &[&str]) -> Result<Server, Ended> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_topline"));
    command.env_clear().args([role, "--log", "info", "--fluvio", &cluster.address()]);
    command.args(["--admin-listen", "127.0.0.1:0"]).args(args);
    Server::spawn(command)
}

/// A role that has a listener of its own: `ingest` or `query`.
pub(crate) fn front(cluster: &TestCluster, name: &str) -> Server {
    role(cluster, name, &["--listen", "127.0.0.1:0"]).unwrap_or_else(|ended| panic!("{ended:?}"))
}

/// A worker that keeps its checkpoints in `data`, and makes keyframes often.
pub(crate) fn job(cluster: &TestCluster, data: &Path, args: &[&str]) -> Result<Server, Ended> {
    let data = data.to_str().expect("text");
    let own = ["--data-dir", data, "--checkpoint-interval", "200ms", "--keyframe-interval", "2s"];
    role(cluster, "job", &[&own[..], args].concat())
}
