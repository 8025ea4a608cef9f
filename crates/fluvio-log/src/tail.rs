//! Follows the end of one partition: asks for its offsets, often while someone waits for them.

use std::{sync::Arc, time::Duration};

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

/// Between two questions while readers wait and something comes; then doubled up to the longest.
const SHORTEST: Duration = Duration::from_millis(2);
const LONGEST: Duration = Duration::from_millis(25);
/// While nobody waits: for those who only want to know how far the stream is.
const IDLE: Duration = Duration::from_millis(250);

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
            let mut waiting = self.shared.waiting.subscribe();
            let mut pause = SHORTEST;
            loop {
                match ask_bounds(&mut self.link).await {
                    Ok(bounds) => {
                        self.shared.works(Part::Tail, &mut self.back_off);
                        let news = self.shared.grow(bounds);
                        pause = if news { SHORTEST } else { (2 * pause).min(LONGEST) };
                    }
                    Err(error) => {
                        self.shared.fails(Part::Tail, &error, &mut self.back_off).await;
                        continue;
                    }
                }
                let pause = if *waiting.borrow_and_update() > 0 { pause } else { IDLE };
                // Whoever begins to wait is not left to the longer pause.
                let _ = tokio::time::timeout(
                    pause,
                    waiting.wait_for(|&waiting| waiting > 0 && pause == IDLE),
                )
                .await;
            }
        };
        stop.run_until_cancelled(follow).await;
    }
}
