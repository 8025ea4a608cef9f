//! The headers a POST is judged by before its body is read.

use std::convert::Infallible;

use http_server::single_header;
use subtle::ConstantTimeEq;
use warp::{
    Filter,
    http::header::{
        AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName,
    },
};

use crate::{WriteToken, status::Refusal};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The headers of a POST.
#[derive(Debug, Clone)]
pub(crate) struct PostHeaders(HeaderMap);

/// A media type, as far as it matters here; parameters such as the charset do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MediaType {
    Json,
    Ndjson,
    Other,
}

impl MediaType {
    fn of(text: &[u8]) -> Self {
        let essence = text.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        let is = |name: &str| essence.eq_ignore_ascii_case(name.as_bytes());
        if is("application/json") {
            Self::Json
        } else if is("application/x-ndjson") || is("application/ndjson") || is("application/jsonl")
        {
            Self::Ndjson
        } else {
            Self::Other
        }
    }
}

/// Takes the headers of a request.
pub(crate) fn post_headers() -> impl Filter<Extract = (PostHeaders,), Error = Infallible> + Clone {
    warp::header::headers_cloned().map(PostHeaders)
}

impl PostHeaders {
    /// Checks the token, if one is needed.
    pub(crate) fn authorize(&self, token: Option<&WriteToken>) -> Result<(), Refusal> {
        let Some(token) = token else { return Ok(()) };
        let sent = self.0.get(AUTHORIZATION).and_then(|value| {
            let (scheme, sent) = value.to_str().ok()?.split_once(' ')?;
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
        self.expect(MediaType::Json, "the content type must be application/json")
    }

    /// Checks that the body is a purchase a line.
    pub(crate) fn expect_ndjson(&self) -> Result<(), Refusal> {
        self.expect(
            MediaType::Ndjson,
            "the content type must be application/x-ndjson, application/ndjson or application/jsonl",
        )
    }

    /// The idempotency key, as text.
    pub(crate) fn idempotency_key(&self) -> Result<Option<&str>, Refusal> {
        Ok(single_header(&self.0, &IDEMPOTENCY_KEY, "Idempotency-Key")?)
    }

    /// How long the body is, if that is said.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.0.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }

    fn expect(&self, expected: MediaType, message: &'static str) -> Result<(), Refusal> {
        if self.0.get(CONTENT_TYPE).map(|value| MediaType::of(value.as_bytes())) != Some(expected) {
            return Err(Refusal::MediaType(message));
        }
        let mut encodings = self.0.get_all(CONTENT_ENCODING).iter();
        if !encodings.all(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity")) {
            return Err(Refusal::MediaType("the body must not have a content encoding"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(authorization: Option<&str>) -> PostHeaders {
        let value = authorization.map(|text| (AUTHORIZATION, text.parse().unwrap()));
        PostHeaders(value.into_iter().collect())
    }

    #[test]
    fn parameters_and_case_of_a_media_type_do_not_matter() {
        for (text, expected) in [
            ("application/json", MediaType::Json),
            ("Application/JSON; charset=utf-8", MediaType::Json),
            ("application/json;charset=utf-8", MediaType::Json),
            ("application/x-ndjson", MediaType::Ndjson),
            ("application/ndjson", MediaType::Ndjson),
            ("application/jsonl", MediaType::Ndjson),
            ("application/jsonp", MediaType::Other),
            ("text/plain", MediaType::Other),
            ("", MediaType::Other),
        ] {
            assert_eq!(MediaType::of(text.as_bytes()), expected, "{text}");
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
