//! Servers of the cluster, and the server over it, are killed under load and come back, one after the other:
//! what is out of reach is refused and the rest goes on, and in the end everything acknowledged is
//! counted, and once.

mod common;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use common::{
    Client, Server,
    cluster::setup,
    eventually,
    sales::{Request, Sale, Tally, check, retry},
};
use fluvio_testing::TestCluster;
use random::Random;

const SENDERS: u64 = 6;
const ARGS: [&str; 2] = ["--checkpoint-interval", "200ms"];
/// After a refusal.
const PAUSE: Duration = Duration::from_millis(20);

/// What the senders share.
#[derive(Default)]
struct Load {
    tally: Mutex<Tally>,
    acknowledged: AtomicU64,
    refused: AtomicU64,
    stop: AtomicBool,
}

impl Load {
    /// Ends the senders when dropped, also by a panic.
    fn stopper(&self) -> impl Drop {
        struct Stopper<'a>(&'a AtomicBool);
        impl Drop for Stopper<'_> {
            fn drop(&mut self) {
                self.0.store(true, Relaxed);
            }
        }
        Stopper(&self.stop)
    }

    fn send(&self, id: u64, address: std::net::SocketAddr, first: u64) -> u64 {
        let mut random = Random::stream(7, id);
        let (mut client, mut number) = (Client::connect(address).ok(), first);
        while !self.stop.load(Relaxed) {
            let sales = 1 + random.below(20);
            let request = Request::Bulk((0..sales).map(|n| Sale::of(id, number + n)).collect());
            number += sales;
            let position = client.as_mut().and_then(|client| request.send(client));
            let counter = if position.is_some() { &self.acknowledged } else { &self.refused };
            counter.fetch_add(1, Relaxed);
            let lost = position.is_none();
            self.tally.lock().unwrap().note(request, position.as_deref());
            if lost {
                thread::sleep(PAUSE);
                client = Client::connect(address).ok();
            }
        }
        number
    }
}

/// Waits until so many more have been acknowledged, or refused.
fn more(what: &str, counter: &AtomicU64, many: u64) {
    let before = counter.load(Relaxed);
    eventually(what, || (counter.load(Relaxed) >= before + many).then_some(()));
}

/// Lets clients send while `faults` happen.
fn under_load(load: &Load, server: &Server, next: &mut u64, faults: impl FnOnce()) {
    load.stop.store(false, Relaxed);
    let first = *next;
    thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|id| scope.spawn(move || load.send(id, server.public, first)))
            .collect();
        let stopper = load.stopper();
        faults();
        drop(stopper);
        *next = senders.into_iter().map(|sender| sender.join().unwrap()).max().unwrap();
    });
}

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
    let mut next = 1;
    under_load(&load, &server, &mut next, || {
        more("purchases are taken", &load.acknowledged, 50);
        // One SPU: its stores are refused, those of the other are not, nor are reads.
        cluster.kill_spu(0);
        more("some are refused", &load.refused, 20);
        let (memory, outage) =
            (server.metric("process_resident_memory_bytes", &[]), Instant::now());
        let statuses = probe(&server);
        assert!(statuses.contains(&503) && statuses.contains(&201), "{statuses:?}");
        assert_eq!(server.get("/v1/top-stores").status, 200);
        assert!(server.metric("topline_log_available", &[]) < 4.0);
        thread::sleep(OUTAGE.saturating_sub(outage.elapsed()));
        let grown = server.metric("process_resident_memory_bytes", &[]) - memory;
        assert!(grown < 64e6, "{grown} bytes more after the outage");
        cluster.start_spu(0);
        more("all are taken again", &load.acknowledged, 200);
        // The controller: everything goes on without it.
        cluster.kill_controller();
        more("purchases are taken without the controller", &load.acknowledged, 100);
        cluster.start_controller();
        more("and with it again", &load.acknowledged, 100);
        // Both.
        cluster.kill_controller();
        cluster.kill_spu(1);
        more("some are refused", &load.refused, 20);
        cluster.start_controller();
        cluster.start_spu(1);
        more("all are taken again", &load.acknowledged, 200);
    });
    // The server over the cluster.
    under_load(&load, &server, &mut next, || {
        more("purchases are taken", &load.acknowledged, 50);
    });
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
