//! What the controller knows: topics, partitions and their leaders.

use std::{fmt, sync::Arc, time::Duration};

use fluvio::{
    FluvioAdmin, FluvioClusterConfig,
    config::TlsPolicy,
    metadata::{
        partition::{PartitionResolution, PartitionSpec},
        spu::SpuSpec,
        topic::TopicSpec,
    },
};
use fluvio_future::net::DomainConnector;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::{ClusterError, Tls, tls};

/// The most time for a question to the controller.
const QUESTION_TIME: Duration = Duration::from_secs(5);

/// A Fluvio cluster. Clones share a connection to its controller.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    config: FluvioClusterConfig,
    connector: DomainConnector,
    controller: Mutex<Controller>,
}

#[derive(Default)]
struct Controller {
    admin: Option<Arc<FluvioAdmin>>,
    leaders: Option<Leaders>,
}

/// Who leads which partition.
struct Leaders {
    asked: Instant,
    partitions: Vec<Leader>,
}

/// The leader of a partition.
#[derive(Debug, Clone)]
pub(crate) struct Leader {
    /// `topic-partition`
    name: String,
    /// The name of the SPU in the cluster.
    pub(crate) spu: String,
    pub(crate) address: String,
    /// Whether the controller holds both for being in service.
    online: bool,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl Cluster {
    /// The cluster whose controller is at `address`. Nothing is connected yet.
    ///
    /// # Errors
    /// [`ClusterError::TlsFile`] and [`ClusterError::Settings`] if the TLS settings cannot be used.
    pub fn new(address: &str, tls: Option<&Tls>) -> Result<Self, ClusterError> {
        let policy = tls.map_or(Ok(TlsPolicy::Disabled), Tls::policy)?;
        let connector = DomainConnector::try_from(policy.clone()).map_err(|error| {
            ClusterError::Settings(format!("the TLS files do not go together: {error:#}"))
        })?;
        let config = FluvioClusterConfig::new(address).with_tls(policy);
        Ok(Self { inner: Arc::new(Inner { config, connector, controller: Mutex::default() }) })
    }

    /// Where its controller is.
    pub fn address(&self) -> &str {
        &self.inner.config.endpoint
    }

    pub(crate) fn has_tls(&self) -> bool {
        self.inner.config.tls != TlsPolicy::Disabled
    }

    pub(crate) fn connector(&self) -> &DomainConnector {
        &self.inner.connector
    }

    /// How many partitions a topic has.
    ///
    /// # Errors
    /// [`ClusterError::NoTopic`] if there is none, [`ClusterError::Controller`] if that cannot be told.
    pub async fn partitions(&self, topic: &str) -> Result<u32, ClusterError> {
        let topics = self.ask(async |admin| admin.all::<TopicSpec>().await).await?;
        let found = topics.into_iter().find(|found| found.name == topic);
        found
            .map(|found| found.spec.partitions())
            .ok_or_else(|| ClusterError::NoTopic(topic.to_owned()))
    }

    /// Deletes a topic, with all that is in it.
    ///
    /// # Errors
    /// [`ClusterError::Controller`] if that fails.
    pub async fn delete_topic(&self, topic: &str) -> Result<(), ClusterError> {
        self.ask(async |admin| admin.delete::<TopicSpec>(topic).await).await
    }

    /// The leader of a partition, as the controller saw it after `since`.
    pub(crate) async fn leader(
        &self,
        topic: &str,
        partition: u32,
        since: Instant,
    ) -> Result<Leader, ClusterError> {
        let mut controller = self.inner.controller.lock().await;
        let leaders = match controller.leaders.take() {
            Some(leaders) if leaders.asked >= since => leaders,
            _ => self.ask_leaders(&mut controller).await?,
        };
        let name = format!("{topic}-{partition}");
        let found = leaders.partitions.iter().find(|leader| leader.name == name && leader.online);
        let found = found
            .cloned()
            .ok_or_else(|| ClusterError::NoLeader { topic: topic.to_owned(), partition });
        controller.leaders = Some(leaders);
        found
    }

    async fn ask_leaders(&self, controller: &mut Controller) -> Result<Leaders, ClusterError> {
        let asked = Instant::now();
        let ask = async |admin: &FluvioAdmin| {
            Ok((admin.all::<PartitionSpec>().await?, admin.all::<SpuSpec>().await?))
        };
        let (partitions, spus) = self.ask_with(controller, ask).await?;
        let partitions = partitions.into_iter().filter_map(|partition| {
            let spu = spus.iter().find(|spu| spu.spec.id == partition.spec.leader)?;
            let led = partition.status.resolution == PartitionResolution::Online;
            Some(Leader {
                name: partition.name,
                spu: spu.name.clone(),
                address: spu.spec.public_endpoint.addr(),
                online: led && spu.status.is_online(),
            })
        });
        Ok(Leaders { asked, partitions: partitions.collect() })
    }

    /// Asks the controller something.
    pub(crate) async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&FluvioAdmin) -> anyhow::Result<T>,
    ) -> Result<T, ClusterError> {
        let mut controller = self.inner.controller.lock().await;
        self.ask_with(&mut controller, question).await
    }

    /// A connection over which a question failed is not used again: after a restart of the controller it
    /// would say nothing for ever.
    async fn ask_with<T>(
        &self,
        controller: &mut Controller,
        question: impl AsyncFnOnce(&FluvioAdmin) -> anyhow::Result<T>,
    ) -> Result<T, ClusterError> {
        let admin = match controller.admin.take() {
            Some(admin) => admin,
            None => Arc::new(self.connect().await?),
        };
        match timeout(QUESTION_TIME, question(&admin)).await {
            Ok(Ok(answer)) => {
                controller.admin = Some(admin);
                Ok(answer)
            }
            Ok(Err(error)) => Err(self.no_answer(format!("{error:#}"))),
            Err(_) => Err(self.no_answer(tls::explain_silence(QUESTION_TIME, false))),
        }
    }

    async fn connect(&self) -> Result<FluvioAdmin, ClusterError> {
        let connect = FluvioAdmin::connect_with_config(&self.inner.config);
        let problem = match timeout(QUESTION_TIME, connect).await {
            Ok(Ok(admin)) => return Ok(admin),
            Ok(Err(error)) => match error.downcast_ref() {
                Some(error) => tls::explain(error, self.has_tls()),
                None => format!("{error:#}"),
            },
            Err(_) => tls::explain_silence(QUESTION_TIME, self.has_tls()),
        };
        Err(self.no_answer(problem))
    }

    fn no_answer(&self, problem: String) -> ClusterError {
        ClusterError::Controller { address: self.address().to_owned(), problem }
    }
}
