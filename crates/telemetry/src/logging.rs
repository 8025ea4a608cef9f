//! Logs: to standard error, readable or as JSON.

use std::{fmt, io::IsTerminal, str::FromStr};

use tracing_subscriber::{EnvFilter, filter::ParseError, fmt as subscriber, util::TryInitError};

/// The environment variable that holds the filter, such as `info` or `topline=debug,warn`.
pub const LOG_ENV: &str = "TOPLINE_LOG";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// A name that is not one of a log format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a log format: expected text or json")]
pub struct UnknownLogFormat(String);

impl FromStr for LogFormat {
    type Err = UnknownLogFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(UnknownLogFormat(other.to_owned())),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter cannot be read.
    #[error("the log filter '{filter}' (from {LOG_ENV} or its flag) cannot be read: {problem}")]
    Filter {
        /// As it was given.
        filter: String,
        /// What is wrong with it.
        problem: ParseError,
    },
    /// Logging has been set up before.
    #[error("logging is set up already: {0}")]
    Twice(#[from] TryInitError),
}

/// Looks at a filter before logging is set up with it.
///
/// # Errors
/// What is wrong with it.
pub fn parse_filter(filter: &str) -> Result<String, ParseError> {
    EnvFilter::try_new(filter).map(|_| filter.to_owned())
}

/// Sets up logging for the process. `filter` as in `RUST_LOG`: a level, or levels by module.
///
/// # Errors
/// [`LoggingError`] if the filter cannot be read, or logging has been set up before.
pub fn init_tracing(format: LogFormat, filter: &str) -> Result<(), LoggingError> {
    use tracing_subscriber::util::SubscriberInitExt;
    let filter = EnvFilter::try_new(filter)
        .map_err(|problem| LoggingError::Filter { filter: filter.to_owned(), problem })?;
    let builder = subscriber().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => {
            builder.with_ansi(std::io::stderr().is_terminal()).finish().try_init()?;
        }
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}
