//! The contract of a log, on a real cluster over TLS.

mod common;

use std::sync::OnceLock;

use common::Fluvio;
use fluvio_log::{Cluster, Tls};
use fluvio_testing::{DOMAIN, TestCluster};

/// A topic on the one cluster of all scenarios, which ends with the process.
fn topic() -> Option<Fluvio> {
    static SERVERS: OnceLock<Option<(TestCluster, Tls)>> = OnceLock::new();
    let start = || {
        let servers = TestCluster::start_with_tls(1)?;
        let client = servers.authority().sign("client", &[]);
        let tls = Tls {
            domain: DOMAIN.to_owned(),
            authority: servers.authority().certificate.clone(),
            certificate: client.certificate,
            key: client.key,
        };
        Some((servers, tls))
    };
    let (servers, tls) = SERVERS.get_or_init(start).as_ref()?;
    let cluster = Cluster::new(&servers.address(), Some(tls)).expect("the files are in order");
    Some(Fluvio::new(servers, cluster))
}

log::conformance!(match topic() {
    Some(topic) => topic,
    None => return,
});
log::conformance_durable!(match topic() {
    Some(topic) => topic,
    None => return,
});
