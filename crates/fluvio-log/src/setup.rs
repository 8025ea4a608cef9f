//! Getting a cluster ready: its SPUs registered, the topics there.

use std::{str::FromStr, time::Duration};

use fluvio::{
    FluvioAdmin,
    metadata::{
        customspu::CustomSpuSpec,
        partition::{PartitionResolution, PartitionSpec},
        spu::SpuSpec,
        topic::{
            CleanupPolicy, ReplicaSpec, SegmentBasedPolicy, TopicReplicaParam, TopicSpec,
            TopicStorageConfig,
        },
    },
};
use tokio::time::Instant;

use crate::{Cluster, ClusterError, back_off::BackOff};

/// An SPU that runs on its own and has to be made known: `ID=PUBLIC,PRIVATE`, both as HOST:PORT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spu {
    /// Its number.
    pub id: i32,
    /// Where clients reach it.
    pub public: (String, u16),
    /// Where the other SPUs reach it.
    pub private: (String, u16),
}

impl FromStr for Spu {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("'{text}' is not ID=HOST:PORT,HOST:PORT, such as 5001=a:9010,a:9011");
        let (id, addresses) = text.split_once('=').ok_or_else(wrong)?;
        let (public, private) = addresses.split_once(',').ok_or_else(wrong)?;
        let address = |text: &str| {
            let (host, port) = text.rsplit_once(':')?;
            (!host.is_empty()).then_some((host.to_owned(), port.parse().ok()?))
        };
        Ok(Self {
            id: id.parse().map_err(|_| wrong())?,
            public: address(public).ok_or_else(wrong)?,
            private: address(private).ok_or_else(wrong)?,
        })
    }
}

/// A topic as it should be.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Number of partitions; fixed when it is made.
    pub partitions: u32,
    /// Replicas of each partition; fixed when it is made.
    pub replication: u32,
    /// How long records are kept at least.
    pub retention: Duration,
    /// The most bytes kept of a partition, beyond the newest segment.
    pub max_partition_bytes: Option<u64>,
    /// Bytes of a segment: records go a segment at a time.
    pub segment_bytes: u32,
}

/// Registers the SPUs, makes the topics, and waits until everything is in service. What is there already
/// is left as it is; may be repeated, and run by several at once.
///
/// # Errors
/// [`ClusterError::OtherTopic`] if a topic has other partitions or replicas, [`ClusterError::NotReady`]
/// after `wait`.
pub async fn setup(
    cluster: &Cluster,
    spus: &[Spu],
    topics: &[Topic],
    wait: Duration,
) -> Result<(), ClusterError> {
    let deadline = Instant::now() + wait;
    let (mut back_off, mut told) = (BackOff::new(), String::new());
    loop {
        let problem = match step(cluster, spus, topics).await {
            Ok(None) => return Ok(()),
            Ok(Some(missing)) => missing,
            Err(error @ ClusterError::OtherTopic { .. }) => return Err(error),
            Err(error) => error.to_string(),
        };
        if Instant::now() >= deadline {
            return Err(ClusterError::NotReady { waited: wait, problem });
        }
        if told != problem {
            tracing::info!("the cluster is not ready yet: {problem}");
            told = problem;
        }
        back_off.pause().await;
    }
}

/// Does what can be done now; gives what is not ready.
async fn step(
    cluster: &Cluster,
    spus: &[Spu],
    topics: &[Topic],
) -> Result<Option<String>, ClusterError> {
    // The controller spreads the partitions of a new topic over the SPUs that are online.
    let known = cluster.ask(async |admin| admin.all::<SpuSpec>().await).await?;
    let mut offline = None;
    for spu in spus {
        match known.iter().find(|known| known.spec.id == spu.id) {
            Some(found) if found.status.is_online() => continue,
            Some(_) => {}
            None => cluster.ask(async |admin| register(admin, spu).await).await?,
        }
        offline = Some(format!("SPU {} is not online", spu.id));
    }
    if offline.is_some() {
        return Ok(offline);
    }
    for topic in topics {
        let known = cluster.ask(async |admin| admin.all::<TopicSpec>().await).await?;
        if let Some(found) = known.iter().find(|known| known.name == topic.name) {
            topic.check(&found.spec)?;
            continue;
        }
        let (name, spec) = (topic.name.clone(), topic.spec());
        cluster.ask(async |admin| admin.create(name, false, spec).await).await?;
        tracing::info!(topic = topic.name, partitions = topic.partitions, "topic made");
    }
    let partitions = cluster.ask(async |admin| admin.all::<PartitionSpec>().await).await?;
    for topic in topics {
        for partition in 0..topic.partitions {
            let name = format!("{}-{partition}", topic.name);
            let online = partitions.iter().any(|known| {
                known.name == name && known.status.resolution == PartitionResolution::Online
            });
            if !online {
                return Ok(Some(format!("{name} is not online")));
            }
        }
    }
    Ok(None)
}

async fn register(admin: &FluvioAdmin, spu: &Spu) -> anyhow::Result<()> {
    let (public, private) = (spu.public.clone(), spu.private.clone());
    let spec = CustomSpuSpec {
        id: spu.id,
        public_endpoint: SpuSpec::new_public_addr(spu.id, public.1, public.0).public_endpoint,
        private_endpoint: SpuSpec::new_private_addr(spu.id, private.1, private.0).private_endpoint,
        ..Default::default()
    };
    admin.create(format!("custom-spu-{}", spu.id), false, spec).await?;
    tracing::info!(spu = spu.id, "SPU registered");
    Ok(())
}

impl Topic {
    fn spec(&self) -> TopicSpec {
        let replicas = ReplicaSpec::Computed(TopicReplicaParam {
            partitions: self.partitions,
            replication_factor: self.replication,
            ..Default::default()
        });
        let mut spec = TopicSpec::from(replicas);
        spec.set_cleanup_policy(CleanupPolicy::Segment(SegmentBasedPolicy {
            time_in_seconds: u32::try_from(self.retention.as_secs()).unwrap_or(u32::MAX),
        }));
        spec.set_storage(TopicStorageConfig {
            segment_size: Some(self.segment_bytes),
            max_partition_size: self.max_partition_bytes,
        });
        spec
    }

    fn check(&self, found: &TopicSpec) -> Result<(), ClusterError> {
        let show = |partitions, replication: Option<u32>| match replication {
            Some(replication) => {
                format!("{partitions} partitions with replication {replication}")
            }
            None => format!("{partitions} partitions, assigned by hand"),
        };
        let has = (found.partitions(), found.replication_factor());
        let wanted = (self.partitions, Some(self.replication));
        if has.0 == wanted.0 && (has.1.is_none() || has.1 == wanted.1) {
            return Ok(());
        }
        Err(ClusterError::OtherTopic {
            topic: self.name.clone(),
            has: show(has.0, has.1),
            wanted: show(wanted.0, wanted.1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_spu_is_read_from_text() {
        let spu: Spu = "5001=spu-0.spu:9010,[::1]:9011".parse().unwrap();
        let expected =
            Spu { id: 5001, public: ("spu-0.spu".into(), 9010), private: ("[::1]".into(), 9011) };
        assert_eq!(spu, expected);
        for text in ["", "5001", "5001=a:1", "x=a:1,b:2", "1=a,b:2", "1=:1,b:2", "1=a:99999,b:2"] {
            assert!(text.parse::<Spu>().is_err(), "{text}");
        }
    }
}
