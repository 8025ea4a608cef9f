//! An SPU is away for some time, and nobody sells anything meanwhile: no role spins or grows, and everything
//! comes back by itself.

mod common;

use std::{
    thread,
    time::{Duration, Instant},
};

use common::{
    Server,
    cluster::{front, job, setup},
    eventually,
};
use fluvio_testing::TestCluster;

/// How long it is away.
const OUTAGE: Duration = Duration::from_secs(30);
/// The most of a core that a role may take meanwhile, unoptimised as it is here. What tries again without
/// a pause takes all of one.
const MOST_CPU: f64 = 0.3;
/// The most bytes by which a role may grow.
const MOST_GROWTH: f64 = 32e6;

/// Sells nothing in every store.
fn probe(ingest: &Server) -> Vec<u16> {
    let nothing = r#"{"items":[{"ItemID":1,"numberOfItems":0}]}"#;
    let sell = |store| ingest.post(&common::purchase_path(store, "20210101"), nothing).status;
    (0..12).map(sell).collect()
}

/// What a role has taken: processor time, and memory in bytes.
fn taken(role: &Server) -> (Duration, f64) {
    (role.cpu_time(), role.metric("process_resident_memory_bytes", &[]))
}

/// How old the oldest answers of `query` are at most, in seconds.
fn lag(query: &Server) -> f64 {
    let partition = |p| format!("partition=\"{p}\"");
    let lags = (0..4).map(|p| query.metric("topline_view_lag_seconds", &[&partition(p)]));
    lags.fold(0.0, f64::max)
}

#[test]
fn an_outage_costs_little() {
    let Some(mut cluster) = TestCluster::start(2) else { return };
    setup(&cluster, "purchases", &["--partitions", "4"]);
    let data = tempfile::tempdir().unwrap();
    let worker = job(&cluster, data.path(), &[]).unwrap_or_else(|ended| panic!("{ended:?}"));
    let (ingest, query) = (front(&cluster, "ingest"), front(&cluster, "query"));
    let roles = [("ingest", &ingest), ("job", &worker), ("query", &query)];
    assert_eq!(probe(&ingest), [201; 12]);

    cluster.kill_spu(0);
    eventually("some are refused", || probe(&ingest).contains(&503).then_some(()));
    let (before, began) = (roles.map(|(_, role)| taken(role)), Instant::now());
    thread::sleep(OUTAGE);
    for ((name, role), (cpu, memory)) in roles.into_iter().zip(before) {
        let (cpu_now, memory_now) = taken(role);
        let share = cpu_now.saturating_sub(cpu).as_secs_f64() / began.elapsed().as_secs_f64();
        let grown = memory_now - memory;
        println!("{name}: {:.1} % of a core, {:.1} MB more", 100.0 * share, grown / 1e6);
        assert!(share < MOST_CPU, "{name} takes {share} of a core");
        assert!(grown < MOST_GROWTH, "{name} has grown by {grown} bytes");
    }
    // Nothing has been sold, but nobody could know.
    let lag_then = lag(&query);
    assert!(lag_then >= OUTAGE.as_secs_f64() / 2.0, "{lag_then} s");
    cluster.start_spu(0);
    eventually("all are taken again", || (probe(&ingest) == [201; 12]).then_some(()));
    eventually("answers are current", || (lag(&query) < 5.0).then_some(()));
    assert!(ingest.is_ready() && worker.is_ready() && query.is_ready());
}
