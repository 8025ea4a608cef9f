//! Settings of ingest.

use std::time::Duration;

use clap::Args;
use model::{MAX_BATCH_PURCHASES, parse_duration};

/// Settings of ingest; each a flag and an environment variable.
#[derive(Debug, Clone, Args)]
pub struct IngestArgs {
    /// Most purchases in a batch
    #[arg(long, env = "TOPLINE_MAX_BATCH_PURCHASES", default_value = "512",
        value_parser = clap::value_parser!(u32).range(1..=MAX_BATCH_PURCHASES as i64))]
    pub max_batch_purchases: u32,

    /// Bytes after which a batch is full; the purchase that crosses it is still in
    #[arg(long, env = "TOPLINE_MAX_BATCH_BYTES", default_value = "262144",
        value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub max_batch_bytes: u32,

    /// Purchases waiting in a partition after which more are refused; the request that crosses
    /// it is still taken
    #[arg(long, env = "TOPLINE_MAX_QUEUED_PURCHASES", default_value = "32768",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub max_queued_purchases: u32,

    /// A partition without purchases gets an empty batch this often, so that time moves on
    #[arg(long, env = "TOPLINE_TICK_INTERVAL", default_value = "1s", value_parser = parse_duration)]
    pub tick_interval: Duration,

    /// Time for purchases to become durable; then the answer is 503, and they may or may not have been
    /// taken
    #[arg(long, env = "TOPLINE_APPEND_TIMEOUT", default_value = "10s", value_parser = parse_duration)]
    pub append_timeout: Duration,

    /// Token that a POST must carry (`Authorization: Bearer …`); without it, anyone may write
    #[arg(long, env = "TOPLINE_WRITE_TOKEN", hide_env_values = true)]
    pub write_token: Option<WriteToken>,

    /// Largest body of a POST of one purchase, in bytes
    #[arg(long, env = "TOPLINE_MAX_PURCHASE_BYTES", default_value = "262144",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub max_purchase_bytes: u32,

    /// Largest body of a bulk POST, in bytes
    #[arg(long, env = "TOPLINE_MAX_BULK_BYTES", default_value = "16777216",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub max_bulk_bytes: u32,

    /// Bulk POSTs read at once; bounds the memory their bodies take
    #[arg(long, env = "TOPLINE_MAX_BULK_REQUESTS", default_value = "32",
        value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub max_bulk_requests: u32,

    /// Time for a body to arrive
    #[arg(long, env = "TOPLINE_BODY_TIMEOUT", default_value = "30s", value_parser = parse_duration)]
    pub body_timeout: Duration,
}

impl Default for IngestArgs {
    fn default() -> Self {
        Self {
            max_batch_purchases: 512,
            max_batch_bytes: 256 * 1024,
            max_queued_purchases: 32_768,
            tick_interval: Duration::from_secs(1),
            append_timeout: Duration::from_secs(10),
            write_token: None,
            max_purchase_bytes: 256 * 1024,
            max_bulk_bytes: 16 * 1024 * 1024,
            max_bulk_requests: 32,
            body_timeout: Duration::from_secs(30),
        }
    }
}

/// A secret that never shows in logs.
#[derive(Clone)]
pub struct WriteToken(String);

/// A token that cannot be sent in a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token must be one or more visible ASCII characters, without spaces")]
pub struct InvalidToken;

impl WriteToken {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::str::FromStr for WriteToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(InvalidToken);
        }
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Debug for WriteToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WriteToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        ingest: IngestArgs,
    }

    #[test]
    fn the_defaults_of_the_flags_are_the_defaults() {
        let command = <Command as clap::Parser>::parse_from(["test"]);
        assert_eq!(format!("{:?}", command.ingest), format!("{:?}", IngestArgs::default()));
    }

    #[test]
    fn a_token_does_not_show() {
        let token: WriteToken = "secret".parse().unwrap();
        assert!(!format!("{token:?}").contains("secret"));
        assert!("".parse::<WriteToken>().is_err());
        assert!("a b".parse::<WriteToken>().is_err());
    }
}
