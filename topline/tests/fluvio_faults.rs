//! Servers of the cluster, and the server over it, are killed under load and come back, one after the other:
//! what is out of reach is refused and the rest goes on, and in the end everything acknowledged is
//! counted, and once.

mod common;

use std::{
    thread,
    time::{Duration, Instant},
};

use common::{
    Server,
    cluster::setup,
    eventually,
    load::Load,
    sales::{Tally, check, retry},
};
use fluvio_testing::TestCluster;
use random::Random;

const SENDERS: u64 = 6;
const ARGS: [&str; 2] = ["--checkpoint-interval", "200ms"];

/// Sells nothing in every store.
fn probe(server: &Server) -> Vec<u16> {
    let nothing = r#"{"items":[{"ItemID":1,"numberOfItems":0}]}"#;
    let sell = |store| server.post(&common::purchase_path(store, "20210101"), nothing).status;
    (0..12).map(sell).collect()
}

/// Sends again what is unclear, compares everything with the tally, and ends in order.
fn finish(server: Server, tally: &mut Tally) {
    eventually("all partitions are there", || {
        probe(&server).iter().all(|&status| status == 201).then_some(())
    });
    retry(&server, tally, &mut Random::new(1));
    check(&server, tally, true);
    assert!(server.is_ready());
    let ended = server.terminate();
    assert!(ended.status.success(), "{}", ended.log);
}

/// How long an SPU is away in the longest outage.
const OUTAGE: Duration = Duration::from_mins(1);

#[test]
fn what_is_away_is_refused_and_the_rest_goes_on() {
    let Some(mut cluster) = TestCluster::start(2) else { return };
    setup(&cluster, "purchases", &["--partitions", "4"]);
    let data = tempfile::tempdir().unwrap();
    let address = cluster.address();
    let args = [&ARGS[..], &["--fluvio", &address]].concat();
    let server = Server::start(data.path(), &args);
    let load = Load::default();
    load.send_to([&server]);
    load.during(SENDERS, || {
        load.more("purchases are taken", 50);
        // One SPU: its stores are refused, those of the other are not, nor are reads.
        cluster.kill_spu(0);
        load.more_refused("some are refused", 20);
        let (memory, outage) =
            (server.metric("process_resident_memory_bytes", &[]), Instant::now());
        let statuses = probe(&server);
        assert!(statuses.contains(&503) && statuses.contains(&201), "{statuses:?}");
        assert_eq!(server.get("/v1/top-stores").status, 200);
        // It is read off every second.
        eventually("the metric says so", || {
            (server.metric("topline_log_available", &[]) < 4.0).then_some(())
        });
        thread::sleep(OUTAGE.saturating_sub(outage.elapsed()));
        let grown = server.metric("process_resident_memory_bytes", &[]) - memory;
        assert!(grown < 64e6, "{grown} bytes more after the outage");
        cluster.start_spu(0);
        load.more("all are taken again", 200);
        // The controller: everything goes on without it.
        cluster.kill_controller();
        load.more("purchases are taken without the controller", 100);
        cluster.start_controller();
        load.more("and with it again", 100);
        // Both.
        cluster.kill_controller();
        cluster.kill_spu(1);
        load.more_refused("some are refused", 20);
        cluster.start_controller();
        cluster.start_spu(1);
        load.more("all are taken again", 200);
    });
    // The server over the cluster.
    load.during(SENDERS, || load.more("purchases are taken", 50));
    server.kill();
    let server = Server::start(data.path(), &args);
    finish(server, &mut load.tally.lock().unwrap());
}

#[test]
fn a_server_ends_in_order_also_when_the_cluster_is_gone() {
    let Some(mut cluster) = TestCluster::start(1) else { return };
    setup(&cluster, "purchases", &["--partitions", "2"]);
    let data = tempfile::tempdir().unwrap();
    let address = cluster.address();
    let args = ["--fluvio", &address, "--drain-timeout", "1s", "--append-timeout", "1s"];
    let server = Server::start(data.path(), &args);
    assert_eq!(probe(&server), [201; 12]);
    cluster.kill_spu(0);
    cluster.kill_controller();
    eventually("all stores are refused", || {
        probe(&server).iter().all(|&status| status == 503).then_some(())
    });
    assert_eq!(server.get("/v1/top-stores").status, 200);
    let ended = server.terminate();
    assert!(ended.status.success(), "{}", ended.log);
    assert!(ended.log.contains("the cluster does not answer"), "{}", ended.log);
}
