//! Two replicas of each partition: while one is away POSTs wait and then are refused, for they would be on one
//! machine only; when it is back, whoever led before, everything goes on, and in the end everything
//! acknowledged is counted, and once.

mod common;

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use common::{
    QUIET, Server,
    cluster::setup,
    eventually,
    load::Load,
    sales::{check, retry},
};
use fluvio::{
    FluvioAdmin, FluvioClusterConfig,
    metadata::{objects::Metadata, partition::PartitionSpec, spu::SpuSpec},
};
use fluvio_testing::TestCluster;
use random::Random;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const SENDERS: u64 = 4;
/// The most time until both replicas work together again: a follower says once a minute what it has.
const PATIENCE: Duration = Duration::from_secs(100);
/// Before something is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// The file in which an SPU keeps how far it knows the replicas to agree.
const WATERMARK: &str = "replication.chk";

/// A server over a cluster of two SPUs, each of which has all partitions.
struct Setup {
    cluster: TestCluster,
    server: Server,
    load: Load,
    runtime: Runtime,
    data: TempDir,
}

impl Setup {
    /// With some purchases taken.
    fn new(partitions: &str) -> Option<Self> {
        let cluster = TestCluster::start(2)?;
        setup(&cluster, "purchases", &["--partitions", partitions, "--replication", "2"]);
        let data = tempfile::tempdir().expect("a temporary directory");
        let server = Self::serve(&cluster, &data, &QUIET);
        let load = Load::default();
        load.send_to([&server]);
        load.during(SENDERS, || load.more("purchases are taken", 50));
        let runtime = Runtime::new().expect("threads");
        Some(Self { cluster, server, load, runtime, data })
    }

    fn serve(cluster: &TestCluster, data: &TempDir, args: &[&str]) -> Server {
        let address = cluster.address();
        let own = ["--checkpoint-interval", "200ms", "--append-timeout", "2s"];
        Server::start(data.path(), &[&own[..], &["--fluvio", &address], args].concat())
    }

    /// Asks the controller something, with a connection of its own.
    fn ask<T>(&self, question: impl AsyncFnOnce(FluvioAdmin) -> anyhow::Result<T>) -> T {
        let config = FluvioClusterConfig::new(self.cluster.address());
        let answer = async { question(FluvioAdmin::connect_with_config(&config).await?).await };
        self.runtime.block_on(answer).expect("the controller answers")
    }

    fn partitions(&self) -> Vec<Metadata<PartitionSpec>> {
        self.ask(async |admin| admin.all::<PartitionSpec>().await)
    }

    /// Waits until the controller knows that an SPU is there, or is not.
    fn seen(&self, spu: usize, online: bool) {
        eventually("the controller knows", || {
            let spus = self.ask(async |admin| admin.all::<SpuSpec>().await);
            let mut of_it = spus.iter().filter(|known| known.spec.id == spu_id(spu));
            of_it.any(|known| known.status.is_online() == online).then_some(())
        });
    }

    /// Waits until the followers have all that the leaders have, and know it.
    fn agree(&self) {
        eventually("the replicas agree", || {
            let partitions = self.partitions();
            let mut status = partitions.iter().map(|partition| &partition.status);
            let agree = status.all(|status| {
                let next = status.leader.leo;
                let all = status.replicas.iter().chain([&status.leader]);
                all.map(|replica| (replica.leo, replica.hw)).all(|known| known == (next, next))
            });
            agree.then_some(())
        });
    }

    /// What the runbook says of a partition that acknowledges nothing although both SPUs run: the SPU that
    /// follows forgets how far it knew the replicas to agree.
    fn forget_watermarks(&mut self) {
        for spu in [0, 1] {
            let stuck = self.partitions().into_iter().filter(|partition| {
                let known = &partition.status.leader;
                partition.spec.leader != spu_id(spu) && known.hw < known.leo
            });
            let stuck: Vec<_> = stuck.map(|partition| partition.name).collect();
            if stuck.is_empty() {
                continue;
            }
            self.cluster.kill_spu(spu);
            for name in stuck {
                let file = self.cluster.spu_data(spu).join(name).join(WATERMARK);
                fs::remove_file(file).expect("it has been kept");
            }
            self.cluster.start_spu(spu);
        }
    }

    /// Compares everything with the tally; also counted again from what the replicas hold.
    fn finish(self) {
        let tally = &mut *self.load.tally.lock().unwrap();
        retry(&self.server, tally, &mut Random::new(1));
        check(&self.server, tally, true);
        let ended = self.server.terminate();
        assert!(ended.status.success(), "{}", ended.log);
        let server = Self::serve(&self.cluster, &self.data, &["--rebuild"]);
        check(&server, tally, true);
    }
}

/// Whether purchases of every store are taken.
fn all_taken(server: &Server) -> bool {
    let nothing = r#"{"items":[{"ItemID":1,"numberOfItems":0}]}"#;
    let path = |store| common::purchase_path(store, "20210101");
    (0..12).all(|store| server.post(&path(store), nothing).status == 201)
}

/// Waits until they are; whether that happens.
fn comes_back(server: &Server) -> bool {
    let began = Instant::now();
    while !all_taken(server) {
        if began.elapsed() > PATIENCE {
            return false;
        }
        thread::sleep(PAUSE);
    }
    true
}

fn spu_id(spu: usize) -> i32 {
    5001 + spu as i32
}

#[test]
fn each_dies_in_turn() {
    let Some(mut setup) = Setup::new("4") else { return };
    for spu in [0, 1, 0] {
        // Nothing is under way when it dies.
        setup.agree();
        setup.cluster.kill_spu(spu);
        setup.load.during(SENDERS, || {
            setup.load.more_refused("purchases are refused", 20);
            assert_eq!(setup.server.get("/v1/top-stores").status, 200);
            setup.cluster.start_spu(spu);
            assert!(comes_back(&setup.server), "purchases are refused");
            setup.load.more("purchases are taken again", 50);
        });
    }
    setup.finish();
}

#[test]
fn each_dies_in_turn_with_purchases_under_way() {
    let Some(mut setup) = Setup::new("4") else { return };
    for spu in [0, 1] {
        setup.load.during(SENDERS, || {
            setup.load.more("purchases are taken", 50);
            setup.cluster.kill_spu(spu);
            setup.cluster.start_spu(spu);
            thread::sleep(PAUSE);
        });
        if !comes_back(&setup.server) {
            println!("a follower knows of more than its leader");
            setup.forget_watermarks();
            assert!(comes_back(&setup.server), "purchases are refused");
        }
    }
    setup.finish();
}

#[test]
fn a_follower_that_knows_of_more_than_its_leader_is_made_to_forget() {
    let Some(mut setup) = Setup::new("1") else { return };
    setup.agree();
    let partition = setup.partitions().into_iter().find(|known| known.name == "purchases-0");
    let leader = usize::from(partition.expect("it is there").spec.leader != spu_id(0));
    // As if the one that leads had not been told of the last acknowledgement. One at a time, so that it goes on
    // leading.
    for spu in [1 - leader, leader] {
        setup.cluster.kill_spu(spu);
        setup.seen(spu, false);
    }
    let file = setup.cluster.spu_data(leader).join("purchases-0").join(WATERMARK);
    let known = fs::read(&file).expect("it has been kept").try_into().expect("8 bytes");
    fs::write(&file, (i64::from_be_bytes(known) - 1).to_be_bytes()).expect("written");
    for spu in [leader, 1 - leader] {
        setup.cluster.start_spu(spu);
        setup.seen(spu, true);
    }
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        assert!(
            !all_taken(&setup.server),
            "the cluster has become better: correct the decision record"
        );
    }
    setup.forget_watermarks();
    assert!(comes_back(&setup.server), "purchases are refused");
    setup.finish();
}
