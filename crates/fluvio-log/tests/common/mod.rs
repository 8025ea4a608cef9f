//! A topic of a real cluster, as the conformance suite takes it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use fluvio_log::{Cluster, FluvioLog, FluvioLogConfig, Isolation, Spu, Topic, setup};
use fluvio_testing::TestCluster;
use log::{Log, conformance::Backend};
use model::PartitionCount;

const PATIENCE: Duration = Duration::from_mins(1);

/// A topic of its own.
pub(crate) struct Fluvio {
    cluster: Cluster,
    spus: Vec<Spu>,
    topic: String,
    open: Mutex<Option<Arc<FluvioLog>>>,
}

impl Fluvio {
    /// On the one cluster of all scenarios.
    pub(crate) fn new(servers: &TestCluster, cluster: Cluster) -> Self {
        static TOPICS: AtomicU32 = AtomicU32::new(0);
        let topic = format!("topic-{}", TOPICS.fetch_add(1, Relaxed));
        let spus = servers.spus().map(|spu| spu.parse().expect("as the cluster says")).collect();
        Self { cluster, spus, topic, open: Mutex::default() }
    }
}

impl Backend for Fluvio {
    async fn open(&self, partitions: PartitionCount) -> Arc<dyn Log> {
        let topic = Topic {
            name: self.topic.clone(),
            partitions: partitions.get(),
            replication: 1,
            retention: Duration::from_hours(1),
            max_partition_bytes: None,
            segment_bytes: 64 << 20,
        };
        setup(&self.cluster, &self.spus, &[topic], PATIENCE).await.expect("set up");
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
