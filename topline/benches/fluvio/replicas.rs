//! How soon a new replica is ready.

use std::{
    thread,
    time::{Duration, Instant},
};

use fluvio_log::FluvioLog;
use futures_util::future::join_all;
use log::Log;
use model::{Offset, Partition};
use tokio::runtime::Runtime;
use view::feed::Replica;

use crate::{
    Args,
    common::{
        client::Position,
        process::{cpu_seconds, resident_bytes},
        report::{self, Table, count, megabytes},
    },
    roles::{PURCHASES, Roles, open, start_query, views_of},
};

/// How long the job may take to write keyframes, and how often they are looked for.
const KEYFRAME_TIMEOUT: Duration = Duration::from_mins(5);
const POLL: Duration = Duration::from_millis(100);
/// Bytes of the feed read at a time.
const READ_BYTES: usize = 1 << 20;

/// Starts replicas, one after the other: after the POSTs, whose changes they have to read one by one, and
/// after a keyframe of everything.
pub(crate) fn new_replicas(args: &Args, roles: &Roles, position: &Position, runtime: &Runtime) {
    report::title("A new replica");
    println!("{} pairs; each starts at the last keyframe\n", count(roles.job.pairs()));
    let table = Table::new(&[
        "after",
        "views from the keyframe on",
        "read alone",
        "listens",
        "right answers",
        "`/readyz`",
        "CPU seconds",
        "memory",
    ]);
    let views = runtime.block_on(open(roles.cluster.clone(), &views_of(PURCHASES)));
    let before = runtime.block_on(keyframes(&views));
    for _ in 0..args.replicas {
        new_replica("the POSTs", roles, position, &views, runtime).row(&table);
    }
    runtime.block_on(later_keyframes(&views, &before));
    for _ in 0..args.replicas {
        new_replica("a keyframe", roles, position, &views, runtime).row(&table);
    }
    views.close();
}

/// What a new replica has taken; times from the start of its process.
struct Started {
    after: &'static str,
    /// Of the views from the last keyframe on, and how long it takes to read them and do nothing.
    bytes: u64,
    read: Duration,
    listens: Duration,
    right: Duration,
    ready: Duration,
    cpu: f64,
    memory: u64,
}

/// Starts one, until it has everything in `position`, and is ready.
fn new_replica(
    after: &'static str,
    roles: &Roles,
    position: &Position,
    views: &FluvioLog,
    runtime: &Runtime,
) -> Started {
    let start = Instant::now();
    let bytes = runtime.block_on(read_views(views));
    let read = start.elapsed();

    let start = Instant::now();
    let replica = start_query(&roles.cluster);
    let listens = start.elapsed();
    let (right, ready) = thread::scope(|scope| {
        let ready = scope.spawn(|| {
            replica.wait_until_ready();
            start.elapsed()
        });
        replica.wait_for(position);
        (start.elapsed(), ready.join().expect("it becomes ready"))
    });
    let (cpu, memory) = (cpu_seconds(replica.pid()), resident_bytes(replica.pid()));
    Started { after, bytes, read, listens, right, ready, cpu, memory }
}

impl Started {
    fn row(&self, table: &Table) {
        let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
        table.row(&[
            self.after.to_owned(),
            megabytes(self.bytes),
            seconds(self.read),
            seconds(self.listens),
            seconds(self.right),
            seconds(self.ready),
            format!("{:.2}", self.cpu),
            megabytes(self.memory),
        ]);
    }
}

/// Where the last keyframe of each partition begins, as its last record says.
async fn keyframes(views: &FluvioLog) -> Vec<(Partition, Offset)> {
    let partitions = views.partitions().iter().map(async |partition| {
        let last = Offset(views.bounds(partition).next.0 - 1);
        let records = views.read(partition, last, 1).await.expect("the last record");
        let keyframe = Replica::start(records.first().map(|record| &*record.payload));
        (partition, keyframe.expect("not damaged").expect("the job has written one"))
    });
    join_all(partitions).await
}

/// Waits until each partition has a keyframe after `before`.
async fn later_keyframes(views: &FluvioLog, before: &[(Partition, Offset)]) {
    let start = Instant::now();
    while keyframes(views).await.iter().zip(before).any(|(now, before)| now == before) {
        assert!(start.elapsed() < KEYFRAME_TIMEOUT, "the job writes no keyframes");
        tokio::time::sleep(POLL).await;
    }
}

/// Reads what a new replica does: the views of all partitions from the last keyframe on; gives their bytes.
async fn read_views(views: &FluvioLog) -> u64 {
    let partitions = keyframes(views).await.into_iter().map(async |(partition, mut at)| {
        let (next, mut bytes) = (views.bounds(partition).next, 0);
        while at < next {
            for record in views.read(partition, at, READ_BYTES).await.expect("records") {
                bytes += record.payload.len() as u64;
                at = record.offset.next();
            }
        }
        bytes
    });
    join_all(partitions).await.into_iter().sum()
}
