//! What the stream can do by itself.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use fluvio_log::FluvioLog;
use fluvio_testing::TestCluster;
use futures_util::future::join_all;
use log::Log;
use model::Partition;
use random::Random;
use tokio::runtime::Runtime;

use crate::{
    Args, PARTITIONS,
    common::{
        process::cpu_seconds,
        report::{self, Table, count},
    },
    roles::{open, setup, spu},
};

const RECORD_BYTES: usize = 64 * 1024;
/// Records under way in each partition.
const IN_FLIGHT: usize = 16;

/// Appends records to one partition, and to as many as the purchases have.
pub(crate) fn alone(args: &Args, cluster: &TestCluster, runtime: &Runtime) {
    report::title("Appends to Fluvio");
    println!(
        "one SPU, {} s, records of {} bytes, {IN_FLIGHT} under way in each partition\n",
        args.stream_seconds,
        count(RECORD_BYTES as f64),
    );
    let time = Duration::from_secs_f64(args.stream_seconds);
    let table = Table::new(&["partitions", "MB/s", "records/s", "SPU CPU/s", "client CPU/s"]);
    for partitions in [1, PARTITIONS] {
        let topic = format!("records-{partitions}");
        setup(cluster, &topic, partitions);
        runtime.block_on(append_alone(cluster, &topic, time)).row(&table, partitions);
    }
}

/// What was appended to the stream alone.
struct Appended {
    records: usize,
    time: Duration,
    /// Seconds.
    spu_cpu: f64,
    client_cpu: f64,
}

async fn append_alone(cluster: &TestCluster, topic: &str, time: Duration) -> Appended {
    let log = open(cluster.address(), topic).await;
    let mut random = Random::new(4);
    let payload: Bytes = (0..RECORD_BYTES).map(|_| random.next() as u8).collect();
    let cpu = || [spu(), std::process::id()].map(cpu_seconds);
    let (before, start) = (cpu(), Instant::now());
    let appenders = log.partitions().iter().map(|partition| {
        tokio::spawn(append_until(log.clone(), partition, payload.clone(), start + time))
    });
    let records = join_all(appenders).await;
    let (time, [spu_cpu, client_cpu]) = (start.elapsed(), cpu());
    log.close();
    Appended {
        records: records.into_iter().map(|appended| appended.expect("it does not panic")).sum(),
        time,
        spu_cpu: spu_cpu - before[0],
        client_cpu: client_cpu - before[1],
    }
}

/// Keeps records under way until `end`; gives how many there were, all of them acknowledged.
async fn append_until(
    log: Arc<FluvioLog>,
    partition: Partition,
    payload: Bytes,
    end: Instant,
) -> usize {
    let (mut under_way, mut records) = (VecDeque::new(), 0);
    loop {
        while under_way.len() < IN_FLIGHT && Instant::now() < end {
            under_way.push_back(log.append(partition, payload.clone()));
        }
        let Some(first) = under_way.pop_front() else { return records };
        first.await.expect("the cluster takes records");
        records += 1;
    }
}

impl Appended {
    fn row(&self, table: &Table, partitions: u32) {
        let a_second = |number: f64| number / self.time.as_secs_f64();
        let records = self.records as f64;
        table.row(&[
            partitions.to_string(),
            count(a_second(records * RECORD_BYTES as f64) / 1e6),
            count(a_second(records)),
            format!("{:.2}", a_second(self.spu_cpu)),
            format!("{:.2}", a_second(self.client_cpu)),
        ]);
    }
}
