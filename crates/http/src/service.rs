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
    Request, Response, Version,
    body::{Body, Frame, Incoming, SizeHint},
    header::HOST,
    service::Service,
};
use pin_project_lite::pin_project;
use telemetry::RouteMetrics;
use warp::{Reply, reply};

use crate::{
    HttpError, RouteTable,
    body::RequestBody,
    connection::{BusyGuard, Connection},
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

    pub(crate) fn answer(&self, request: Request<RequestBody>) -> AnswerFuture {
        let busy = Some(self.connection.busy(!request.body().is_end_stream()));
        let (metrics, answer) = match self.routes.find(request.method(), request.uri().path()) {
            Match::Found(metrics, _) if !names_one_host(&request) => {
                (metrics, Answer::Error(HttpError::bad_request(ONE_HOST)))
            }
            Match::Found(metrics, endpoint) => (metrics, Answer::Filter(endpoint.answer(request))),
            Match::WrongMethod(metrics, allow) => {
                (metrics, Answer::Error(HttpError::method_not_allowed(allow.clone())))
            }
            Match::UnknownPath(metrics) => (metrics, Answer::Error(HttpError::unknown_path())),
        };
        AnswerFuture::ToCome { answer, busy, metrics: metrics.clone(), start: Instant::now() }
    }
}

const ONE_HOST: &str = "a request needs one Host header, and no more (RFC 9112, section 3.2)";

/// Whether it says once for which host it is; before HTTP/1.1 it need not.
fn names_one_host<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => request.version() < Version::HTTP_11,
        (Some(_), more) => more.is_none(),
    }
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
