//! Between hyper and the filters of warp: looks the route up, counts the request, and marks the
//! connection as busy until the answer is out.

use std::{
    cell::RefCell,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::{
    Request, Response,
    body::{Body, Frame, Incoming, SizeHint},
    service::Service,
};
use pin_project_lite::pin_project;
use telemetry::RouteMetrics;

use crate::{
    HttpError, RouteTable,
    connection::{BusyGuard, Connection},
    routes::Match,
};

/// Serves the requests of one connection with `S`, a service of warp.
pub(crate) struct RoutedService<S> {
    // hyper calls with `&self` but one request at a time; the service of warp wants `&mut self`.
    inner: RefCell<S>,
    routes: Arc<RouteTable>,
    connection: Arc<Connection>,
}

impl<S> RoutedService<S> {
    pub(crate) fn new(inner: S, routes: Arc<RouteTable>, connection: Arc<Connection>) -> Self {
        Self { inner: RefCell::new(inner), routes, connection }
    }
}

impl<S, B> Service<Request<Incoming>> for RoutedService<S>
where
    S: tower_service::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
{
    type Response = Response<AnswerBody<B>>;
    type Error = Infallible;
    type Future = AnswerFuture<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let busy = Some(self.connection.busy());
        let (metrics, answer) = match self.routes.find(request.method(), request.uri().path()) {
            Match::Found(metrics) => {
                (metrics, Answer::Service { future: self.inner.borrow_mut().call(request) })
            }
            Match::WrongMethod(metrics, allow) => {
                let error = HttpError::method_not_allowed(allow.clone());
                (metrics, Answer::Error { error })
            }
            Match::UnknownPath(metrics) => {
                (metrics, Answer::Error { error: HttpError::unknown_path() })
            }
        };
        AnswerFuture { answer, busy, metrics: metrics.clone(), start: Instant::now() }
    }
}

pin_project! {
    /// The answer to come.
    pub(crate) struct AnswerFuture<F> {
        #[pin]
        answer: Answer<F>,
        busy: Option<BusyGuard>,
        metrics: RouteMetrics,
        start: Instant,
    }
}

pin_project! {
    #[project = AnswerProjection]
    enum Answer<F> {
        Service { #[pin] future: F },
        Error { error: HttpError },
    }
}

impl<F, B> Future for AnswerFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = Result<Response<AnswerBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = match this.answer.project() {
            AnswerProjection::Service { future } => {
                let Ok(response) = ready!(future.poll(cx));
                response.map(Either::Left)
            }
            AnswerProjection::Error { error } => {
                error.to_http().map(|body| Either::Right(Full::new(body)))
            }
        };
        this.metrics.observe(response.status().as_u16(), this.start.elapsed());
        let busy = this.busy.take();
        Poll::Ready(Ok(response.map(|body| AnswerBody { body, _busy: busy })))
    }
}

pin_project! {
    /// The body of an answer; hyper drops it when it has taken all of it.
    pub(crate) struct AnswerBody<B> {
        #[pin]
        body: Either<B, Full<Bytes>>,
        _busy: Option<BusyGuard>,
    }
}

impl<B> Body for AnswerBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
