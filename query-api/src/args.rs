//! Settings of the GET API.

use std::time::Duration;

use model::parse_duration;

/// Settings of the GET API.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "query-api")]
pub struct Args {
    /// Time a GET waits for the position in its header Topline-Wait-For
    #[arg(long, env = "TOPLINE_WAIT_TIMEOUT", default_value = "5s", value_parser = parse_duration)]
    pub wait_timeout: Duration,

    /// GETs that may wait for a position at once; more are answered 503
    #[arg(long, env = "TOPLINE_MAX_WAITERS", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_waiters: u32,

    /// Clients that may follow lists as server-sent events at once; more are answered 503
    #[arg(long, env = "TOPLINE_MAX_EVENT_STREAMS", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_event_streams: u32,

    /// The least time between two events of a client
    #[arg(long, env = "TOPLINE_EVENT_INTERVAL", default_value = "250ms", value_parser = parse_duration)]
    pub event_interval: Duration,

    /// Bytes of rendered answers kept for the next reader
    #[arg(long, env = "TOPLINE_MAX_RENDERED_BYTES", default_value_t = 256 << 20)]
    pub max_rendered_bytes: usize,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            wait_timeout: Duration::from_secs(5),
            max_waiters: 1024,
            max_event_streams: 1024,
            event_interval: Duration::from_millis(250),
            max_rendered_bytes: 256 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn the_defaults_of_the_flags_are_the_defaults() {
        let command = <Command as clap::Parser>::parse_from(["test"]);
        assert_eq!(format!("{:?}", command.args), format!("{:?}", Args::default()));
    }
}
