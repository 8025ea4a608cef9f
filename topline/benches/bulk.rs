//! Bulk POSTs of NDJSON: lines a second into the log, and through all windows into the view; the CPU
//! time that takes; and from POST answered to visible under that load.
//! `cargo bench -p topline --bench bulk`.
//!
//! The bodies are made before: 1,000 stores and 100,000 items (Zipf), five lines a purchase. They are
//! sent again when all have been, so the state stops growing then.

mod common;

use std::{
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use common::{
    client::{Client, Position},
    process::{cpu_seconds, resident_bytes},
    purchases::{Chain, LINES},
    report::{self, Table, count, megabytes},
    server::Server,
    visibility::{self, Visibility},
};
use random::Random;

#[derive(Debug, Parser)]
struct Args {
    /// Connections that send
    #[arg(long, env = "BENCH_BULK_CONNECTIONS", default_value_t = 4)]
    connections: usize,
    /// Seconds of each pass
    #[arg(long, env = "BENCH_SECONDS", default_value_t = 20.0)]
    seconds: f64,
    /// Bodies made before
    #[arg(long, env = "BENCH_BULK_BODIES", default_value_t = 500)]
    bodies: usize,
    /// Purchases in a body
    #[arg(long, env = "BENCH_BULK_PURCHASES", default_value_t = 2000)]
    purchases: usize,
    /// Stores
    #[arg(long, env = "BENCH_STORES", default_value_t = 1000)]
    stores: u32,
    /// Items
    #[arg(long, env = "BENCH_ITEMS", default_value_t = 100_000)]
    items: u32,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args = Args::parse();
    let (chain, mut random) = (Chain::new(args.stores, args.items), Random::new(3));
    let bodies: Vec<_> =
        (0..args.bodies).map(|_| chain.post_many(args.purchases, &mut random)).collect();
    let directory = common::directory();
    let server = Server::start(&directory.path().join("data")).ready();

    report::title("Bulk POST");
    println!(
        "{} connections, {} s each pass, {} bodies of {} purchases and {} bytes\n",
        args.connections,
        args.seconds,
        args.bodies,
        args.purchases,
        count(bodies[0].len() as f64),
    );
    let table = Table::new(&[
        "pass",
        "lines/s acknowledged",
        "lines/s visible",
        "server CPU/s",
        "client CPU/s",
        "server CPU a million lines",
        "pairs",
        "server memory",
    ]);
    pass("alone", &server, &args, &bodies).row(&table, &server);
    let run = || pass("with probes", &server, &args, &bodies);
    let (probed, visibility) = visibility::during(server.public, run);
    probed.row(&table, &server);
    report::title("From POST answered to visible, under bulk POSTs");
    visibility.rows(&Visibility::table(), "bulk POSTs");
}

/// What a pass has taken.
struct Pass {
    name: &'static str,
    lines: f64,
    /// Until the last was acknowledged, and until it was visible.
    acknowledged: Duration,
    visible: Duration,
    /// Seconds, until it was visible.
    server_cpu: f64,
    client_cpu: f64,
}

fn pass(name: &'static str, server: &Server, args: &Args, bodies: &[Vec<u8>]) -> Pass {
    let cpu = || [server.pid(), std::process::id()].map(cpu_seconds);
    let (cpu_before, start) = (cpu(), Instant::now());
    let time = Duration::from_secs_f64(args.seconds);
    let (mut posts, mut position) = (0, Position::default());
    thread::scope(|scope| {
        let senders: Vec<_> = (0..args.connections)
            .map(|number| {
                let first = number * bodies.len() / args.connections;
                let bodies = bodies.iter().cycle().skip(first);
                scope.spawn(move || send(server, bodies, args.purchases, start + time))
            })
            .collect();
        for sender in senders {
            let (sent, reached) = sender.join().expect("all were taken");
            posts += sent;
            position.merge(&reached);
        }
    });
    let acknowledged = start.elapsed();
    server.wait_for(&position);
    let visible = start.elapsed();
    let [server_cpu, client_cpu] = cpu();
    Pass {
        name,
        lines: (posts * args.purchases * LINES) as f64,
        acknowledged,
        visible,
        server_cpu: server_cpu - cpu_before[0],
        client_cpu: client_cpu - cpu_before[1],
    }
}

/// Sends until `end`; gives the POSTs acknowledged, and the position that has them.
fn send<'a>(
    server: &Server,
    mut bodies: impl Iterator<Item = &'a Vec<u8>>,
    purchases: usize,
    end: Instant,
) -> (usize, Position) {
    let (mut client, mut position) = (Client::connect(server.public), Position::default());
    let accepted = format!(r#"{{"accepted":{purchases},"rejected":[]}}"#);
    let mut posts = 0;
    while Instant::now() < end {
        let answer = client.send(bodies.next().expect("a cycle")).expect("the server answers");
        assert_eq!((answer.status, &answer.body), (200, &accepted));
        position.add(&answer);
        posts += 1;
    }
    (posts, position)
}

impl Pass {
    fn row(&self, table: &Table, server: &Server) {
        let visible = self.visible.as_secs_f64();
        let cores = |seconds: f64| format!("{:.2}", seconds / visible);
        table.row(&[
            self.name.to_owned(),
            count(self.lines / self.acknowledged.as_secs_f64()),
            count(self.lines / visible),
            cores(self.server_cpu),
            cores(self.client_cpu),
            format!("{:.2} s", self.server_cpu / self.lines * 1e6),
            count(server.pairs()),
            megabytes(resident_bytes(server.pid())),
        ]);
    }
}
