//! How a request ended.

use std::{fmt, io};

use reqwest::StatusCode;
use rustix::io::Errno;

use super::link::LinkError;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// As the contract has it.
    Success,
    /// The server said that it is too busy, and when to come back.
    Refused(u16),
    /// There was no connection.
    Connect,
    /// The generator itself had nothing left to connect with: no open files, or no ports.
    OwnLimit,
    /// There was no connection in time.
    ConnectTimeOut,
    /// There was no answer in time.
    TimeOut,
    /// The connection was lost before all of the answer was there.
    Reset,
    /// 404 for an id that the server has not been seen to have a list of.
    Unknown,
    /// Another status than the contract has.
    Status(u16),
    /// The status was right, and the body was not.
    WrongBody,
    /// Anything else that the HTTP client reports.
    Other,
}

impl Outcome {
    /// Whether the request was answered as the contract has it.
    pub fn is_success(self) -> bool {
        self == Self::Success
    }

    /// Whether the server refused it for overload.
    pub fn is_refused(self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// Whether its response time counts: that of a right answer, and that of a time-out, which took at
    /// least so long. Fast failures would flatter the figures, left-out time-outs too.
    pub fn counts_in_latency(self) -> bool {
        matches!(self, Self::Success | Self::TimeOut | Self::ConnectTimeOut)
    }

    /// Whether the attempt to connect failed, which takes no time and would be repeated as fast.
    pub(crate) fn is_unconnected(self) -> bool {
        matches!(self, Self::Connect | Self::OwnLimit)
    }

    /// Whether a POST that ended so may have been counted by the server.
    pub(crate) fn is_unclear(self) -> bool {
        match self {
            // A server may give up waiting for its storage and say so with a 503.
            Self::Refused(status) | Self::Status(status) => status >= 500 || status == 408,
            Self::TimeOut | Self::Reset | Self::WrongBody | Self::Other => true,
            Self::Success
            | Self::Connect
            | Self::OwnLimit
            | Self::ConnectTimeOut
            | Self::Unknown => false,
        }
    }

    /// How an answer with another status than expected is counted.
    pub(crate) fn of_status(status: StatusCode, asked_to_wait: bool) -> Self {
        let busy =
            matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        if busy && asked_to_wait {
            Self::Refused(status.as_u16())
        } else {
            Self::Status(status.as_u16())
        }
    }

    /// How a request without an answer is counted.
    pub(crate) fn of_error(error: &LinkError) -> Self {
        match error {
            LinkError::Connect(error) if error.kind() == io::ErrorKind::TimedOut => {
                Self::ConnectTimeOut
            }
            LinkError::Connect(error) if is_own(error) => Self::OwnLimit,
            LinkError::Connect(_) => Self::Connect,
            LinkError::TimeOut(_) => Self::TimeOut,
            LinkError::Lost(error) if is_of_the_connection(error) => Self::Reset,
            LinkError::Lost(_) | LinkError::Malformed(_) => Self::Other,
        }
    }
}

/// Whether the connection ended, rather than what came over it being wrong, as TLS may be.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof)
}

/// Whether a connection was not even tried, because this process or machine has no more to give.
fn is_own(error: &io::Error) -> bool {
    let own = [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL];
    Errno::from_io_error(error).is_some_and(|errno| own.contains(&errno))
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => f.write_str("success"),
            Self::Refused(status) => write!(f, "refused ({status})"),
            Self::Connect => f.write_str("connect"),
            Self::OwnLimit => f.write_str("limit of the generator"),
            Self::ConnectTimeOut => f.write_str("time-out, connecting"),
            Self::TimeOut => f.write_str("time-out"),
            Self::Reset => f.write_str("reset"),
            Self::Unknown => f.write_str("not found, perhaps never sold"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::WrongBody => f.write_str("wrong body"),
            Self::Other => f.write_str("other"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_to_connect_are_of_the_server_of_the_generator_or_of_time() {
        let of = |error: io::Error| Outcome::of_error(&LinkError::Connect(error));
        for own in [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL] {
            assert_eq!(of(own.into()), Outcome::OwnLimit);
        }
        for theirs in [Errno::CONNREFUSED, Errno::HOSTUNREACH, Errno::CONNRESET] {
            assert_eq!(of(theirs.into()), Outcome::Connect);
        }
        let late = of(Errno::TIMEDOUT.into());
        assert_eq!(late, Outcome::ConnectTimeOut);
        // It took its time, and the server has seen nothing of the request.
        assert!(late.counts_in_latency() && !late.is_unclear());
    }
}
