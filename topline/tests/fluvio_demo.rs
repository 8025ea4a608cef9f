//! The demo over a real cluster of two SPUs, made ready by `topline setup`.

mod common;

use std::process::Command;

use common::cluster::setup;
use fluvio_testing::TestCluster;

#[test]
fn the_demo_finds_no_difference() {
    let Some(cluster) = TestCluster::start(2) else { return };
    let address = cluster.address();
    setup(&cluster, "purchases", &["--partitions", "2"]);
    // Again, and with something else in mind.
    setup(&cluster, "purchases", &["--partitions", "2"]);
    let other = Command::new(env!("CARGO_BIN_EXE_topline"))
        .env_clear()
        .args(["setup", "--fluvio", &address, "--partitions", "3", "--fluvio-wait", "10s"])
        .output()
        .expect("the binary starts");
    let said = String::from_utf8_lossy(&other.stderr);
    assert!(!other.status.success(), "{said}");
    assert!(said.contains("the topic 'purchases' has 2 partitions"), "{said}");

    let demo = Command::new(env!("CARGO_BIN_EXE_topline"))
        .env_clear()
        .args(["demo", "--exit", "--fluvio", &address, "--purchases-per-hour", "20"])
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .output()
        .expect("the binary starts");
    let said = String::from_utf8_lossy(&demo.stdout);
    let log = String::from_utf8_lossy(&demo.stderr);
    assert!(demo.status.success(), "{said}\n{log}");
    assert!(said.contains("verified: 32 stores"), "{said}");
    assert!(said.contains(" 0 differences"), "{said}");
}
