//! The body of a request, and reading it within limits of size and time.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use hyper::{
    StatusCode,
    body::{Body, Frame, Incoming, SizeHint},
};

use crate::HttpError;

/// The body of a request.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// There is none.
    Empty,
    /// hyper reads it.
    Incoming(Incoming),
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Incoming(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Incoming(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Incoming(body) => body.size_hint(),
        }
    }
}

/// How large a body may be, and how long it may take to arrive.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// The most bytes.
    pub bytes: usize,
    /// The most time from the head of the request to the end of the body.
    pub time: Duration,
}

/// The most that is allocated on the word of `content-length` alone.
const MAX_TRUSTED_LENGTH: usize = 64 * 1024;

/// Reads the whole body, as [`warp::body::stream`] gives it. `declared` is `content-length`.
///
/// # Errors
/// - 413 if the body, or the length declared, is over the limit
/// - 408 if it takes too long
/// - 400 if it ends early or cannot be read
pub async fn read_body<S, B>(
    stream: S,
    declared: Option<u64>,
    limits: BodyLimits,
) -> Result<Bytes, HttpError>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    if declared.is_some_and(|length| length > limits.bytes as u64) {
        return Err(too_large(limits.bytes));
    }
    tokio::time::timeout(limits.time, collect(stream, declared, limits.bytes))
        .await
        .unwrap_or_else(|_| Err(too_slow(limits.time)))
}

async fn collect<S, B>(stream: S, declared: Option<u64>, limit: usize) -> Result<Bytes, HttpError>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    let mut stream = pin!(stream);
    let Some(first) = next_chunk(&mut stream).await? else { return Ok(Bytes::new()) };
    // A small body arrives as one chunk, which is then the body: nothing is copied.
    if declared == Some(first.len() as u64) {
        return Ok(first);
    }
    let expected = declared.map_or(0, |length| (length as usize).min(MAX_TRUSTED_LENGTH));
    let mut body = BytesMut::with_capacity(expected.max(2 * first.len()));
    let mut chunk = Some(first);
    while let Some(bytes) = chunk {
        if body.len() + bytes.len() > limit {
            return Err(too_large(limit));
        }
        body.extend_from_slice(&bytes);
        chunk = next_chunk(&mut stream).await?;
    }
    Ok(body.freeze())
}

async fn next_chunk<S, B>(stream: &mut S) -> Result<Option<Bytes>, HttpError>
where
    S: Stream<Item = Result<B, warp::Error>> + Unpin,
    B: Buf,
{
    match stream.next().await {
        None => Ok(None),
        // For `Bytes`, which is what it is, this does not copy.
        Some(Ok(mut chunk)) => Ok(Some(chunk.copy_to_bytes(chunk.remaining()))),
        Some(Err(error)) => {
            Err(HttpError::bad_request(format!("the body cannot be read to its end: {error}")))
        }
    }
}

fn too_large(limit: usize) -> HttpError {
    HttpError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the body is larger than {limit} bytes, the most this path takes"),
    )
}

fn too_slow(limit: Duration) -> HttpError {
    HttpError::new(
        StatusCode::REQUEST_TIMEOUT,
        format!("the body did not arrive within {} s", limit.as_secs_f64()),
    )
}
