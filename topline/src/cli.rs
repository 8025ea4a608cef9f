//! The command line.

use std::{error::Error, fmt};

use anyhow::Context;
use clap::{Parser, Subcommand};
use telemetry::LogFormat;
use tokio::runtime::Runtime;

use crate::{
    demo::DemoArgs,
    loadgen::LoadgenArgs,
    roles::{IngestRoleArgs, JobRoleArgs, QueryRoleArgs},
    serve::ServerArgs,
    setup::SetupArgs,
};

/// What sells best, where, right now: top lists from a stream of purchases.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub(crate) struct Cli {
    /// How log lines look: text or json
    #[arg(long, env = "TOPLINE_LOG_FORMAT", default_value = "text", global = true)]
    pub(crate) log_format: LogFormat,

    /// What is logged: a level, or levels by module, such as `info,topline=debug` [default: info; for
    /// a demo warn]
    #[arg(long, env = telemetry::LOG_ENV, global = true)]
    pub(crate) log: Option<String>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve everything from one process, on an embedded log or a Fluvio cluster
    Serve(ServerArgs),
    /// Play a day of purchases against a server of its own, check every answer, and go on serving
    Demo(DemoArgs),
    /// Get a Fluvio cluster ready: register its SPUs, make the topics, wait until all are in service
    Setup(SetupArgs),
    /// Take purchases in, and nothing else; over a Fluvio cluster
    Ingest(IngestRoleArgs),
    /// Count purchases and write the views, and nothing else; over a Fluvio cluster
    Job(JobRoleArgs),
    /// Answer queries, and nothing else; over a Fluvio cluster
    Query(QueryRoleArgs),
    /// Put load on a server, measure its answers, and compare runs
    Loadgen(Box<LoadgenArgs>),
}

/// The command line can be read, but makes no sense: the exit code is that of wrong usage.
#[derive(Debug)]
pub(crate) struct WrongUsage(pub(crate) String);

impl fmt::Display for WrongUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for WrongUsage {}

impl Cli {
    /// What is logged: in a demo, what would tear its tables and its progress bar is left out.
    pub(crate) fn log_filter(&self) -> &str {
        match (&self.log, &self.command) {
            (Some(filter), _) => filter,
            (None, Command::Demo(_) | Command::Loadgen(_)) => "warn",
            // The client of Fluvio tells of every connection; what matters of that is said by ours.
            (None, _) => "info,fluvio=warn,fluvio_socket=off,fluvio_log=info",
        }
    }
}

/// The runtime that serves requests. The workers of the job have threads of their own.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
