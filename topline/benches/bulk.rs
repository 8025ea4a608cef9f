//! Bulk POSTs of NDJSON: lines a second into the log, and through all windows into the view; the CPU
//! time that takes; and from POST answered to visible under that load.
//! `cargo bench -p topline --bench bulk`.
//!
//! The bodies are made before: 1,000 stores and 100,000 items (Zipf), five lines a purchase. They are
//! sent again when all have been, so the state stops growing then.

mod common;

use std::time::Duration;

use clap::Parser;
use common::{
    bulk::{Bulk, Pass},
    process::resident_bytes,
    purchases::Chain,
    report::{self, Table, count, megabytes},
    server::Server,
    visibility::{Probes, Visibility},
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
    let server = Server::serve(&directory.path().join("data")).ready();

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
    row("alone", &args.pass(&server, &bodies), &table, &server);
    let run = || args.pass(&server, &bodies);
    let (probed, visibility) = Probes::new(server.public(), server.public()).during(run);
    row("with probes", &probed, &table, &server);
    report::title("From POST answered to visible, under bulk POSTs");
    visibility.rows(&Visibility::table(), "bulk POSTs");
}

impl Args {
    fn pass(&self, server: &Server, bodies: &[Vec<u8>]) -> Pass {
        let bulk = Bulk {
            address: server.public(),
            connections: self.connections,
            time: Duration::from_secs_f64(self.seconds),
            bodies,
            purchases: self.purchases,
            pace: None,
        };
        bulk.run(server, &[server.pid(), std::process::id()])
    }
}

fn row(name: &str, pass: &Pass, table: &Table, server: &Server) {
    let cores: Vec<_> = pass.cores().map(|cores| format!("{cores:.2}")).collect();
    table.row(&[
        name.to_owned(),
        count(pass.acknowledged_per_second()),
        count(pass.visible_per_second()),
        cores[0].clone(),
        cores[1].clone(),
        format!("{:.2} s", pass.cpu[0] / pass.lines * 1e6),
        count(server.pairs()),
        megabytes(resident_bytes(server.pid())),
    ]);
}
