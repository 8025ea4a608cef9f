//! The `direct-database` baseline: see [`baselines::direct_database`].

use std::{process::ExitCode, sync::Arc};

use anyhow::Context;
use baselines::{
    cli::{self, ServerArgs},
    contract::routes,
    direct_database::{DirectDatabase, DirectDatabaseArgs},
};
use clap::Parser;
use http_server::Readiness;
use telemetry::Metrics;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Top lists straight from PostgreSQL.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    design: DirectDatabaseArgs,
}

fn main() -> ExitCode {
    let Cli { server, design } = Cli::parse();
    cli::run("direct-database", &server, async {
        let readiness = Readiness::new();
        let connecting = || readiness.condition("database", "connecting");
        let started = DirectDatabase::start(&design, connecting).await;
        let design = Arc::new(started.context("the database cannot be used")?);
        cli::serve(&server, routes("direct_database", &design), readiness, &Metrics::new()?).await
    })
}
