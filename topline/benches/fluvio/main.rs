//! The roles as processes of their own over a Fluvio cluster of one SPU: what the stream can do by
//! itself; bulk POSTs through ingest, stream, job and feed into a replica; from POST answered to visible
//! there; how soon a new replica is ready; and how long nothing fresh is answered when a worker is killed.
//! `cargo bench -p topline --bench fluvio`.
//!
//! Needs the server, `fluvio-run`, on `PATH` or by `FLUVIO_RUN`. The cluster keeps its data in a temporary
//! directory of the system, and syncs nothing to the disk before it acknowledges.

#[path = "../common/mod.rs"]
mod common;
mod failover;
mod passes;
mod replicas;
mod roles;
mod stream;

use clap::{Parser, ValueEnum};
use fluvio_testing::TestCluster;
use passes::Bodies;
use roles::{PURCHASES, Roles};
use tokio::runtime::Runtime;

#[derive(Debug, Parser)]
struct Args {
    /// Connections that send bulk POSTs
    #[arg(long, env = "BENCH_BULK_CONNECTIONS", default_value_t = 4)]
    connections: usize,
    /// Seconds of each pass
    #[arg(long, env = "BENCH_SECONDS", default_value_t = 20.0)]
    seconds: f64,
    /// Seconds that records are appended to the stream alone
    #[arg(long, env = "BENCH_STREAM_SECONDS", default_value_t = 5.0)]
    stream_seconds: f64,
    /// Bodies made before
    #[arg(long, env = "BENCH_BULK_BODIES", default_value_t = 500)]
    bodies: usize,
    /// Purchases in a body
    #[arg(long, env = "BENCH_BULK_PURCHASES", default_value_t = 2000)]
    purchases: usize,
    /// Stores
    #[arg(long, env = "BENCH_STORES", default_value_t = 1000)]
    stores: u32,
    /// Items
    #[arg(long, env = "BENCH_ITEMS", default_value_t = 100_000)]
    items: u32,
    /// Lines a second of the passes with a pace
    #[arg(long, env = "BENCH_PACES", value_delimiter = ',', default_values_t = [250_000.0, 500_000.0])]
    paces: Vec<f64>,
    /// Lines a second while workers are killed
    #[arg(long, env = "BENCH_KILL_PACE", default_value_t = 100_000.0)]
    kill_pace: f64,
    /// Workers killed with a standby, and as many without
    #[arg(long, env = "BENCH_KILLS", default_value_t = 3)]
    kills: usize,
    /// What is measured [default: all]
    #[arg(long, env = "BENCH_PARTS", value_delimiter = ',', value_enum)]
    parts: Vec<Part>,
    /// New replicas started after the POSTs, and as many after a keyframe
    #[arg(long, env = "BENCH_REPLICAS", default_value_t = 2)]
    replicas: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The stream alone
    Stream,
    /// Bulk POSTs and probes
    Passes,
    /// New replicas
    Replicas,
    /// Workers that are killed
    Kills,
}

const PARTITIONS: u32 = 4;

fn main() {
    let args = Args::parse();
    let Some(cluster) = TestCluster::start(1) else { return };
    let runtime = Runtime::new().expect("the system gives threads");
    let wanted = |part| args.parts.is_empty() || args.parts.contains(&part);
    if wanted(Part::Stream) {
        stream::alone(&args, &cluster, &runtime);
    }
    if args.parts == [Part::Stream] {
        return;
    }
    roles::setup(&cluster, PURCHASES, PARTITIONS);
    let roles = Roles::start(&cluster);
    let bodies = Bodies::new(&args);
    let position = if wanted(Part::Passes) {
        passes::through_all_roles(&args, &roles, &bodies)
    } else {
        passes::fill(&args, &roles, &bodies)
    };
    if wanted(Part::Replicas) {
        replicas::new_replicas(&args, &roles, &position, &runtime);
    }
    if wanted(Part::Kills) {
        failover::kills(&args, roles, &bodies);
    }
}
