//! From a POST answered to visible in a GET.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    client::{Answer, Client, get_request, post_request},
    purchases::today,
    report::{Latencies, Table, count, millis},
};

/// Stores and items from here on are those of probes.
const FIRST_ID: u64 = 3_000_000_000;
/// Between two probes, so that they are no load of their own.
const PAUSE: Duration = Duration::from_millis(5);

/// Probes that are sent while something else happens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probes {
    /// Where they are posted, and where they are looked for.
    pub(crate) posts: SocketAddr,
    pub(crate) gets: SocketAddr,
    /// How many are under way at a time, with each kind of reader.
    pub(crate) each: usize,
    /// The least time between two polls of a reader. As time goes by it becomes [`POLLS`] of what it has waited, so
    /// that those who wait long are no load of their own either.
    pub(crate) poll: Duration,
}

/// What polling may add to a time.
const POLLS: f64 = 0.05;

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

impl Probes {
    /// One at a time with each kind of reader, which polls without pause.
    pub(crate) fn new(posts: SocketAddr, gets: SocketAddr) -> Self {
        Self { posts, gets, each: 1, poll: Duration::ZERO }
    }

    /// Runs `load`, and probes until it ends.
    pub(crate) fn during<T>(self, load: impl FnOnce() -> T) -> (T, Visibility) {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let flag = &stop;
            let probers = [Reader::Poll, Reader::WaitFor].map(|reader| {
                let start = |_| scope.spawn(move || self.probe(reader, flag));
                (reader, (0..self.each).map(start).collect::<Vec<_>>())
            });
            // Also if the load fails: the scope waits for the probers.
            let outcome = {
                let _stop = StopOnDrop(&stop);
                load()
            };
            let times = probers.map(|(reader, probers)| {
                let mut times = Latencies::default();
                for prober in probers {
                    times.merge(&prober.join().expect("probed"));
                }
                (reader, times)
            });
            (outcome, Visibility(times.into()))
        })
    }

    /// Each probe sells an item never sold before, which is not found until it is counted.
    fn probe(self, reader: Reader, stop: &AtomicBool) -> Latencies {
        static NEXT_ID: AtomicU64 = AtomicU64::new(FIRST_ID);
        let (mut poster, mut getter) = (Client::connect(self.posts), Client::connect(self.gets));
        let mut times = Latencies::default();
        while !stop.load(Ordering::Relaxed) {
            let item = NEXT_ID.fetch_add(1, Ordering::Relaxed);
            let posted = sell_one(&mut poster, FIRST_ID + item % 1000, item);
            let answered = Instant::now();
            let headers = match reader {
                Reader::Poll => String::new(),
                Reader::WaitFor => format!("topline-wait-for: {}\r\n", posted.position()),
            };
            let get = get_request(&format!("/items/top10/{item}"), &headers);
            loop {
                let status = getter.send(&get).expect("the server answers").status;
                if status == 200 {
                    break;
                }
                // Not counted yet; or waited for as long as the server lets one request wait.
                let again = if reader == Reader::Poll { 404 } else { 503 };
                assert_eq!(status, again, "item {item}");
                if reader == Reader::Poll && !self.poll.is_zero() {
                    thread::sleep(self.poll.max(answered.elapsed().mul_f64(POLLS)));
                }
            }
            times.record(answered.elapsed());
            thread::sleep(PAUSE);
        }
        times
    }
}

/// Posts a purchase of one item, which must be taken.
pub(crate) fn sell_one(poster: &mut Client, store: u64, item: u64) -> Answer {
    let path = format!("/purchase/{store}/customer/1/date/{}", today());
    let body = format!(r#"{{"items":[{{"ItemID":{item},"numberOfItems":1}}]}}"#);
    let post = post_request(&path, "application/json", &body);
    let posted = poster.send(&post).expect("the server answers");
    assert_eq!(posted.status, 201, "{posted:?}");
    posted
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
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
