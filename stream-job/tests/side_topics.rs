//! Late purchases and dead letters reach their topics at least once, and always as the same records: after a
//! crash at any instant, with a topic out of reach, and when the stream is counted again.

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use common::{append, config, copy, log_of, partitions, records, sale, start_publishing};
use futures_util::{FutureExt, future::BoxFuture};
use log::{AppendError, Bounds, Log, MemoryLog, ReadError, Record, Retention, TrimError};
use model::{Batch, IdempotencyKey, Offset, Partition, PartitionCount, StoreId};
use stream_job::{JobConfig, JobError, Rebuild, SideTopics};
use tokio::sync::watch;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a topic does with records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Works,
    /// Takes none, and does not answer.
    OutOfReach,
    /// Takes them, but the answer is lost with the connection.
    AnswersLost,
}

/// A topic that can be out of reach.
#[derive(Debug)]
struct Topic {
    log: Arc<MemoryLog>,
    mood: watch::Sender<Mood>,
}

impl Topic {
    fn new(count: u32, mood: Mood) -> Arc<Self> {
        Arc::new(Self { log: MemoryLog::new(partitions(count)), mood: watch::Sender::new(mood) })
    }

    /// Its records so far.
    async fn records(&self) -> Vec<(Partition, Bytes)> {
        let mut all = Vec::new();
        for partition in self.log.partitions().iter() {
            let bounds = self.log.bounds(partition);
            if bounds.next > Offset(0) {
                let read = self.log.read(partition, Offset(0), usize::MAX).await.unwrap();
                all.extend(read.into_iter().map(|record| (partition, record.payload)));
            }
        }
        all
    }

    async fn jsons(&self) -> Vec<serde_json::Value> {
        let records = self.records().await;
        records.iter().map(|(_, record)| serde_json::from_slice(record).unwrap()).collect()
    }
}

impl Log for Topic {
    fn partitions(&self) -> PartitionCount {
        self.log.partitions()
    }

    fn append(
        &self,
        partition: Partition,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<Offset, AppendError>> {
        let (log, mut mood) = (self.log.clone(), self.mood.subscribe());
        async move {
            let mood = *mood.wait_for(|mood| *mood != Mood::OutOfReach).await.unwrap();
            let appended = log.append(partition, payload).await;
            if mood == Mood::AnswersLost {
                return Err(AppendError::Stopped("the answer is lost".to_owned()));
            }
            appended
        }
        .boxed()
    }

    fn read(
        &self,
        partition: Partition,
        from: Offset,
        max_bytes: usize,
    ) -> BoxFuture<'static, Result<Vec<Record>, ReadError>> {
        self.log.read(partition, from, max_bytes)
    }

    fn bounds(&self, partition: Partition) -> Bounds {
        self.log.bounds(partition)
    }

    fn trim(
        &self,
        partition: Partition,
        retention: Retention,
    ) -> BoxFuture<'static, Result<Bounds, TrimError>> {
        self.log.trim(partition, retention)
    }
}

/// Two topics of so many partitions.
fn topics(count: u32, mood: Mood) -> (Arc<Topic>, Arc<Topic>, SideTopics) {
    let (late, dead) = (Topic::new(count, mood), Topic::new(count, mood));
    let topics = SideTopics { late: late.clone(), dead_letters: dead.clone() };
    (late, dead, topics)
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Ten days go by; then a batch of which the first purchase is in time and the others are late.
async fn late_in(log: &MemoryLog, late: usize) -> Batch {
    append(log, 0, sale(0, 1, 7, 1)).await;
    let mut batch = Batch::decode(&sale(864_000, 1, 7, 2)).unwrap();
    let mut purchase = batch.purchases[0].clone();
    purchase.date = purchase.date.plus_days(-5);
    batch.purchases.extend(vec![purchase; late]);
    batch.purchases[1].key = Some(IdempotencyKey::digest(StoreId(1), "till-4"));
    append(log, 0, batch.encode().into()).await;
    batch
}

/// Checkpoints as soon as there is something.
fn often(directory: &Path) -> JobConfig {
    JobConfig { checkpoint_interval: Duration::from_millis(1), ..config(directory) }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_say_everything() {
    let home = tempfile::tempdir().unwrap();
    let log = MemoryLog::new(partitions(2));
    late_in(&log, 2).await;
    let large: Vec<u8> = (0..1_200_000_u32).map(|n| (n % 251) as u8 | 0x80).collect();
    for record in [&b"\xff\x00garbage"[..], b"", &large] {
        append(&*log, 1, Bytes::copy_from_slice(record)).await;
    }
    let (late, dead, topics) = topics(2, Mood::Works);
    let mut running = start_publishing(config(home.path()), log, topics).await.unwrap();
    running.caught_up().await.unwrap();
    running.stop().await;

    let digest = IdempotencyKey::digest(StoreId(1), "till-4").0;
    let digest = hex(&digest);
    let line = |place, key: &str| {
        format!(
            r#"{{"partition":0,"offset":1,"place":{place},"storeID":1,"custID":1,"date":"20210606","occurredAt":"2021-06-11T08:00:00.000Z",{key}"items":[{{"itemID":7,"quantity":2}}]}}"#
        )
    };
    let expected = [line(1, &format!(r#""keyDigest":"{digest}","#)), line(2, "")];
    let expected = expected.map(|line| (Partition(0), Bytes::from(line)));
    assert_eq!(late.records().await, expected);

    let records = dead.jsons().await;
    assert!(dead.records().await.iter().all(|(partition, _)| *partition == Partition(1)));
    let error = "unknown batch version 255, this build reads version 1";
    let garbage = serde_json::json!({
        "partition": 1, "offset": 0, "part": 0, "parts": 1, "error": error, "bytes": 9,
        "hex": "ff0067617262616765",
    });
    assert_eq!(records[0], garbage);
    assert_eq!((&records[1]["bytes"], &records[1]["hex"]), (&0.into(), &"".into()));
    let parts = &records[2..];
    let mut digits = String::new();
    for (number, part) in parts.iter().enumerate() {
        assert_eq!((&part["offset"], &part["bytes"]), (&2.into(), &large.len().into()));
        assert_eq!((&part["part"], &part["parts"]), (&number.into(), &parts.len().into()));
        digits.push_str(part["hex"].as_str().unwrap());
    }
    assert!(digits == hex(&large));
}

/// What identifies a record, with its bytes.
async fn identified(topic: &Topic) -> BTreeMap<(u64, u64, u64), BTreeSet<Bytes>> {
    let mut all = BTreeMap::<_, BTreeSet<_>>::new();
    for (partition, record) in topic.records().await {
        let json: serde_json::Value = serde_json::from_slice(&record).unwrap();
        let [offset, place] =
            ["offset", if json.get("place").is_some() { "place" } else { "part" }]
                .map(|name| json[name].as_u64().unwrap());
        all.entry((partition.0.into(), offset, place)).or_default().insert(record);
    }
    all
}

/// A made-up stream; the job dies whenever a topic's answer is lost, and starts again; now and then from an
/// older checkpoint.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_repeats_records_and_loses_none() {
    let records = records(11, partitions(2), 300);
    let log = log_of(&records).await;
    let home = tempfile::tempdir().unwrap();
    let (whole_late, whole_dead, topics_of_whole) = topics(2, Mood::Works);
    let mut whole =
        start_publishing(config(&home.path().join("whole")), log.clone(), topics_of_whole)
            .await
            .unwrap();
    whole.caught_up().await.unwrap();
    whole.stop().await;
    assert!(whole_late.records().await.len() > 20 && whole_dead.records().await.len() > 5);

    let (now, older) = (home.path().join("now"), home.path().join("older"));
    let (late, dead, topics) = topics(2, Mood::Works);
    for round in 0..6 {
        let mood = if round == 5 { Mood::Works } else { Mood::AnswersLost };
        late.mood.send_replace(mood);
        if round == 3 {
            dead.mood.send_replace(Mood::AnswersLost);
        }
        if round == 4 {
            std::fs::remove_dir_all(&now).unwrap();
            copy(&older, &now);
            dead.mood.send_replace(Mood::Works);
        }
        let mut running = start_publishing(often(&now), log.clone(), topics.clone()).await.unwrap();
        if mood == Mood::Works {
            running.caught_up().await.unwrap();
            running.stop().await;
        } else {
            let error = running.failure().await;
            assert!(matches!(error, JobError::SideOutput { .. }), "{error}");
        }
        if round == 1 {
            copy(&now, &older);
        }
    }
    assert!(late.records().await.len() > whole_late.records().await.len(), "some came again");
    for (topic, whole) in [(&late, &whole_late), (&dead, &whole_dead)] {
        let (found, expected) = (identified(topic).await, identified(whole).await);
        assert!(found == expected);
        assert!(found.values().all(|same| same.len() == 1), "always the same record");
        assert_eq!(expected.len(), whole.records().await.len(), "once, when nothing dies");
    }

    // Counted again, the same once more.
    let rebuilding = JobConfig { rebuild: Rebuild::Complete, ..config(&now) };
    let mut running = start_publishing(rebuilding, log, topics).await.unwrap();
    running.caught_up().await.unwrap();
    running.stop().await;
    assert!(identified(&late).await == identified(&whole_late).await);
}

/// More late purchases than are kept, while the topic is out of reach.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_kept_however_much() {
    const LATE: usize = 12_001;
    let home = tempfile::tempdir().unwrap();
    let log = MemoryLog::new(partitions(1));
    let batch = late_in(&log, 4000).await;
    for again in 1..=2 {
        let mut more = batch.clone();
        more.purchases[0] = batch.purchases[2].clone();
        more.purchases[1].key = None;
        more.first_sequence.0 += again * 10_000;
        append(&*log, 0, more.encode().into()).await;
    }
    let (late, dead, topics) = topics(1, Mood::OutOfReach);
    dead.mood.send_replace(Mood::Works);
    append(&*log, 0, Bytes::from_static(b"garbage")).await;
    let roomy = |config| JobConfig { max_side_bytes: 1 << 30, ..config };
    let running = start_publishing(roomy(often(home.path())), log.clone(), topics.clone()).await;
    let mut running = running.unwrap();
    running.caught_up().await.unwrap();
    // Neither counting nor the other topic waits for it.
    until("the dead letter is there", async || dead.records().await.len() == 1).await;
    assert!(running.metric("topline_job_side_waiting_bytes") > 64.0 * LATE as f64);
    let side = running.side.clone();
    running.stop().await;
    assert_eq!(side.late(usize::MAX).unwrap().len(), LATE + 1);
    assert!(late.records().await.is_empty());
    drop(side);

    late.mood.send_replace(Mood::Works);
    let running = start_publishing(roomy(config(home.path())), log, topics).await.unwrap();
    until("all is there", async || late.records().await.len() == LATE + 1).await;
    let side = running.side.clone();
    until("all is acknowledged", async || running.metric("topline_job_side_waiting_bytes") == 0.0)
        .await;
    assert_eq!(running.metric("topline_job_side_published_total") as usize, LATE + 1);
    running.stop().await;
    assert_eq!(identified(&late).await.len(), LATE + 1);
    assert_eq!(dead.records().await.len(), 1, "once");
    assert_eq!(side.late(usize::MAX).unwrap().len(), 10_000);
}

/// Beyond the limit nothing more is counted, and the entrance is told; with the topic back it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn too_much_waiting_holds_the_partition_up() {
    let home = tempfile::tempdir().unwrap();
    let log = MemoryLog::new(partitions(1));
    let (late, dead, topics) = topics(1, Mood::OutOfReach);
    let tight = JobConfig { max_side_bytes: 1000, read_bytes: 1, ..often(home.path()) };
    let mut running = start_publishing(tight, log.clone(), topics.clone()).await.unwrap();
    running.caught_up().await.unwrap();
    for _ in 0..40 {
        append(&*log, 0, Bytes::from_static(b"garbage")).await;
    }
    running.saturation.changed().await.unwrap();
    let reason = running.saturation.borrow_and_update()[&Partition(0)].clone();
    assert!(reason.contains("held up by the topic of side output 'dead-letters'"), "{reason}");
    for sequence in 0..1000 {
        append(&*log, 0, sale(sequence, 1, 7, 1)).await;
    }
    let (_, next) = running.view.position().iter().next().unwrap();
    assert!(next < Offset(1040), "{next}");
    // Ended in order all the same; and held up again from the start.
    running.stop().await;
    let tight = JobConfig { max_side_bytes: 1000, read_bytes: 1, ..often(home.path()) };
    let mut running = start_publishing(tight, log.clone(), topics).await.unwrap();
    assert!(!running.view.is_ready());
    assert!(dead.records().await.is_empty());
    dead.mood.send_replace(Mood::Works);
    running.caught_up().await.unwrap();
    until("all are there", async || dead.records().await.len() == 40).await;
    assert!(running.saturation.borrow().is_empty());
    running.stop().await;
    assert_eq!(identified(&dead).await.len(), 40);
    assert!(late.records().await.is_empty());
}

/// A worker for which there is no partition has nothing to do, and waits for its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_spare_worker_waits() {
    let home = tempfile::tempdir().unwrap();
    let mut spare = config(home.path());
    spare.assignment = stream_job::Assignment { worker: 2, workers: 3 };
    let (.., topics) = topics(2, Mood::Works);
    let running = start_publishing(spare, MemoryLog::new(partitions(2)), topics).await.unwrap();
    tokio::task::yield_now().await;
    running.stop().await;
}
