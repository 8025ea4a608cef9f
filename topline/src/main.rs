//! Topline: what sells best, where, right now.
//!
//! This file only reads the command line; [`serve`] wires the services, [`demo`] plays a day, and
//! [`loadgen`] measures.

mod admin;
mod cli;
mod demo;
mod listeners;
mod loadgen;
mod replica;
mod role;
mod roles;
mod serve;
mod setup;
mod stream;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

/// Requests allocate little, but often and from all threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = telemetry::init_tracing(cli.log_format, cli.log_filter())
        .map_err(Into::into)
        .and_then(|()| cli::runtime())
        .and_then(|runtime| {
            runtime.block_on(async {
                match cli.command {
                    Command::Serve(args) => serve::run(args).await?,
                    Command::Demo(args) => Box::pin(demo::run(args)).await?,
                    Command::Setup(args) => setup::run(args).await?,
                    Command::Ingest(args) => Box::pin(roles::ingest(args)).await?,
                    Command::Job(args) => Box::pin(roles::job(args)).await?,
                    Command::Query(args) => Box::pin(roles::query(args)).await?,
                    Command::Loadgen(args) => return Box::pin(loadgen::run(*args)).await,
                }
                Ok(ExitCode::SUCCESS)
            })
        });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("topline: {error:#}");
            ExitCode::FAILURE
        }
    }
}
