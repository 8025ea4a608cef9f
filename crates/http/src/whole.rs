//! The common case, without hyper: a GET that came whole, and an answer that can be sent whole.
//!
//! What a connection of hyper keeps and does is for requests and answers of any length and in any number of pieces.
//! Nearly all GETs come in one piece of a few hundred bytes, and their answers go in one. They are parsed here where they
//! were read, by `httparse` as hyper's own, and written from one buffer of the thread.
//! Whatever is not plain is left to hyper: [`parse`] and [`encode`] take nothing then.

use std::{
    io::Write,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use httparse::{Header, ParserConfig, Status};
use hyper::{
    HeaderMap, Request, Response, StatusCode, Uri,
    body::Body,
    ext::ReasonPhrase,
    header::{self, HeaderName, HeaderValue},
};

use crate::body::RequestBody;

/// The most headers of a request that is parsed here.
const HEADERS: usize = 32;
/// The longest body of an answer that is sent from here.
const LONGEST_BODY: u64 = 64 << 10;

/// Headers by which a request or an answer is framed, or says what becomes of its connection.
const OF_THE_CONNECTION: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The request in `bytes`, if it is one GET in HTTP/1.1, all of it, without a body, and nothing else.
pub(crate) fn parse(bytes: &[u8]) -> Option<Request<RequestBody>> {
    if !(bytes.starts_with(b"GET /") && bytes.ends_with(b"\r\n\r\n")) {
        return None;
    }
    // One copy, which the address and the values of the headers are parts of.
    let text = Bytes::copy_from_slice(bytes);
    let mut headers = [const { MaybeUninit::<Header<'_>>::uninit() }; HEADERS];
    let mut head = httparse::Request::new(&mut []);
    let parsed =
        ParserConfig::default().parse_request_with_uninit_headers(&mut head, &text, &mut headers);
    // Two requests sent at once are hyper's.
    if parsed != Ok(Status::Complete(text.len())) || head.version != Some(1) {
        return None;
    }
    let mut request = Request::new(RequestBody::Empty);
    *request.uri_mut() = Uri::from_maybe_shared(text.slice_ref(head.path?.as_bytes())).ok()?;
    *request.headers_mut() = header_map(&text, head.headers)?;
    Some(request)
}

fn header_map(text: &Bytes, headers: &[Header<'_>]) -> Option<HeaderMap> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for header in headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        if OF_THE_CONNECTION.contains(&name) && !keeps_alive(&name, header.value) {
            return None;
        }
        map.append(name, HeaderValue::from_maybe_shared(text.slice_ref(header.value)).ok()?);
    }
    Some(map)
}

/// Whether the header asks for what is done anyway.
fn keeps_alive(name: &HeaderName, value: &[u8]) -> bool {
    name == header::CONNECTION && value.eq_ignore_ascii_case(b"keep-alive")
}

/// What [`encode`] did with an answer.
pub(crate) enum Encoded<B> {
    /// It is written.
    Written,
    /// Nothing: it is not all there, or long, or says something of its connection.
    Left(Response<B>),
    /// Its body is not as long as it said: there is nothing right to be sent, whatever is written.
    Broken,
}

/// Writes the answer to a GET into `to`, which is empty: head and body.
pub(crate) fn encode<B>(
    mut response: Response<B>,
    date: &mut Date,
    to: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Encoded<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    let length = response.body().size_hint().exact().filter(|&length| length <= LONGEST_BODY);
    let Some(length) = length.filter(|&length| is_plain(&response, length)) else {
        return Encoded::Left(response);
    };
    encode_head(&response, length, date, to);
    let start = to.len();
    let end = start + length as usize;
    while to.len() < end {
        match Pin::new(response.body_mut()).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                to.extend_from_slice(&frame.into_data().unwrap_or_default());
            }
            Poll::Pending if to.len() == start => {
                to.clear();
                return Encoded::Left(response);
            }
            Poll::Pending | Poll::Ready(None | Some(Err(_))) => return Encoded::Broken,
        }
    }
    if to.len() == end { Encoded::Written } else { Encoded::Broken }
}

fn is_plain<B>(response: &Response<B>, length: u64) -> bool {
    let status = response.status();
    // There are few headers, so looking at each is quicker than looking for one.
    let special = |name| OF_THE_CONNECTION.contains(name) || *name == header::DATE;
    !status.is_informational()
        && (length == 0 || may_have_body(status))
        && status.canonical_reason().is_some()
        && response.extensions().get::<ReasonPhrase>().is_none()
        && !response.headers().keys().any(special)
}

fn may_have_body(status: StatusCode) -> bool {
    !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn encode_head<B>(response: &Response<B>, length: u64, date: &mut Date, to: &mut Vec<u8>) {
    let status = response.status();
    for part in ["HTTP/1.1 ", status.as_str(), " ", status.canonical_reason().unwrap_or("")] {
        to.extend_from_slice(part.as_bytes());
    }
    to.extend_from_slice(b"\r\n");
    for (name, value) in response.headers() {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            to.extend_from_slice(part);
        }
    }
    if may_have_body(status) {
        write!(to, "content-length: {length}\r\n").expect("a vector takes what is written");
    }
    to.extend_from_slice(b"date: ");
    to.extend_from_slice(date.now());
    to.extend_from_slice(b"\r\n\r\n");
}

/// The date as answers show it, written once a second.
pub(crate) struct Date {
    text: String,
    /// When it is another.
    ends: SystemTime,
}

impl Date {
    pub(crate) fn new() -> Self {
        Self { text: String::new(), ends: UNIX_EPOCH }
    }

    fn now(&mut self) -> &[u8] {
        let now = SystemTime::now();
        // Clocks are set back, too.
        if now >= self.ends || self.ends > now + Duration::from_secs(1) {
            self.text = httpdate::fmt_http_date(now);
            let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
            self.ends = UNIX_EPOCH + Duration::from_secs(since.as_secs() + 1);
        }
        self.text.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use hyper::body::{Frame, SizeHint};

    use super::*;

    const HEAD: &str = "GET /a?b HTTP/1.1\r\nhost: x\r\n";

    fn taken(text: &str) -> bool {
        parse(text.as_bytes()).is_some()
    }

    #[test]
    fn a_plain_get_is_taken() {
        let text = format!("{HEAD}A: 1\r\na: 2\r\nconnection: keep-alive\r\n\r\n");
        let request = parse(text.as_bytes()).unwrap();
        assert_eq!((request.method().as_str(), request.uri().to_string()), ("GET", "/a?b".into()));
        assert!(request.headers().get_all("a").iter().eq(["1", "2"]));
        assert_eq!(request.headers().len(), 4);
        assert!(request.body().is_end_stream());
    }

    #[test]
    fn everything_else_is_left() {
        for cut in 0..=HEAD.len() {
            assert!(!taken(&format!("{HEAD}\r\n")[..cut]), "{cut} bytes");
        }
        for name in OF_THE_CONNECTION {
            assert!(!taken(&format!("{HEAD}{name}: 0\r\n\r\n")), "{name}");
        }
        for text in [
            format!("{HEAD}\r\n{HEAD}\r\n"),
            format!("{HEAD}\r\n\r\n"),
            format!("{HEAD}connection: keep-alive, close\r\n\r\n"),
            format!("{HEAD}{}\r\n", "a: b\r\n".repeat(HEADERS)),
            HEAD.replace("GET", "HEAD") + "\r\n",
            HEAD.replace("GET", "POST") + "\r\n",
            HEAD.replace("1.1", "1.0") + "\r\n",
            HEAD.replace("host", "ho st") + "\r\n",
            HEAD.replace("/a", "http://x/a") + "\r\n",
        ] {
            assert!(!taken(&text), "{text:?}");
        }
    }

    /// A body of these frames, which says that it has `length` bytes; `None` is one that is not there yet.
    struct Frames {
        frames: Vec<Option<Result<&'static str, &'static str>>>,
        length: u64,
    }

    impl Body for Frames {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            if self.frames.is_empty() {
                return Poll::Ready(None);
            }
            self.frames.remove(0).map_or(Poll::Pending, |frame| {
                Poll::Ready(Some(frame.map(|data| Frame::data(data.into()))))
            })
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.length)
        }
    }

    /// What is written of an answer, with the date left out; or else whether it is left.
    fn encoded<B: Body<Data = Bytes> + Unpin>(response: Response<B>) -> Result<String, bool> {
        let mut text = Vec::new();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match encode(response, &mut Date::new(), &mut text, &mut cx) {
            Encoded::Written => {}
            Encoded::Left(_) => {
                assert!(text.is_empty());
                return Err(true);
            }
            Encoded::Broken => return Err(false),
        }
        let text = String::from_utf8(text).unwrap();
        let (head, rest) = text.split_once("date: ").unwrap();
        let (date, body) = rest.split_once("\r\n\r\n").unwrap();
        assert!(httpdate::parse_http_date(date).is_ok(), "{date}");
        Ok(format!("{head}{body}"))
    }

    fn of(
        frames: &[Option<Result<&'static str, &'static str>>],
        length: u64,
    ) -> Result<String, bool> {
        encoded(Response::new(Frames { frames: frames.to_vec(), length }))
    }

    #[test]
    fn a_plain_answer_is_written() {
        let body = "sold".to_owned();
        let text = encoded(Response::builder().header("a", "b").body(body).unwrap());
        assert_eq!(text.unwrap(), "HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 4\r\nsold");
        let text = of(&[Some(Ok("so")), Some(Ok("")), Some(Ok("ld"))], 4);
        assert_eq!(text.unwrap(), "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nsold");
        let text = encoded(Response::builder().status(304).body(String::new()).unwrap());
        assert_eq!(text.unwrap(), "HTTP/1.1 304 Not Modified\r\n");
    }

    #[test]
    fn an_answer_that_is_not_plain_is_left_whole() {
        for status in [103, 204, 304, 599] {
            let response = Response::builder().status(status).body("sold".to_owned()).unwrap();
            assert_eq!(encoded(response), Err(true), "{status}");
        }
        for name in OF_THE_CONNECTION.into_iter().chain([header::DATE]) {
            let response = Response::builder().header(&name, "0").body("sold".to_owned()).unwrap();
            assert_eq!(encoded(response), Err(true), "{name}");
        }
        let reason = ReasonPhrase::from_static(b"Fine");
        let response = Response::builder().extension(reason).body(String::new()).unwrap();
        assert_eq!(encoded(response), Err(true));
        assert_eq!(encoded(Response::new("x".repeat(LONGEST_BODY as usize + 1))), Err(true));
        assert_eq!(of(&[None, Some(Ok("sold"))], 4), Err(true));
    }

    #[test]
    fn an_answer_of_another_length_than_it_says_is_not_sent() {
        assert_eq!(of(&[Some(Ok("so")), None, Some(Ok("ld"))], 4), Err(false));
        assert_eq!(of(&[Some(Ok("so"))], 4), Err(false));
        assert_eq!(of(&[Some(Ok("sold."))], 4), Err(false));
        assert_eq!(of(&[Some(Ok("so")), Some(Err("lost"))], 4), Err(false));
    }
}
