//! Between hyper and the filters of warp: looks the route up, counts the request, and marks the
//! connection as busy until the answer is out.

use std::{
    cell::Cell,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use hyper::{
    HeaderMap, Request, Response, StatusCode, Version,
    body::{Body, Frame, Incoming, SizeHint},
    header::{CONNECTION, HOST, HeaderValue, TRANSFER_ENCODING},
    service::Service,
};
use pin_project_lite::pin_project;
use telemetry::RouteMetrics;
use warp::{Reply, reply};

use crate::{
    HttpError, RouteTable,
    body::RequestBody,
    connection::{BusyGuard, Connection},
    path,
    routes::{Answering, Match},
};

/// In the extensions of an answer whose body has no end of its own: it ends when the listener drains.
#[derive(Debug, Clone, Copy)]
pub struct UntilDrain;

/// Serves the requests of one connection.
pub(crate) struct RoutedService {
    routes: Arc<RouteTable>,
    connection: Arc<Connection>,
    /// The answer to the request that hyper will read first.
    begun: Cell<Option<Box<AnswerFuture>>>,
}

impl RoutedService {
    pub(crate) fn new(routes: Arc<RouteTable>, connection: Arc<Connection>) -> Self {
        Self { routes, connection, begun: Cell::default() }
    }

    /// Hands a request that hyper is about to read to it together with its answer.
    pub(crate) fn begin_with(&self, answer: AnswerFuture) {
        self.begun.set(Some(Box::new(answer)));
    }

    pub(crate) fn answer(&self, mut request: Request<RequestBody>) -> AnswerFuture {
        if let Some(uri) = path::normalized(request.uri()) {
            *request.uri_mut() = uri;
        }
        let busy = Some(self.connection.busy(!request.body().is_end_stream()));
        let (metrics, answer) = match self.routes.find(request.method(), request.uri().path()) {
            Match::Found(metrics, endpoint) => match check_head(&request) {
                Ok(()) => (metrics, Answer::Filter(endpoint.answer(request))),
                Err(error) => (metrics, Answer::Error(error)),
            },
            Match::WrongMethod(metrics, allow) => {
                (metrics, Answer::Error(HttpError::method_not_allowed(allow.clone())))
            }
            Match::UnknownPath(metrics) => (metrics, Answer::Error(HttpError::unknown_path())),
        };
        AnswerFuture::ToCome { answer, busy, metrics: metrics.clone(), start: Instant::now() }
    }
}

const ONE_HOST: &str = "a request needs one Host header, and no more (RFC 9112, section 3.2)";
const ONLY_CHUNKED: &str =
    "the body has a transfer coding other than chunked, the only one that is known";

/// What HTTP demands of every request and hyper does not look at.
fn check_head<B>(request: &Request<B>) -> Result<(), HttpError> {
    if !names_one_host(request) {
        return Err(HttpError::bad_request(ONE_HOST));
    }
    if !is_only_chunked(request.headers()) {
        return Err(HttpError::new(StatusCode::NOT_IMPLEMENTED, ONLY_CHUNKED)
            .with_header(CONNECTION, HeaderValue::from_static("close")));
    }
    Ok(())
}

/// Whether it says once for which host it is; before HTTP/1.1 it need not.
fn names_one_host<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => request.version() < Version::HTTP_11,
        (Some(_), more) => more.is_none(),
    }
}

/// Whether the body, if it has transfer codings at all, is in chunks and nothing else (RFC 9112, section 6.1).
fn is_only_chunked(headers: &HeaderMap) -> bool {
    let mut codings = headers
        .get_all(TRANSFER_ENCODING)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|coding| !coding.is_empty());
    codings.next().is_none_or(|coding| coding.eq_ignore_ascii_case(b"chunked"))
        && codings.next().is_none()
}

impl Service<Request<Incoming>> for RoutedService {
    type Response = RoutedResponse;
    type Error = Infallible;
    type Future = AnswerFuture;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        if let Some(begun) = self.begun.take() {
            return *begun;
        }
        self.answer(request.map(RequestBody::Incoming))
    }
}

pub(crate) type RoutedResponse = Response<AnswerBody<WarpBody>>;

/// The answer to come.
pub(crate) enum AnswerFuture {
    ToCome {
        answer: Answer,
        busy: Option<BusyGuard>,
        metrics: RouteMetrics,
        start: Instant,
    },
    /// It has come already, and is taken once.
    Come(Option<RoutedResponse>),
}

pub(crate) enum Answer {
    Filter(Answering),
    Error(HttpError),
}

impl Future for AnswerFuture {
    type Output = Result<RoutedResponse, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (answer, busy, metrics, start) = match &mut *self {
            Self::ToCome { answer, busy, metrics, start } => (answer, busy, metrics, start),
            Self::Come(response) => {
                return Poll::Ready(Ok(response.take().expect("an answer is taken once")));
            }
        };
        let response = match answer {
            Answer::Filter(answering) => ready!(answering.as_mut().poll(cx)),
            Answer::Error(error) => error.clone().into_response(),
        };
        metrics.observe(response.status().as_u16(), start.elapsed());
        let busy = busy.take();
        let until_drain = response.extensions().get::<UntilDrain>().is_some();
        Poll::Ready(Ok(response.map(|body| AnswerBody { body, busy, until_drain })))
    }
}

/// The body of warp's answers, a type that warp does not name.
pub(crate) type WarpBody = <reply::Response as HasBody>::Body;

pub(crate) trait HasBody {
    type Body;
}

impl<B> HasBody for Response<B> {
    type Body = B;
}

pin_project! {
    /// The body of an answer; hyper drops it when it has taken all of it.
    pub(crate) struct AnswerBody<B> {
        #[pin]
        body: B,
        busy: Option<BusyGuard>,
        until_drain: bool,
    }
}

impl<B: Body> Body for AnswerBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        if *this.until_drain && this.busy.as_ref().is_some_and(BusyGuard::is_draining) {
            return Poll::Ready(None);
        }
        this.body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
