//! Waiting for a position ends when the view has it, or when the time is over.

mod common;

use std::time::Duration;

use model::{Offset, Partition};
use view::WaitError;
use window::{Progress, Sink};

const LONG: Duration = Duration::from_mins(10);

#[tokio::test]
async fn a_wait_ends_when_all_partitions_have_come_so_far() {
    let (view, mut writers, _) = common::ready_view();
    let waiting = tokio::spawn({
        let view = view.clone();
        async move { view.wait_for(&"0:2,2:1".parse().unwrap(), LONG).await }
    });
    writers[0].progress(&Progress { next: Offset(2), ..Progress::default() });
    writers[2].progress(&Progress { next: Offset(7), ..Progress::default() });
    assert_eq!(waiting.await.unwrap(), Ok(()));
    assert_eq!(view.position().to_string(), "0:2,1:0,2:7");
}

#[tokio::test]
async fn a_wait_in_vain_names_what_is_missing() {
    let (view, mut writers, _) = common::ready_view();
    writers[1].progress(&Progress { next: Offset(4), ..Progress::default() });
    let wait = |text: &str| {
        let (view, position) = (view.clone(), text.parse().unwrap());
        async move { view.wait_for(&position, Duration::ZERO).await }
    };
    assert_eq!(wait("0:0,1:4").await, Ok(()));
    let (partition, have, wanted) = (Partition(1), Offset(4), Offset(5));
    assert_eq!(wait("0:0,1:5").await, Err(WaitError::NotYet { partition, have, wanted }));
    let (partition, last) = (Partition(3), Partition(2));
    assert_eq!(wait("0:0,3:0").await, Err(WaitError::UnknownPartition { partition, last }));
}
