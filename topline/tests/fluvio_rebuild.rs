//! Workers whose checkpoints are discarded, or who never had any, count the stream from its beginning: the
//! answers are the same.

mod common;

use std::collections::BTreeMap;

use common::{
    Server,
    cluster::{front, job, setup},
    sales::{Request, Sale, Tally, check},
};
use fluvio_testing::TestCluster;

const STORES: u32 = 12;

fn sell(ingest: &Server, tally: &mut Tally, time: u64) {
    let mut client = ingest.client();
    for request in 0..20 {
        let number = 1000 * time + 50 * request;
        let sales = Request::Bulk((number..number + 50).map(|n| Sale::of(1, n)).collect());
        let position = sales.send(&mut client).expect("acknowledged");
        tally.note(sales, Some(&position));
    }
}

/// Everything a replica answers, once it has what the tally has.
fn answers(replica: &Server, tally: &Tally) -> BTreeMap<String, serde_json::Value> {
    check(replica, tally, true);
    let chain = ["/v1/top-items?k=100", "/v1/top-stores?k=100", "/v1/top-items?window=day"];
    let chain = chain.into_iter().map(str::to_owned);
    let stores = (0..STORES).map(|store| format!("/v1/stores/{store}/top-items?k=100"));
    let paths = chain.chain(stores);
    let lists = paths.map(|path| {
        let mut answer = replica.get(&path).json();
        // When it was given, and after how many ticks.
        answer.as_object_mut().expect("an object").remove("asOf").expect("it says when");
        (path, answer)
    });
    lists.collect()
}

fn stop(workers: impl IntoIterator<Item = Server>) {
    for worker in workers {
        let ended = worker.terminate();
        assert!(ended.status.success(), "{}", ended.log);
    }
}

#[test]
fn the_answers_are_the_same() {
    let Some(cluster) = TestCluster::start(1) else { return };
    setup(&cluster, "purchases", &["--partitions", "6"]);
    let directories: Vec<_> = (0..5).map(|_| tempfile::tempdir().unwrap()).collect();
    // So many workers, from one of the directories on.
    let workers = |first: usize, many: usize, args: &[&str]| -> Vec<Server> {
        let start = |worker: usize| {
            let (number, of) = (worker.to_string(), many.to_string());
            let identity = ["--worker", &number, "--workers", &of];
            let data = directories[first + worker].path();
            job(&cluster, data, &[&identity[..], args].concat())
                .unwrap_or_else(|ended| panic!("{ended:?}"))
        };
        (0..many).map(start).collect()
    };
    let (ingest, mut tally) = (front(&cluster, "ingest"), Tally::default());
    let two = workers(0, 2, &[]);
    let first = front(&cluster, "query");
    sell(&ingest, &mut tally, 1);
    let expected = answers(&first, &tally);
    stop(two);

    // The same two, with everything counted again.
    let again = workers(0, 2, &["--rebuild"]);
    let counted: f64 = again.iter().map(|w| w.metric("topline_job_purchases_total", &[])).sum();
    assert!(counted >= 1000.0, "{counted}");
    let second = front(&cluster, "query");
    for replica in [&first, &second] {
        assert_eq!(answers(replica, &tally), expected);
    }
    stop(again);

    // Three others, with nothing.
    let three = workers(2, 3, &[]);
    let third = front(&cluster, "query");
    for replica in [&first, &second, &third] {
        assert_eq!(answers(replica, &tally), expected);
    }
    // They go on.
    sell(&ingest, &mut tally, 2);
    let expected = answers(&first, &tally);
    for replica in [&second, &third] {
        assert_eq!(answers(replica, &tally), expected);
    }
    stop(three);
}
