//! Records that are not batches are set aside, counted and kept; the job goes on. Late purchases too
//! are kept once, whatever is replayed.

mod common;

use bytes::Bytes;
use common::{append, config, copy, partitions, sale, start};
use log::MemoryLog;
use model::{DecodeError, Offset, Partition, Timestamp};
use view::{Format, Query, Subject};
use window::WindowKind;

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_skipped_and_kept_once() {
    let home = tempfile::tempdir().unwrap();
    let (directory, before) = (home.path().join("now"), home.path().join("before"));
    let log = MemoryLog::new(partitions(1));
    let whole = sale(1, 1, 7, 2);
    let garbage = [
        Bytes::new(),
        Bytes::from_static(b"\xff garbage"),
        whole.slice(..whole.len() - 1),
        [&whole[..], b"x"].concat().into(),
        Bytes::from(vec![0; 100_000]),
    ];
    append(&*log, 0, sale(0, 1, 7, 1)).await;
    let mut running = start(config(&directory), log.clone()).await.unwrap();
    running.caught_up().await.unwrap();
    running.stop().await;
    copy(&directory, &before);

    for record in &garbage {
        append(&*log, 0, record.clone()).await;
    }
    append(&*log, 0, whole).await;
    append(&*log, 0, sale(2, 1, 7, 4)).await;
    let kept: Vec<_> = (1..).map(Offset).zip(garbage).collect();

    // The second time from the older checkpoint, as after a crash; the third time nothing is replayed.
    for (round, counted) in [(1, 5), (2, 5), (3, 0)] {
        if round == 2 {
            std::fs::remove_dir_all(&directory).unwrap();
            copy(&before, &directory);
        }
        let mut running = start(config(&directory), log.clone()).await.unwrap();
        running.caught_up().await.unwrap();
        assert_eq!(running.metric("topline_job_dead_lettered_total") as u64, counted, "{round}");
        let query = Query {
            subject: Subject::TopItems,
            kind: WindowKind::All,
            date: None,
            k: 1,
            format: Format::V1,
        };
        let list = running.view.list(&query, Timestamp::now()).unwrap();
        assert_eq!(list.entries, [(7, 1 + 2 + 4)], "{round}");
        let side = running.side.clone();
        running.stop().await;
        let dead = side.dead_letters(100).unwrap();
        let shown: Vec<_> = dead.iter().map(|d| (d.offset, d.record.clone())).collect();
        assert_eq!(shown, kept, "{round}");
        assert!(dead.iter().all(|dead| dead.partition == Partition(0)));
        assert_eq!(dead[1].error, DecodeError::Version(0xff));
        assert_eq!(dead[3].error, DecodeError::Trailing(1));
        let newest: Vec<_> = side.dead_letters(2).unwrap().iter().map(|d| d.offset).collect();
        assert_eq!(newest, [Offset(4), Offset(5)]);
        assert!(side.late(100).unwrap().is_empty());
    }
}

/// Late purchases of one batch are kept apart, and once.
#[tokio::test(flavor = "multi_thread")]
async fn late_purchases_are_kept_once() {
    let home = tempfile::tempdir().unwrap();
    let (directory, before) = (home.path().join("now"), home.path().join("before"));
    let log = MemoryLog::new(partitions(1));
    // Ten days go by in the second batch; so the third is late in both of its purchases.
    let mut late = model::Batch::decode(&sale(864_001, 1, 7, 2)).unwrap();
    let mut purchase = late.purchases[0].clone();
    purchase.date = purchase.date.plus_days(-5);
    late.purchases = vec![purchase.clone(), purchase.clone()];
    append(&*log, 0, sale(0, 1, 7, 1)).await;
    let mut running = start(config(&directory), log.clone()).await.unwrap();
    running.caught_up().await.unwrap();
    running.stop().await;
    copy(&directory, &before);
    append(&*log, 0, sale(864_000, 1, 7, 1)).await;
    append(&*log, 0, late.encode().into()).await;

    for (round, counted) in [(1, 2), (2, 2), (3, 0)] {
        if round == 2 {
            std::fs::remove_dir_all(&directory).unwrap();
            copy(&before, &directory);
        }
        let mut running = start(config(&directory), log.clone()).await.unwrap();
        running.caught_up().await.unwrap();
        assert_eq!(running.metric("topline_job_late_total") as u64, counted, "{round}");
        let side = running.side.clone();
        running.stop().await;
        let kept: Vec<_> =
            side.late(100).unwrap().into_iter().map(|l| (l.offset, l.place, l.purchase)).collect();
        let expected = [(Offset(2), 0, purchase.clone()), (Offset(2), 1, purchase.clone())];
        assert_eq!(kept, expected, "{round}");
    }
}
