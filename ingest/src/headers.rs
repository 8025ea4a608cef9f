//! The headers a POST is judged by before its body is read.

use std::{convert::Infallible, str::FromStr};

use subtle::ConstantTimeEq;
use warp::{Filter, Rejection};

use crate::{WriteToken, status::Refusal};

/// What the headers of a POST say.
#[derive(Debug, Clone)]
pub(crate) struct PostHeaders {
    pub(crate) content_length: Option<u64>,
    pub(crate) idempotency_key: Option<String>,
    content_type: Option<MediaType>,
    content_encoding: Option<Encoding>,
    authorization: Option<String>,
}

/// A media type, as far as it matters here; parameters such as the charset do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MediaType {
    Json,
    Ndjson,
    Other,
}

/// A content encoding, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Identity,
    Other,
}

impl FromStr for MediaType {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let essence = text.split(';').next().unwrap_or_default().trim();
        let is = |name: &str| essence.eq_ignore_ascii_case(name);
        Ok(if is("application/json") {
            Self::Json
        } else if is("application/x-ndjson") || is("application/ndjson") || is("application/jsonl")
        {
            Self::Ndjson
        } else {
            Self::Other
        })
    }
}

impl FromStr for Encoding {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let identity = text.trim().eq_ignore_ascii_case("identity");
        Ok(if identity { Self::Identity } else { Self::Other })
    }
}

/// Takes the headers of a request.
pub(crate) fn post_headers() -> impl Filter<Extract = (PostHeaders,), Error = Rejection> + Clone {
    use warp::header::optional;
    optional("content-length")
        .and(optional("idempotency-key"))
        .and(optional("content-type"))
        .and(optional("content-encoding"))
        .and(optional("authorization"))
        .map(|content_length, idempotency_key, content_type, content_encoding, authorization| {
            PostHeaders {
                content_length,
                idempotency_key,
                content_type,
                content_encoding,
                authorization,
            }
        })
}

impl PostHeaders {
    /// Checks the token, if one is needed.
    pub(crate) fn authorize(&self, token: Option<&WriteToken>) -> Result<(), Refusal> {
        let Some(token) = token else { return Ok(()) };
        let sent = self.authorization.as_deref().and_then(|value| {
            let (scheme, sent) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(sent.trim())
        });
        // In constant time, so that the time does not tell how much of a guess was right.
        match sent {
            Some(sent) if bool::from(sent.as_bytes().ct_eq(token.as_bytes())) => Ok(()),
            Some(_) => Err(Refusal::Unauthorized("the bearer token is wrong")),
            None => Err(Refusal::Unauthorized("writing needs a header Authorization: Bearer …")),
        }
    }

    /// Checks that the body is one purchase.
    pub(crate) fn expect_json(&self) -> Result<(), Refusal> {
        self.expect(&[MediaType::Json], "the content type must be application/json")
    }

    /// Checks that the body is a purchase a line.
    pub(crate) fn expect_ndjson(&self) -> Result<(), Refusal> {
        self.expect(
            &[MediaType::Ndjson, MediaType::Json],
            "the content type must be application/x-ndjson",
        )
    }

    fn expect(&self, types: &[MediaType], message: &'static str) -> Result<(), Refusal> {
        if !self.content_type.is_some_and(|sent| types.contains(&sent)) {
            return Err(Refusal::MediaType(message));
        }
        if self.content_encoding == Some(Encoding::Other) {
            return Err(Refusal::MediaType("the body must not have a content encoding"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(authorization: Option<&str>) -> PostHeaders {
        PostHeaders {
            content_length: None,
            idempotency_key: None,
            content_type: None,
            content_encoding: None,
            authorization: authorization.map(ToOwned::to_owned),
        }
    }

    #[test]
    fn parameters_and_case_of_a_media_type_do_not_matter() {
        for (text, expected) in [
            ("application/json", MediaType::Json),
            ("Application/JSON; charset=utf-8", MediaType::Json),
            ("application/json;charset=utf-8", MediaType::Json),
            ("application/x-ndjson", MediaType::Ndjson),
            ("application/jsonl", MediaType::Ndjson),
            ("application/jsonp", MediaType::Other),
            ("text/plain", MediaType::Other),
            ("", MediaType::Other),
        ] {
            assert_eq!(text.parse::<MediaType>(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn only_the_right_token_opens() {
        let token: WriteToken = "secret".parse().unwrap();
        for (sent, expected) in [
            (Some("Bearer secret"), true),
            (Some("bearer  secret"), true),
            (Some("Bearer secre"), false),
            (Some("Bearer secrets"), false),
            (Some("Bearer"), false),
            (Some("Basic secret"), false),
            (None, false),
        ] {
            assert_eq!(headers(sent).authorize(Some(&token)).is_ok(), expected, "{sent:?}");
            assert!(headers(sent).authorize(None).is_ok());
        }
    }
}
