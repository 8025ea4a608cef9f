//! A Fluvio cluster made ready by the real binary.

use std::process::Command;

use fluvio_testing::TestCluster;

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
