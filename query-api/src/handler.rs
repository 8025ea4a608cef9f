//! From a question to a response.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_server::{APPLICATION_JSON, HttpError};
use hyper::{
    Response, StatusCode,
    header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue},
};
use model::{Position, Timestamp};
use telemetry::{IntGauge, ViewMetrics};
use tokio::sync::Semaphore;
use view::{Answer, Query, Subject, View};

use crate::{Args, conditional, events::Streams, params::Demands, status};

const POSITION: HeaderName = HeaderName::from_static("topline-position");

/// What all routes share.
#[derive(Debug)]
pub(crate) struct Handler {
    view: Arc<View>,
    pub(crate) metrics: ViewMetrics,
    wait_timeout: Duration,
    waiters: Semaphore,
    /// Chain-wide lists may have to visit all entities: one at a time, off the threads that serve.
    scans: Semaphore,
    pub(crate) streams: Streams,
    /// The longest list that may be asked for.
    pub(crate) max_k: u32,
}

impl Handler {
    pub(crate) fn new(view: Arc<View>, metrics: ViewMetrics, args: &Args) -> Self {
        Self {
            max_k: view.max_k(),
            view,
            metrics,
            wait_timeout: args.wait_timeout,
            waiters: Semaphore::new(args.max_waiters as usize),
            scans: Semaphore::new(1),
            streams: Streams::new(args),
        }
    }

    /// Answers a question as the headers demand.
    pub(crate) async fn answer(
        self: Arc<Self>,
        query: Query,
        headers: HeaderMap,
    ) -> Result<Response<Bytes>, HttpError> {
        let answer = self.demanded(query, &headers).await?;
        Ok(respond(&answer, &headers))
    }

    /// The list, as new as the headers demand.
    pub(crate) async fn demanded(
        self: &Arc<Self>,
        query: Query,
        headers: &HeaderMap,
    ) -> Result<Answer, HttpError> {
        let demands = Demands::parse(headers)?;
        if let Some(position) = &demands.position {
            self.wait_for(position).await?;
        }
        let answer = self.read(query).await?;
        if let Some(limit) = demands.max_staleness
            && answer.as_of().lag > limit
        {
            return Err(status::too_old(answer.as_of().lag, limit));
        }
        Ok(answer)
    }

    async fn wait_for(&self, position: &Position) -> Result<(), HttpError> {
        if self.view.wait_for(position, Duration::ZERO).await.is_ok() {
            return Ok(());
        }
        let _place = self.waiters.try_acquire().map_err(|_| status::too_many_waiters())?;
        let _counted = Counted::new(&self.metrics.waiters);
        let waited = self.view.wait_for(position, self.wait_timeout).await;
        waited.map_err(|error| status::of_wait(&error))
    }

    pub(crate) async fn read(self: &Arc<Self>, query: Query) -> Result<Answer, HttpError> {
        let read = match query.subject {
            Subject::Store(_) | Subject::Item(_) => self.view.answer(&query, Timestamp::now()),
            Subject::TopItems | Subject::TopStores => {
                match self.view.answer_cached(&query, Timestamp::now()) {
                    Ok(None) => return self.scan(query).await,
                    Ok(Some(answer)) => Ok(answer),
                    Err(error) => Err(error),
                }
            }
        };
        read.map_err(|error| status::of_read(&error))
    }

    async fn scan(self: &Arc<Self>, query: Query) -> Result<Answer, HttpError> {
        let _turn = self.scans.acquire().await.map_err(|_| status::internal())?;
        let view = Arc::clone(&self.view);
        let read = tokio::task::spawn_blocking(move || view.answer(&query, Timestamp::now()));
        let answer = read.await.map_err(|_| status::internal())?;
        answer.map_err(|error| status::of_read(&error))
    }
}

/// Counts a client as long as it lives, also when it hangs up.
pub(crate) struct Counted(IntGauge);

impl Counted {
    pub(crate) fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn respond(answer: &Answer, request: &HeaderMap) -> Response<Bytes> {
    let mut response = if conditional::is_known(request, answer.etag()) {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let mut response = Response::new(answer.body());
        response.headers_mut().insert(CONTENT_TYPE, APPLICATION_JSON);
        response
    };
    let headers = response.headers_mut();
    headers.insert(ETAG, header_value(answer.etag().clone()));
    headers.insert(POSITION, header_value(answer.position_text().clone()));
    response
}

fn header_value(text: Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(text).expect("tags and positions are plain ASCII")
}
