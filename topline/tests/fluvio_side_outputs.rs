//! Late purchases and a record that is not a batch, over a real cluster: each is in the partition of its topic that
//! has the same number, also after the worker was killed at any time; what came twice can be told.

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
    time::Duration,
};

use bytes::Bytes;
use common::{Server, cluster::setup, eventually, line};
use fluvio_log::{Cluster, ClusterArgs, FluvioLog, FluvioLogConfig, Isolation};
use fluvio_testing::TestCluster;
use log::Log;
use model::{Offset, Partition, PartitionCount, StoreId};
use serde_json::Value;
use tokio::runtime::Runtime;

const PARTITIONS: u32 = 2;
const NAMES: [&str; 4] = ["--late-topic", "too-late", "--dead-letters-topic", "no-batches"];

fn role(role: &str, cluster: &TestCluster, args: &[&str]) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_topline"));
    command.env_clear().args([role, "--log", "info", "--fluvio", &cluster.address()]);
    command.args(["--admin-listen", "127.0.0.1:0"]).args(args);
    Server::spawn(command).unwrap_or_else(|ended| panic!("{role}: {ended:?}"))
}

fn job(cluster: &TestCluster, data: &Path) -> Server {
    let data = ["--data-dir", data.to_str().expect("text"), "--checkpoint-interval", "200ms"];
    role("job", cluster, &[&data[..], &NAMES].concat())
}

/// The topics as the cluster has them.
struct Topics {
    runtime: Runtime,
    cluster: Cluster,
}

impl Topics {
    fn of(cluster: &TestCluster) -> Self {
        let args = ClusterArgs { fluvio: Some(cluster.address()), ..ClusterArgs::default() };
        let runtime = Runtime::new().expect("threads");
        Self { runtime, cluster: args.cluster().expect("an address").expect("given") }
    }

    async fn open(&self, topic: &str) -> std::sync::Arc<FluvioLog> {
        let config = FluvioLogConfig {
            cluster: self.cluster.clone(),
            topic: topic.to_owned(),
            isolation: Isolation::ReadCommitted,
            open_timeout: Duration::from_mins(1),
        };
        FluvioLog::open(config).await.expect("the topic is there")
    }

    fn append(&self, topic: &str, partition: Partition, record: &'static [u8]) -> Offset {
        self.runtime.block_on(async {
            let log = self.open(topic).await;
            log.append(partition, Bytes::from_static(record)).await.expect("appended")
        })
    }

    /// All records: by partition, offset and place, how often each JSON object is there.
    fn read(&self, topic: &str) -> BTreeMap<(u64, u64, u64), Vec<Value>> {
        let mut all = BTreeMap::<_, Vec<_>>::new();
        self.runtime.block_on(async {
            let log = self.open(topic).await;
            for partition in log.partitions().iter() {
                let (mut at, end) = (Offset(0), log.bounds(partition).next);
                while at < end {
                    for record in log.read(partition, at, 1 << 20).await.expect("readable") {
                        at = record.offset.next();
                        let json: Value = serde_json::from_slice(&record.payload).expect("JSON");
                        assert_eq!(json["partition"], partition.0);
                        let place = json.get("place").or(json.get("part")).expect("one of them");
                        let offset = json["offset"].as_u64().expect("a number");
                        let key = (partition.0.into(), offset, place.as_u64().expect("a number"));
                        all.entry(key).or_default().push(json);
                    }
                }
            }
        });
        all
    }
}

#[test]
fn side_outputs_are_in_their_topics() {
    let Some(cluster) = TestCluster::start(1) else { return };
    setup(&cluster, "purchases", &[&["--partitions", "2"][..], &NAMES].concat());
    let data = tempfile::tempdir().unwrap();
    let topics = Topics::of(&cluster);
    let ingest = role("ingest", &cluster, &["--listen", "127.0.0.1:0"]);
    let mut worker = job(&cluster, data.path());
    let count = PartitionCount::new(PARTITIONS).unwrap();

    let mut late = BTreeSet::new();
    for round in 0..4 {
        // Of each store, one purchase in time; after it, one whose day has closed.
        for store in 0..6 {
            let item = 100 * round + u64::from(store);
            ingest.sell(&[line(store, "20210610", "2021-06-10T12:00:00Z", &[(item, 1)])]);
            ingest.sell(&[line(store, "20210601", "2021-06-01T12:00:00Z", &[(item, 2)])]);
            late.insert((count.of(StoreId(store)).0, store, item));
        }
        let garbage = topics.append("purchases", Partition((round % 2) as u32), b"\xffgarbage");
        assert!(garbage > Offset(0));
        // In the second round before it can have come to all of it.
        if round > 1 {
            eventually("they are published", || {
                let published = worker.metric("topline_job_side_published_total", &[]);
                (published > 0.0).then_some(())
            });
        }
        worker.kill();
        worker = job(&cluster, data.path());
    }
    eventually("nothing waits", || {
        let next = |topic: &str| topics.read(topic);
        (next("too-late").len() == late.len() && next("no-batches").len() == 4).then_some(())
    });
    let ended = worker.terminate();
    assert!(ended.status.success(), "{}", ended.log);

    let found = topics.read("too-late");
    for same in found.values() {
        assert!(same.iter().all(|record| *record == same[0]), "{same:?}");
        assert_eq!(same[0]["occurredAt"], "2021-06-01T12:00:00.000Z");
        assert_eq!(same[0]["items"][0]["quantity"], 2);
    }
    let sold = |record: &Value| {
        let number = |value: &Value| value.as_u64().expect("a number");
        let store = number(&record["storeID"]) as u32;
        (number(&record["partition"]) as u32, store, number(&record["items"][0]["itemID"]))
    };
    assert_eq!(found.values().map(|same| sold(&same[0])).collect::<BTreeSet<_>>(), late);
    for same in topics.read("no-batches").values() {
        assert!(same.iter().all(|record| *record == same[0]), "{same:?}");
        assert_eq!(same[0]["hex"], "ff67617262616765");
        assert_eq!(same[0]["error"], "unknown batch version 255, this build reads version 1");
    }

    // A worker that starts with nothing, as a standby does, writes the same records once more.
    let own = tempfile::tempdir().unwrap();
    let standby = job(&cluster, own.path());
    eventually("the standby has written all of them", || {
        let published = standby.metric("topline_job_side_published_total", &[]);
        (published as usize == late.len() + 4).then_some(())
    });
    let again = topics.read("too-late");
    assert!(again.keys().eq(found.keys()));
    for (key, same) in &again {
        assert_eq!(same.len(), found[key].len() + 1);
        assert!(same.iter().all(|record| *record == same[0]), "{same:?}");
    }
    for server in [standby, ingest] {
        let ended = server.terminate();
        assert!(ended.status.success(), "{}", ended.log);
    }
}
