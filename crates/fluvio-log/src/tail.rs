//! Follows the bounds of one partition, and finds out when its leader cannot be reached.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fluvio_protocol::{link::ErrorCode, record::ReplicaKey};
use fluvio_spu_schema::server::fetch_offset::FetchOffsetsRequest;
use log::Bounds;
use model::Offset;
use tokio_util::sync::CancellationToken;

use crate::{
    ClusterError,
    back_off::BackOff,
    link::Link,
    partition::{Part, Shared},
};

/// Between two questions. Readers do not depend on them, only those who want to know how far the stream is.
const INTERVAL: Duration = Duration::from_millis(250);

/// What was asked for so long ago at most counts as known now: a few intervals.
pub(crate) const RECENT: Duration = Duration::from_secs(1);

pub(crate) fn replica(topic: &str, partition: u32) -> ReplicaKey {
    ReplicaKey::new(topic.to_owned(), partition)
}

/// Asks once for the bounds.
pub(crate) async fn ask_bounds(link: &mut Link) -> Result<Bounds, ClusterError> {
    let request = FetchOffsetsRequest::new(link.topic().to_owned(), link.partition());
    let answer = link.call(request, Duration::ZERO).await?;
    let replica = replica(link.topic(), link.partition());
    let Some(told) = answer.find_partition(&replica) else {
        return Err(link.refused("the answer does not name the partition"));
    };
    match told.error_code {
        ErrorCode::None => Ok(Bounds {
            earliest: Offset(told.start_offset.max(0) as u64),
            next: Offset(told.last_stable_offset.max(0) as u64),
        }),
        error => Err(link.refused(format!("{error:?}"))),
    }
}

pub(crate) struct Tail {
    pub(crate) shared: Arc<Shared>,
    pub(crate) link: Link,
    pub(crate) back_off: BackOff,
}

impl Tail {
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let follow = async {
            loop {
                let asked = Instant::now();
                match ask_bounds(&mut self.link).await {
                    Ok(bounds) => {
                        self.shared.works(Part::Tail, &mut self.back_off);
                        self.shared.confirm(asked, bounds);
                        tokio::time::sleep(INTERVAL).await;
                    }
                    Err(error) => {
                        self.shared.fails(Part::Tail, &error, &mut self.back_off).await;
                    }
                }
            }
        };
        stop.run_until_cancelled(follow).await;
    }
}
