//! The contract of a log, on a real cluster.

mod common;

use std::sync::OnceLock;

use common::Fluvio;
use fluvio_log::Cluster;
use fluvio_testing::TestCluster;

/// A topic on the one cluster of all scenarios, which ends with the process.
fn topic() -> Option<Fluvio> {
    static SERVERS: OnceLock<Option<TestCluster>> = OnceLock::new();
    let servers = SERVERS.get_or_init(|| TestCluster::start(1)).as_ref()?;
    Some(Fluvio::new(servers, Cluster::new(&servers.address(), None).expect("no TLS")))
}

log::conformance!(match topic() {
    Some(topic) => topic,
    None => return,
});
log::conformance_durable!(match topic() {
    Some(topic) => topic,
    None => return,
});
