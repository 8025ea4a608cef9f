//! From a POST answered to visible in a GET.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    client::{Client, get_request, post_request},
    purchases::today,
    report::{Latencies, Table, count, millis},
};

/// Stores and items from here on are those of probes.
const FIRST_ID: u64 = 3_000_000_000;
/// Between two probes, so that they are no load of their own.
const PAUSE: Duration = Duration::from_millis(5);

/// How a reader comes to see what was posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Asks again and again.
    Poll,
    /// Asks once, with `Topline-Wait-For`.
    WaitFor,
}

/// What was seen, and how fast.
pub(crate) struct Visibility(Vec<(Reader, Latencies)>);

/// Runs `load`, and probes until it ends: what is posted at one address is looked for at the other.
pub(crate) fn during<T>(
    posts: SocketAddr,
    gets: SocketAddr,
    load: impl FnOnce() -> T,
) -> (T, Visibility) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let flag = &stop;
        let probers = [Reader::Poll, Reader::WaitFor]
            .map(|reader| (reader, scope.spawn(move || probe(posts, gets, reader, flag))));
        // Also if the load fails: the scope waits for the probers.
        let outcome = {
            let _stop = StopOnDrop(&stop);
            load()
        };
        let times = probers.map(|(reader, prober)| (reader, prober.join().expect("probed")));
        (outcome, Visibility(times.into()))
    })
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Each probe sells an item never sold before, which is not found until it is counted.
fn probe(posts: SocketAddr, gets: SocketAddr, reader: Reader, stop: &AtomicBool) -> Latencies {
    static NEXT_ID: AtomicU64 = AtomicU64::new(FIRST_ID);
    let (mut poster, mut getter) = (Client::connect(posts), Client::connect(gets));
    let (date, mut times) = (today(), Latencies::default());
    while !stop.load(Ordering::Relaxed) {
        let item = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let store = FIRST_ID + item % 1000;
        let path = format!("/purchase/{store}/customer/1/date/{date}");
        let body = format!(r#"{{"items":[{{"ItemID":{item},"numberOfItems":1}}]}}"#);
        let posted = poster
            .send(&post_request(&path, "application/json", &body))
            .expect("the server answers");
        let answered = Instant::now();
        assert_eq!(posted.status, 201, "{posted:?}");
        let headers = match reader {
            Reader::Poll => String::new(),
            Reader::WaitFor => format!("topline-wait-for: {}\r\n", posted.position()),
        };
        let get = get_request(&format!("/items/top10/{item}"), &headers);
        let mut status = 0;
        while status != 200 {
            status = getter.send(&get).expect("the server answers").status;
            let waits = reader == Reader::Poll && status == 404;
            assert!(waits || status == 200, "item {item}: {status}");
        }
        times.record(answered.elapsed());
        thread::sleep(PAUSE);
    }
    times
}

impl Visibility {
    /// The table of [`Self::rows`].
    pub(crate) fn table() -> Table {
        Table::new(&["under", "reader", "probes", "p50", "p99", "max"])
    }

    pub(crate) fn rows(self, table: &Table, under: &str) {
        for (reader, mut times) in self.0 {
            let reader = match reader {
                Reader::Poll => "polls",
                Reader::WaitFor => "`Topline-Wait-For`",
            };
            table.row(&[
                under.to_owned(),
                reader.to_owned(),
                count(times.len() as f64),
                millis(times.quantile(0.5)),
                millis(times.quantile(0.99)),
                millis(times.quantile(1.0)),
            ]);
        }
    }
}
