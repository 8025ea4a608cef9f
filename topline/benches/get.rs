//! GETs of a hot list over loopback, beside nginx with a fixed answer of the same bytes, and beside
//! Redis with the same list as a sorted set. `cargo bench -p topline --bench get`.
//!
//! One client measures all of them, in turn, several times over: what the machine does besides hits
//! all of them alike. Ratios are the medians of the ratios to nginx of the same round.

mod common;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use clap::Parser;
use common::{
    client::{Answer, Client, Position, get_request},
    load::{Load, Measured, Protocol},
    process::Other,
    purchases::Chain,
    report::{self, Table, count, median, millis},
    server::Server,
};
use random::Random;

#[derive(Debug, Parser)]
struct Args {
    /// Connections, one number for each part of the table
    #[arg(long, env = "BENCH_CONNECTIONS", value_delimiter = ',', default_value = "64,512,1024")]
    connections: Vec<usize>,
    /// Times that each is measured
    #[arg(long, env = "BENCH_ROUNDS", default_value_t = 5)]
    rounds: usize,
    /// Seconds that count of each time
    #[arg(long, env = "BENCH_SECONDS", default_value_t = 2.0)]
    seconds: f64,
    /// Threads of the client
    #[arg(long, env = "BENCH_THREADS", default_value_t = 2)]
    threads: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// Before what counts.
const WARM_UP: Duration = Duration::from_millis(300);
/// Bulk POSTs that make the list, and purchases of each.
const POSTS: usize = 20;
const PURCHASES: usize = 2000;

/// What the others are compared with.
const NGINX: &str = "nginx, the same bytes";

/// One row of the table.
struct Subject {
    name: &'static str,
    load: Option<(std::net::SocketAddr, Protocol, Vec<u8>)>,
    rounds: Vec<Measured>,
}

fn main() {
    let args = Args::parse();
    let directory = common::directory();
    let server = Server::serve(&directory.path().join("data")).ready();
    let chain = Chain::new(1000, 100_000);
    sell(&server, &chain);
    let path = format!("/items/store/{}", chain.store(0));
    let answer = Client::connect(server.public()).get(&path);
    let nginx = nginx(directory.path(), &answer);
    let redis = redis(directory.path(), &server, chain.store(0));

    report::title("GET of a hot list");
    println!(
        "{} client threads, {} rounds of {} s; an answer has {} bytes of head and {} of body\n",
        args.threads,
        args.rounds,
        args.seconds,
        answer.head.len() + 4,
        answer.body.len(),
    );
    let table = Table::new(&["GET", "connections", "req/s", "to nginx", "p50", "p99"]);
    for &connections in &args.connections {
        let mut subjects = subjects(&server, &chain, &answer, nginx.as_ref(), redis.as_ref());
        for _ in 0..args.rounds {
            for subject in &mut subjects {
                subject.measure(&args, connections);
            }
        }
        let base = subjects.iter().find(|subject| subject.name == NGINX).expect("one of them");
        let base: Vec<f64> = base.rounds.iter().map(|round| round.per_second).collect();
        for subject in &mut subjects {
            subject.show(&table, connections, &base);
        }
    }
}

/// Fills the list to be read, and all the others.
fn sell(server: &Server, chain: &Chain) {
    let (mut client, mut random) = (Client::connect(server.public()), Random::new(1));
    let mut position = Position::default();
    for _ in 0..POSTS {
        let request = chain.post_many(PURCHASES, &mut random);
        let answer = client.send(&request).expect("the server answers");
        assert_eq!(answer.status, 200, "{answer:?}");
        position.add(&answer);
    }
    server.wait_for(&position);
}

fn subjects(
    server: &Server,
    chain: &Chain,
    answer: &Answer,
    nginx: Option<&Other>,
    redis: Option<&Other>,
) -> Vec<Subject> {
    let store = chain.store(0);
    let path = format!("/items/store/{store}");
    let v1 = format!("/v1/stores/{store}/top-items");
    let tag = answer.header("etag").expect("answers have tags");
    let not_modified = get_request(&path, &format!("if-none-match: {tag}\r\n"));
    let zrevrange =
        b"*5\r\n$9\r\nZREVRANGE\r\n$3\r\nkey\r\n$1\r\n0\r\n$1\r\n9\r\n$10\r\nWITHSCORES\r\n";
    let http = Protocol::Http;
    [
        ("`/items/store/{storeID}`", Some((server.public(), http(200), get_request(&path, "")))),
        (
            "`/v1/stores/{storeID}/top-items`",
            Some((server.public(), http(200), get_request(&v1, ""))),
        ),
        ("the same answer, not modified: 304", Some((server.public(), http(304), not_modified))),
        (NGINX, nginx.map(|nginx| (nginx.address, http(200), get_request("/", "")))),
        (
            "Redis `ZREVRANGE key 0 9 WITHSCORES`",
            redis.map(|redis| (redis.address, Protocol::Redis, zrevrange.to_vec())),
        ),
    ]
    .map(|(name, load)| Subject { name, load, rounds: Vec::new() })
    .into()
}

impl Subject {
    fn measure(&mut self, args: &Args, connections: usize) {
        let Some((address, protocol, request)) = &self.load else { return };
        let load = Load {
            address: *address,
            protocol: *protocol,
            requests: std::slice::from_ref(request),
            connections,
            threads: args.threads,
            warm_up: WARM_UP,
            time: Duration::from_secs_f64(args.seconds),
        };
        self.rounds.push(load.run());
    }

    fn show(&mut self, table: &Table, connections: usize, base: &[f64]) {
        let (name, connections) = (self.name.to_owned(), connections.to_string());
        if self.rounds.is_empty() {
            let none = String::new;
            return table.row(&[name, connections, "not installed".into(), none(), none(), none()]);
        }
        let ratios: Vec<_> =
            self.rounds.iter().zip(base).map(|(round, base)| round.per_second / base).collect();
        let ratio =
            if ratios.is_empty() { String::new() } else { format!("{:.2}", median(ratios)) };
        let mut quantile = |share| {
            let times = self.rounds.iter_mut().map(|round| round.latencies.quantile(share));
            millis(Duration::from_secs_f64(median(times.map(|time| time.as_secs_f64()))))
        };
        let (p50, p99) = (quantile(0.5), quantile(0.99));
        let per_second = count(median(self.rounds.iter().map(|round| round.per_second)));
        table.row(&[name, connections, per_second, ratio, p50, p99]);
    }
}

/// nginx with a fixed answer: the body, and the headers that it does not set by itself.
fn nginx(directory: &Path, answer: &Answer) -> Option<Other> {
    let headers: Vec<_> = answer
        .head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| !["content-type", "content-length", "date"].contains(name))
        .map(|(name, value)| format!("add_header {name} '{value}';"))
        .collect();
    let (headers, body) = (headers.join(" "), &answer.body);
    Other::start(|address| {
        let config = directory.join("nginx.conf");
        let text = format!(
            "worker_processes 2; daemon off; pid nginx.pid; error_log stderr crit;
             events {{ worker_connections 8192; }}
             http {{
                 access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;
                 default_type application/json;
                 client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
                 uwsgi_temp_path uwsgi; scgi_temp_path scgi;
                 server {{
                     listen {address} backlog=4096 reuseport;
                     location / {{ {headers} return 200 '{body}'; }}
                 }}
             }}"
        );
        fs::write(&config, text).expect("the directory can be written to");
        let mut command = Command::new("nginx");
        command.arg("-p").arg(directory).arg("-c").arg(config).args(["-e", "stderr"]);
        command
    })
}

/// Redis with the list as a sorted set, in memory alone.
fn redis(directory: &Path, server: &Server, store: u32) -> Option<Other> {
    let redis = Other::start(|address| {
        let mut command = Command::new("redis-server");
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        command.args(["--bind", &host, "--port", &port, "--save", "", "--appendonly", "no"]);
        command.arg("--dir").arg(directory).stdout(Stdio::null());
        command
    })?;
    let list = Client::connect(server.public()).get(&format!("/v1/stores/{store}/top-items?k=100"));
    let list: serde_json::Value = serde_json::from_str(&list.body).expect("JSON");
    let entries = list["items"].as_array().expect("items").iter();
    let add =
        entries.map(|entry| format!("ZADD key {} {}\r\n", entry["quantity"], entry["itemID"]));
    common::client::send_and_expect(redis.address, &add.collect::<Vec<_>>(), ":1\r\n");
    Some(redis)
}
