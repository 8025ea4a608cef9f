//! What a request asks for: query parameters and headers.

use std::time::Duration;

use http_server::{HttpError, SegmentValue, known_params, parse_number, single_header};
use hyper::header::{HeaderMap, HeaderName};
use model::{BusinessDate, Position};
use window::WindowKind;

use crate::status::{MAX_STALENESS, WAIT_FOR};

/// Length of a list that no length is asked for.
pub(crate) const DEFAULT_K: u32 = 10;

const KNOWN: [&str; 3] = ["window", "date", "k"];

/// The window and the length asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Params {
    pub(crate) kind: WindowKind,
    pub(crate) date: Option<BusinessDate>,
    pub(crate) k: u32,
}

impl Params {
    /// Reads the decoded query parameters; lists may be up to `max_k` long.
    pub(crate) fn parse(pairs: &[(String, String)], max_k: u32) -> Result<Self, HttpError> {
        let get = known_params(pairs, &KNOWN)?;
        let kind =
            get("window").map_or(Ok(WindowKind::All), str::parse).map_err(|e| at("window", e))?;
        let date = get("date").map(BusinessDate::parse).transpose().map_err(|e| at("date", e))?;
        if date.is_some() && kind != WindowKind::Day {
            return Err(bad(format!("date: only goes with window=day, not with window={kind}")));
        }
        let k = get("k").map_or(Ok(DEFAULT_K.min(max_k)), |text| parse_k(text, max_k))?;
        Ok(Self { kind, date, k })
    }
}

fn parse_k(text: &str, max_k: u32) -> Result<u32, HttpError> {
    let k = parse_number(text, u64::MAX).map_err(|error| at("k", error))?;
    u32::try_from(k)
        .ok()
        .filter(|k| (1..=max_k).contains(k))
        .ok_or_else(|| bad(format!("k: {k} is out of range, it must be between 1 and {max_k}")))
}

/// What the headers demand of the view.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Demands {
    pub(crate) position: Option<Position>,
    pub(crate) max_staleness: Option<Duration>,
}

impl Demands {
    pub(crate) fn parse(headers: &HeaderMap) -> Result<Self, HttpError> {
        let position = single_header(headers, &WAIT_FOR_NAME, WAIT_FOR)?
            .map(str::parse)
            .transpose()
            .map_err(|error| at(WAIT_FOR, error))?;
        let max_staleness = single_header(headers, &MAX_STALENESS_NAME, MAX_STALENESS)?
            .map(|text| parse_number(text, u64::MAX))
            .transpose()
            .map_err(|error| at(MAX_STALENESS, format!("{error} (milliseconds)")))?
            .map(Duration::from_millis);
        Ok(Self { position, max_staleness })
    }
}

const WAIT_FOR_NAME: HeaderName = HeaderName::from_static("topline-wait-for");
const MAX_STALENESS_NAME: HeaderName = HeaderName::from_static("topline-max-staleness");

fn at(place: &str, problem: impl std::fmt::Display) -> HttpError {
    bad(format!("{place}: {problem}"))
}

fn bad(message: String) -> HttpError {
    HttpError::bad_request(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Params, String> {
        let pairs: Vec<_> = pairs.iter().map(|&(n, v)| (n.to_owned(), v.to_owned())).collect();
        Params::parse(&pairs, 50).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn everything_has_a_default() {
        let all = Params { kind: WindowKind::All, date: None, k: 10 };
        assert_eq!(parse(&[]), Ok(all));
        assert_eq!(Params::parse(&[], 3).unwrap(), Params { k: 3, ..all });
        assert_eq!(parse(&[("k", "50")]), Ok(Params { k: 50, ..all }));
    }

    #[test]
    fn mistakes_are_named() {
        for (pairs, expected) in [
            (&[("q", "1")][..], "unknown query parameter 'q': expected window, date, k"),
            (&[("k", "1"), ("k", "1")], "query parameter 'k' is given more than once"),
            (&[("k", "0")], "k: 0 is out of range, it must be between 1 and 50"),
            (&[("k", "51")], "k: 51 is out of range, it must be between 1 and 50"),
            (&[("k", "-1")], "k: '-1' is not a whole number of 0 or more"),
            (
                &[("window", "2h")],
                "window: '2h' is not a window: expected one of all, day, 24h, 1h, 5m, 1m",
            ),
            (
                &[("date", "20210101"), ("window", "1h")],
                "date: only goes with window=day, not with window=1h",
            ),
            (
                &[("date", "20210230"), ("window", "day")],
                "date: '20210230' is not a date: there is no such day in the calendar",
            ),
        ] {
            assert_eq!(parse(pairs), Err(expected.to_owned()));
        }
    }
}
