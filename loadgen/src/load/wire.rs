//! HTTP/1.1 on the wire, as a client: what a request looks like, and where an answer ends (RFC 9112).

use std::{io::Write, mem::MaybeUninit, ops::ControlFlow};

use httparse::{Header, InvalidChunkSize, ParserConfig, Status};
use reqwest::{
    StatusCode,
    header::{HeaderMap, HeaderValue},
};

use crate::client;

/// The most headers of an answer.
const HEADERS: usize = 100;
/// The most bytes of its head, and of its trailers.
const HEAD: usize = 256 << 10;

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    /// Of the headers, those that a generator looks at.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// An answer, and what it says about its connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) response: Response,
    /// Bytes that it took, those of interim answers before it included.
    pub(crate) length: usize,
    /// Whether the connection may carry another request.
    pub(crate) keep_alive: bool,
}

/// What came is no answer in HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what came is no answer in HTTP/1.1: {0}")]
pub(crate) struct Malformed(&'static str);

impl From<httparse::Error> for Malformed {
    fn from(error: httparse::Error) -> Self {
        Self(match error {
            httparse::Error::HeaderName => "the name of a header is none",
            httparse::Error::HeaderValue => "the value of a header is none",
            httparse::Error::NewLine => "the head has a line that does not end in a new line",
            httparse::Error::Status => "the status is no number",
            httparse::Error::Token => "the reason is no text",
            httparse::Error::TooManyHeaders => "it has more than 100 headers",
            httparse::Error::Version => "it does not begin with HTTP/1",
        })
    }
}

impl From<InvalidChunkSize> for Malformed {
    fn from(_: InvalidChunkSize) -> Self {
        Self("the length of a chunk is no number")
    }
}

/// A request of `headers` and `body`; one without a body has no length.
pub(crate) fn request<'a>(
    method: &str,
    path: std::fmt::Arguments<'_>,
    headers: impl IntoIterator<Item = (&'static str, &'a [u8])>,
    body: Option<&[u8]>,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(192 + body.map_or(0, <[u8]>::len));
    let written = write!(bytes, "{method} {path} HTTP/1.1\r\n");
    written.expect("a vector takes what is written");
    for (name, value) in headers {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    if let Some(body) = body {
        let written = write!(bytes, "content-length: {}\r\n", body.len());
        written.expect("a vector takes what is written");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body.unwrap_or_default());
    bytes
}

/// The first answer in `bytes`, if all of it is there; `ended` is whether nothing more will come.
///
/// # Errors
/// [`Malformed`], whatever follows.
pub(crate) fn parse(bytes: &[u8], ended: bool) -> Result<Option<Received>, Malformed> {
    let mut at = 0;
    loop {
        let mut headers = [const { MaybeUninit::<Header<'_>>::uninit() }; HEADERS];
        let mut head = httparse::Response::new(&mut []);
        let parsed = ParserConfig::default().parse_response_with_uninit_headers(
            &mut head,
            &bytes[at..],
            &mut headers,
        )?;
        let Status::Complete(length) = parsed else {
            return unfinished("its head does not end", &bytes[at..]);
        };
        at += length;
        let status = head.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or(Malformed("the status is no number"))?;
        // Interim answers, such as 100, say nothing yet. With 101 another protocol would begin.
        if !status.is_informational() {
            return finish(&head, status, bytes, at, ended);
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Malformed("it changes to another protocol"));
        }
    }
}

fn unfinished<T>(problem: &'static str, bytes: &[u8]) -> Result<Option<T>, Malformed> {
    if bytes.len() > HEAD { Err(Malformed(problem)) } else { Ok(None) }
}

/// The answer with `head`, whose body begins at `at`.
fn finish(
    head: &httparse::Response<'_, '_>,
    status: StatusCode,
    bytes: &[u8],
    at: usize,
    ended: bool,
) -> Result<Option<Received>, Malformed> {
    let framing = Framing::of(status, head.headers)?;
    let Some((body, length)) = framing.body(&bytes[at..], ended)? else { return Ok(None) };
    let keep_alive = head.version == Some(1)
        && framing != Framing::UntilClose
        // Both, and the next one to read it may go by the other.
        && !(framing == Framing::Chunked && has(head.headers, "content-length"))
        && !tokens(head.headers, "connection").any(|token| token.eq_ignore_ascii_case(b"close"));
    let response = Response { status, headers: kept(head.headers), body };
    Ok(Some(Received { response, length: at + length, keep_alive }))
}

/// Where a body ends (RFC 9112, section 6.3).
#[derive(Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

impl Framing {
    fn of(status: StatusCode, headers: &[Header<'_>]) -> Result<Self, Malformed> {
        if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            return Ok(Self::Length(0));
        }
        let mut codings = tokens(headers, "transfer-encoding");
        match (codings.next(), codings.next()) {
            (None, _) => {}
            (Some(one), None) if one.eq_ignore_ascii_case(b"chunked") => return Ok(Self::Chunked),
            _ => return Err(Malformed("its transfer encoding is not 'chunked' alone")),
        }
        let lengths = tokens(headers, "content-length").map(|token| {
            // Digits alone: `parse` would take a sign.
            let digits = token.iter().all(u8::is_ascii_digit).then_some(token)?;
            str::from_utf8(digits).ok()?.parse().ok()
        });
        let length = lengths.into_iter().try_fold(None, |known, length: Option<usize>| {
            match (known, length) {
                (_, None) => ControlFlow::Break(()),
                (Some(known), Some(length)) if known != length => ControlFlow::Break(()),
                (_, length) => ControlFlow::Continue(length),
            }
        });
        match length {
            ControlFlow::Continue(Some(length)) => Ok(Self::Length(length)),
            ControlFlow::Continue(None) => Ok(Self::UntilClose),
            ControlFlow::Break(()) => Err(Malformed("its length is no number, or several")),
        }
    }

    /// The body at the beginning of `bytes`, and how long it is there, if all of it is.
    fn body(&self, bytes: &[u8], ended: bool) -> Result<Option<(Vec<u8>, usize)>, Malformed> {
        match *self {
            Self::Length(length) => Ok(bytes.get(..length).map(|body| (body.to_vec(), length))),
            Self::Chunked => chunked(bytes),
            Self::UntilClose => Ok(ended.then(|| (bytes.to_vec(), bytes.len()))),
        }
    }
}

/// A body in chunks (RFC 9112, section 7.1); trailers are read and left out.
fn chunked(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Malformed> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        // `httparse` takes no digits for 0.
        if bytes.get(at).is_some_and(|byte| !byte.is_ascii_hexdigit()) {
            return Err(InvalidChunkSize.into());
        }
        let Status::Complete((line, size)) = httparse::parse_chunk_size(&bytes[at..])? else {
            return unfinished("the line of a chunk does not end", &bytes[at..]);
        };
        at += line;
        if size == 0 {
            let mut trailers = [httparse::EMPTY_HEADER; HEADERS];
            return match httparse::parse_headers(&bytes[at..], &mut trailers)? {
                Status::Complete((length, _)) => Ok(Some((body, at + length))),
                Status::Partial => unfinished("its trailers do not end", &bytes[at..]),
            };
        }
        let size = usize::try_from(size).map_err(|_| Malformed("a chunk is too long"))?;
        let rest = &bytes[at..];
        let Some(chunk) = rest.get(..size) else { return Ok(None) };
        match &rest[size..] {
            [b'\r', b'\n', ..] => {}
            [] | [b'\r'] => return Ok(None),
            _ => return Err(Malformed("a chunk is longer than it says")),
        }
        body.extend_from_slice(chunk);
        at += size + 2;
    }
}

fn has(headers: &[Header<'_>], name: &'static str) -> bool {
    headers.iter().any(|header| header.name.eq_ignore_ascii_case(name))
}

/// The members of a header that is a list, in all lines of that name.
fn tokens<'a>(headers: &'a [Header<'_>], name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .flat_map(|header| header.value.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
}

fn kept(headers: &[Header<'_>]) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in [client::POSITION, "Retry-After"] {
        let same = |header: &&Header<'_>| header.name.eq_ignore_ascii_case(name);
        let value = headers.iter().find(same);
        if let Some(value) = value.and_then(|header| HeaderValue::from_bytes(header.value).ok()) {
            kept.insert(name, value);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer with this body, and whether its connection goes on.
    fn expect(text: &str, body: &str, goes_on: bool) {
        let whole = parse(text.as_bytes(), false).unwrap().expect(text);
        assert_eq!(String::from_utf8_lossy(&whole.response.body), body, "{text}");
        assert_eq!((whole.length, whole.keep_alive), (text.len(), goes_on), "{text}");
        for cut in 0..text.len() {
            assert_eq!(parse(&text.as_bytes()[..cut], false), Ok(None), "{cut} bytes of {text}");
            assert_eq!(parse(&text.as_bytes()[..cut], true), Ok(None), "{cut} bytes of {text}");
        }
        let more = [text.as_bytes(), b"HTTP/1.1 200 OK\r\n"].concat();
        assert_eq!(parse(&more, false), Ok(Some(whole)));
    }

    #[test]
    fn an_answer_ends_where_its_head_says() {
        expect("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nsold", "sold", true);
        expect(
            "HTTP/1.1 200 OK\r\nContent-Length:4\r\ncontent-length: 4, 4\r\n\r\nsold",
            "sold",
            true,
        );
        expect("HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n", "", true);
        expect("HTTP/1.1 204 No Content\r\n\r\n", "", true);
        expect("HTTP/1.1 304 Not Modified\r\ncontent-length: 4\r\n\r\n", "", true);
        expect("HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\nsold", "sold", false);
        expect(
            "HTTP/1.1 200\r\nconnection: x, Close\r\ncontent-length: 4\r\n\r\nsold",
            "sold",
            false,
        );
    }

    #[test]
    fn a_body_in_chunks_is_put_together() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n";
        expect(&format!("{head}4\r\nsold\r\n0\r\n\r\n"), "sold", true);
        expect(&format!("{head}2;x=y\r\nso\r\n02\r\nld\r\n0\r\na: b\r\n\r\n"), "sold", true);
        expect(&format!("{head}0\r\n\r\n"), "", true);
        let both = head.replace("\r\n\r\n", "\r\ncontent-length: 9\r\n\r\n");
        expect(&format!("{both}4\r\nsold\r\n0\r\n\r\n"), "sold", false);
        expect(&format!("{head}A\r\n\r\n01234567\r\n0\r\n\r\n"), "\r\n01234567", true);
    }

    #[test]
    fn interim_answers_are_passed_over() {
        let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n";
        expect(&format!("{interim}HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx"), "x", true);
    }

    #[test]
    fn a_body_without_an_end_of_its_own_ends_with_the_connection() {
        let text = b"HTTP/1.1 200 OK\r\n\r\nsold";
        assert_eq!(parse(text, false), Ok(None));
        let received = parse(text, true).unwrap().unwrap();
        assert_eq!((&*received.response.body, received.keep_alive), (&b"sold"[..], false));
    }

    #[test]
    fn what_a_generator_looks_at_is_kept() {
        let text = "HTTP/1.1 503 No\r\nretry-AFTER: 2\r\nx: y\r\ntopline-position: 0:8\r\n\
                    content-length: 0\r\n\r\n";
        let response = parse(text.as_bytes(), false).unwrap().unwrap().response;
        assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(client::retry_after(&response.headers).map(|wait| wait.as_secs()), Some(2));
        let position = client::position_header(&response.headers).unwrap().unwrap();
        assert_eq!(position.to_string(), "0:8");
        assert_eq!(response.headers.len(), 2);
    }

    #[test]
    fn anything_else_is_malformed() {
        let long = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(HEAD));
        for text in [
            "sold",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 2x0 OK\r\n\r\n",
            "HTTP/1.1 000 OK\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 4, 5\r\n\r\nsold",
            "HTTP/1.1 200 OK\r\ncontent-length: +4\r\n\r\nsold",
            "HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\nsold",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nsold",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4x\r\nsold\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nsold\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n;x\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsold\r\n \r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
            &long,
        ] {
            assert!(parse(text.as_bytes(), false).is_err(), "{}", &text[..text.len().min(99)]);
        }
    }

    #[test]
    fn a_request_says_what_it_is_told_to() {
        let path = format_args!("/items/{}", 7);
        assert_eq!(
            request("GET", path, [("host", &b"x:80"[..])], None),
            b"GET /items/7 HTTP/1.1\r\nhost: x:80\r\n\r\n"
        );
        assert_eq!(
            request("POST", format_args!("/"), [("host", &b"x"[..]), ("a", b"b")], Some(b"{}")),
            b"POST / HTTP/1.1\r\nhost: x\r\na: b\r\ncontent-length: 2\r\n\r\n{}"
        );
    }
}
