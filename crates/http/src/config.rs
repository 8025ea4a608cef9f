//! Settings of a listener.

use std::{num::NonZeroUsize, thread, time::Duration};

use clap::Args;
use model::parse_duration;

use crate::TlsFiles;

/// Settings of a listener: its threads, and bounds on what one client can hold.
#[derive(Debug, Clone, Args)]
pub struct ListenerConfig {
    /// Threads that serve connections [default: one for each core]
    #[arg(long = "listener-threads", env = "TOPLINE_LISTENER_THREADS")]
    pub threads: Option<NonZeroUsize>,

    /// Connections open at once; more wait in the backlog of the kernel until one closes
    #[arg(long, env = "TOPLINE_MAX_CONNECTIONS", default_value = "8192", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,

    /// Time for the head of a request to arrive, from its first byte; also for the handshake of TLS
    #[arg(long, env = "TOPLINE_HEADER_TIMEOUT", default_value = "10s", value_parser = parse_duration)]
    pub header_timeout: Duration,

    /// Time a connection may stay open without a request
    #[arg(long, env = "TOPLINE_IDLE_TIMEOUT", default_value = "75s", value_parser = parse_duration)]
    pub idle_timeout: Duration,

    /// Time a client may leave its answer unread
    #[arg(long, env = "TOPLINE_WRITE_TIMEOUT", default_value = "30s", value_parser = parse_duration)]
    pub write_timeout: Duration,

    /// Time for requests at hand to be answered on shutdown; then their connections are cut
    #[arg(long, env = "TOPLINE_DRAIN_TIMEOUT", default_value = "20s", value_parser = parse_duration)]
    pub drain_timeout: Duration,

    /// The certificate, for TLS
    #[command(flatten)]
    pub tls: TlsFiles,
}

impl ListenerConfig {
    pub(crate) fn thread_count(&self) -> usize {
        self.threads.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
    }
}

impl Default for ListenerConfig {
    fn default() -> Self {
        Self {
            threads: None,
            max_connections: 8192,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(20),
            tls: TlsFiles::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        listener: ListenerConfig,
    }

    #[test]
    fn the_defaults_of_the_flags_are_the_defaults() {
        let command = <Command as clap::Parser>::parse_from(["test"]);
        assert_eq!(format!("{:?}", command.listener), format!("{:?}", ListenerConfig::default()));
    }
}
