//! Lists as server-sent events: a list as it is now, and again whenever it has changed.
//!
//! An event is the whole list, so one that a slow client misses is made good by the next: changes are looked
//! for at an interval, and what lies between two looks is not sent. The id of an event is that of
//! the list's entity tag. A client that comes back with the id of the list as it still is hears nothing until it changes.

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use http_server::{HttpError, UntilDrain};
use hyper::header::{HeaderMap, HeaderName};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{MissedTickBehavior, interval},
};
use view::{Answer, Query};
use warp::{
    Reply,
    sse::{self, Event},
};

use crate::{
    Args,
    handler::{Counted, Handler},
    status,
};

/// The most time without a byte: proxies close connections that are silent for a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How streams of events are made, and how many there are.
#[derive(Debug)]
pub(crate) struct Streams {
    places: Arc<Semaphore>,
    interval: Duration,
}

impl Streams {
    pub(crate) fn new(args: &Args) -> Self {
        Self {
            places: Arc::new(Semaphore::new(args.max_event_streams as usize)),
            interval: args.event_interval,
        }
    }
}

/// The id of the event that a client had last.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The list as events. A question without an answer is answered as a plain GET is, and the stream begins with what
/// the headers demand of a plain GET.
pub(crate) async fn follow(
    handler: Arc<Handler>,
    query: Query,
    headers: &HeaderMap,
) -> Result<warp::reply::Response, HttpError> {
    let place = Arc::clone(&handler.streams.places).try_acquire_owned();
    let place = place.map_err(|_| status::too_many_streams())?;
    handler.demanded(query, headers).await?;
    let (events, mut receiver) = mpsc::channel(1);
    let counted = Counted::new(&handler.metrics.event_streams);
    let known = headers.get(LAST_EVENT_ID).and_then(|id| Some(id.to_str().ok()?.to_owned()));
    tokio::spawn(Follower { handler, query, known, events, _place: (place, counted) }.run());
    let events = stream::poll_fn(move |cx| receiver.poll_recv(cx)).map(Ok::<_, Infallible>);
    let events = sse::keep_alive().interval(KEEP_ALIVE).stream(events);
    let mut response = sse::reply(events).into_response();
    response.extensions_mut().insert(UntilDrain);
    Ok(response)
}

/// Looks at a list as long as there is a client.
struct Follower {
    handler: Arc<Handler>,
    query: Query,
    /// Id of the event that the client has.
    known: Option<String>,
    events: mpsc::Sender<Event>,
    _place: (OwnedSemaphorePermit, Counted),
}

impl Follower {
    async fn run(mut self) {
        let mut looks = interval(self.handler.streams.interval);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = self.events.closed() => return,
            }
            match self.handler.read(self.query).await {
                Ok(answer) => {
                    if self.send(&answer).await.is_err() {
                        return;
                    }
                }
                // Lists that are being recovered come back.
                Err(error) if error.status().is_server_error() => {}
                // A day that is not kept any more does not.
                Err(_) => return,
            }
        }
    }

    /// # Errors
    /// If the client is gone.
    async fn send(&mut self, answer: &Answer) -> Result<(), mpsc::error::SendError<Event>> {
        let id = id(answer);
        if self.known.as_ref() == Some(&id) {
            return Ok(());
        }
        let body = String::from_utf8_lossy(&answer.body()).into_owned();
        self.events.send(Event::default().id(&id).data(body)).await?;
        self.known = Some(id);
        Ok(())
    }
}

/// The entity tag, without what surrounds it in a header.
fn id(answer: &Answer) -> String {
    let tag = String::from_utf8_lossy(answer.etag());
    tag.trim_start_matches("W/").trim_matches('"').to_owned()
}
