//! The `queue-and-memory` baseline: see [`baselines::queue_and_memory`].

use std::{process::ExitCode, sync::Arc};

use baselines::{
    cli::{self, ServerArgs},
    contract::routes,
    queue_and_memory::{QueueAndMemory, QueueAndMemoryArgs},
};
use clap::Parser;
use http_server::Readiness;
use telemetry::Metrics;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Top lists from memory, behind RabbitMQ.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    design: QueueAndMemoryArgs,
}

fn main() -> ExitCode {
    let Cli { server, design } = Cli::parse();
    cli::run("queue-and-memory", &server, async {
        let readiness = Readiness::new();
        let started = QueueAndMemory::start(&design, &readiness).await;
        let design = Arc::new(started?);
        cli::serve(&server, routes("queue_and_memory", &design), readiness, &Metrics::new()?).await
    })
}
