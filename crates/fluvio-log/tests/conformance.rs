//! The contract of a log, on a real cluster.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use fluvio::config::TlsPolicy;
use fluvio_log::{Cluster, FluvioLog, FluvioLogConfig, Isolation, Topic, setup};
use fluvio_testing::TestCluster;
use log::{Log, conformance::Backend};
use model::PartitionCount;

const PATIENCE: Duration = Duration::from_mins(1);

/// A topic of its own on the one cluster of all scenarios.
struct Fluvio {
    cluster: Cluster,
    topic: String,
    open: Mutex<Option<Arc<FluvioLog>>>,
}

/// The cluster ends with the process.
fn cluster() -> Option<&'static TestCluster> {
    static CLUSTER: OnceLock<Option<TestCluster>> = OnceLock::new();
    CLUSTER.get_or_init(|| TestCluster::start(1)).as_ref()
}

impl Fluvio {
    fn new() -> Option<Self> {
        static TOPICS: AtomicU32 = AtomicU32::new(0);
        let cluster = Cluster::new(&cluster()?.address(), TlsPolicy::Disabled).expect("no TLS");
        let topic = format!("topic-{}", TOPICS.fetch_add(1, Relaxed));
        Some(Self { cluster, topic, open: Mutex::default() })
    }
}

impl Backend for Fluvio {
    async fn open(&self, partitions: PartitionCount) -> Arc<dyn Log> {
        let spus: Vec<_> = cluster()
            .expect("it has started")
            .spus()
            .map(|spu| spu.parse().expect("as the cluster says"))
            .collect();
        let topic = Topic {
            name: self.topic.clone(),
            partitions: partitions.get(),
            replication: 1,
            retention: Duration::from_hours(1),
            max_partition_bytes: None,
            segment_bytes: 64 << 20,
        };
        setup(&self.cluster, &spus, &[topic], PATIENCE).await.expect("set up");
        let config = FluvioLogConfig {
            cluster: self.cluster.clone(),
            topic: self.topic.clone(),
            isolation: Isolation::ReadCommitted,
            open_timeout: PATIENCE,
        };
        let log = FluvioLog::open(config).await.expect("opened");
        *self.open.lock().expect("not poisoned") = Some(Arc::clone(&log));
        log
    }

    async fn close(&self) {
        let log = self.open.lock().expect("not poisoned").take().expect("open");
        log.close();
    }
}

log::conformance!(match Fluvio::new() {
    Some(topic) => topic,
    None => return,
});
log::conformance_durable!(match Fluvio::new() {
    Some(topic) => topic,
    None => return,
});
