//! Lists as server-sent events.

mod common;

use std::time::Duration;

use common::{Server, header};
use query_api::Args;
use reqwest::{Response, StatusCode};
use serde_json::Value;
use window::Config;

/// The events of an answer, as a client reads them.
struct Events {
    response: Response,
    text: String,
}

#[derive(Debug, PartialEq)]
struct Event {
    id: String,
    data: Value,
}

impl Events {
    async fn open(server: &Server, path: &str, last_id: Option<&str>) -> Self {
        let request = server.get(path);
        let request = last_id.into_iter().fold(request, |r, id| r.header("last-event-id", id));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(header(&response, "content-type"), "text/event-stream");
        assert_eq!(header(&response, "cache-control"), "no-cache");
        Self { response, text: String::new() }
    }

    /// The next event, or `None` at the end of the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                let event = Event {
                    id: field("id:").expect("an event has an id").to_owned(),
                    data: serde_json::from_str(field("data:").unwrap()).unwrap(),
                };
                let read = self.text.len() - rest.len();
                self.text.drain(..read);
                return Some(event);
            }
            let chunk = self.response.chunk().await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

fn args() -> Args {
    Args { event_interval: Duration::from_millis(1), ..Args::default() }
}

async fn start(args: &Args) -> Server {
    let mut server = Server::start_with(Config::default(), args).await;
    server.shop.ready();
    server
}

#[tokio::test]
async fn a_list_comes_at_once_and_again_when_it_changes() {
    let mut server = start(&args()).await;
    server.shop.sell(&[(1, 5, 2), (2, 5, 1)]);
    for (path, list, more) in [
        ("/v1/stores/1/top-items", "items", 10),
        ("/v1/items/5/top-stores", "stores", 20),
        ("/v1/top-items", "items", 30),
        ("/v1/top-stores", "stores", 40),
    ] {
        let mut events = Events::open(&server, &format!("{path}/events?k=3"), None).await;
        let plain = |body: String| serde_json::from_str::<Value>(&body).unwrap();
        let first = events.next().await.unwrap();
        assert_eq!(first.data, plain(server.body(&format!("{path}?k=3")).await), "{path}");
        server.shop.sell(&[(1, 5, more)]);
        let mut second = events.next().await.unwrap();
        // All partitions are applied one after the other: what is seen in between is a list, too.
        while second.data[list] != plain(server.body(&format!("{path}?k=3")).await)[list] {
            second = events.next().await.unwrap();
        }
        assert_ne!(first.id, second.id, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn who_comes_back_hears_nothing_until_the_list_changes() {
    let mut server = start(&args()).await;
    server.shop.sell(&[(1, 5, 2)]);
    let path = "/v1/stores/1/top-items/events";
    let known = Events::open(&server, path, None).await.next().await.unwrap();
    let mut again = Events::open(&server, path, Some(&known.id)).await;
    // The first event after coming back is the change.
    server.shop.sell(&[(1, 5, 40)]);
    let event = again.next().await.unwrap();
    assert_eq!(event.data["items"][0]["quantity"], 42);
    let stale = Events::open(&server, path, Some("0")).await.next().await.unwrap();
    assert_eq!(stale, event);
    server.stop().await;
}

#[tokio::test]
async fn a_question_without_an_answer_is_refused() {
    let mut server = start(&Args { max_event_streams: 1, ..args() }).await;
    server.shop.sell(&[(1, 5, 2)]);
    for (path, status, expected) in [
        ("/v1/stores/2/top-items/events", 404, "nothing has been sold in store 2"),
        ("/v1/stores/x/top-items/events", 400, "storeID"),
        ("/v1/top-items/events?window=2h", 400, "window: '2h' is not a window"),
    ] {
        let (is, message) = server.error(server.get(path)).await;
        assert_eq!(is, status, "{path}");
        assert!(message.contains(expected), "{message}");
    }
    // There is one place, and it is free again when its client has gone.
    let first = Events::open(&server, "/v1/top-items/events", None).await;
    assert_eq!(server.metrics.view.event_streams.get(), 1);
    let (status, message) = server.error(server.get("/v1/top-items/events")).await;
    assert_eq!((status, message.as_str()), (503, "too many clients follow lists as events"));
    drop(first);
    while server.get("/v1/top-items/events").send().await.unwrap().status() != StatusCode::OK {
        tokio::task::yield_now().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn streams_outlive_a_recovery_and_end_with_the_listener() {
    let mut server = start(&args()).await;
    server.shop.sell(&[(1, 5, 2)]);
    let mut events = Events::open(&server, "/v1/stores/1/top-items/events", None).await;
    events.next().await.unwrap();
    server.shop.not_ready(0);
    server.shop.sell(&[(1, 5, 1)]);
    server.shop.ready();
    assert_eq!(events.next().await.unwrap().data["items"][0]["quantity"], 3);
    server.stop().await;
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn the_page_asks_for_lists_that_there_are() {
    let server = start(&args()).await;
    let response = server.get("/").send().await.unwrap();
    assert_eq!(header(&response, "content-type"), "text/html; charset=utf-8");
    let page = response.text().await.unwrap();
    let asked: Vec<&str> =
        page.split("data-path=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(asked.len(), 4);
    for path in asked {
        let events = format!("{path}/events");
        let known = |known: &str| known.replace("storeID", "id").replace("itemID", "id") == events;
        assert!(server.routes().iter().any(|(_, path)| known(path)), "{path}");
    }
    server.stop().await;
}
