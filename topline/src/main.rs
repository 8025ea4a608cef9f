//! Topline: what sells best, where, right now.
//!
//! This file only reads the command line; [`serve`] wires the services, [`demo`] plays a day, and
//! [`loadgen`] measures.

mod admin;
mod cli;
mod demo;
mod listeners;
mod loadgen;
mod panics;
mod replica;
mod role;
mod roles;
mod serve;
mod setup;
mod stream;
mod terminal;
mod termination;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    cli::{Cli, Command, WrongUsage},
    termination::{EndedEarly, Termination},
};

/// The exit code of wrong usage, as that of a command line that cannot be read.
const WRONG_USAGE: u8 = 2;

/// Requests allocate little, but often and from all threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    panics::hook();
    // Of these, what is asked to end has done all that was asked of it.
    let serves = matches!(
        cli.command,
        Command::Serve(_) | Command::Ingest(_) | Command::Job(_) | Command::Query(_)
    );
    let outcome = telemetry::init_tracing(cli.log_format, cli.log_filter())
        .map_err(Into::into)
        .and_then(|()| cli::runtime())
        .and_then(|runtime| {
            let outcome = runtime.block_on(run(cli.command));
            if outcome.as_ref().is_err_and(anyhow::Error::is::<EndedEarly>) {
                // A file that is being verified is of no use any more.
                runtime.shutdown_background();
            }
            outcome
        });
    match outcome {
        Ok(code) => code,
        Err(error) if serves && error.is::<EndedEarly>() => {
            tracing::info!("stopped: {error}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            terminal::note(format_args!("topline: {error:#}"));
            if error.is::<WrongUsage>() { ExitCode::from(WRONG_USAGE) } else { ExitCode::FAILURE }
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let termination = Termination::listen();
    match command {
        Command::Serve(args) => serve::run(args, &termination).await?,
        Command::Demo(args) => Box::pin(demo::run(args, &termination)).await?,
        Command::Setup(args) => termination.during(setup::run(args)).await?,
        Command::Ingest(args) => Box::pin(roles::ingest(args, &termination)).await?,
        Command::Job(args) => Box::pin(roles::job(args, &termination)).await?,
        Command::Query(args) => Box::pin(roles::query(args, &termination)).await?,
        Command::Loadgen(args) => return Box::pin(loadgen::run(*args, &termination)).await,
    }
    Ok(ExitCode::SUCCESS)
}
