//! Bulk POSTs through all roles, and probes beside them.

use std::{net::SocketAddr, thread, time::Duration};

use random::Random;

use crate::{
    Args, PARTITIONS,
    common::{
        bulk::{Bulk, Pass},
        client::Position,
        process::resident_bytes,
        purchases::Chain,
        report::{self, Table, count, megabytes},
        visibility::{Probes, Visibility},
    },
    roles::Roles,
};

/// The least time between two polls of a reader.
const POLL: Duration = Duration::from_millis(1);
/// Probes under way with each kind of reader, beside bulk POSTs at a pace, and beside as many as are taken: then each
/// takes long.
const PACED: usize = 4;
const SATURATED: usize = 16;

/// The bodies of bulk POSTs, the same in every pass.
pub(crate) struct Bodies(Vec<Vec<u8>>);

impl Bodies {
    pub(crate) fn new(args: &Args) -> Self {
        let (chain, mut random) = (Chain::new(args.stores, args.items), Random::new(3));
        Self((0..args.bodies).map(|_| chain.post_many(args.purchases, &mut random)).collect())
    }

    /// Bulk POSTs, at a pace or as many as are taken.
    pub(crate) fn bulk(
        &self,
        args: &Args,
        address: SocketAddr,
        time: Duration,
        pace: Option<f64>,
    ) -> Bulk<'_> {
        Bulk {
            address,
            connections: args.connections,
            time,
            bodies: &self.0,
            purchases: args.purchases,
            pace,
        }
    }
}

/// Probes alone, then bulk POSTs at each pace with them, and as many as are taken without and with them. Gives what
/// has all that was sent in bulk.
pub(crate) fn through_all_roles(args: &Args, roles: &Roles, bodies: &Bodies) -> Position {
    report::title("Bulk POST over Fluvio");
    println!(
        "one SPU, {PARTITIONS} partitions, one process of each role; {} connections, {} s each pass, \
         {} bodies of {} purchases and {} bytes\n",
        args.connections,
        args.seconds,
        args.bodies,
        args.purchases,
        count(bodies.0[0].len() as f64),
    );
    let table = Table::new(&[
        "pass",
        "lines/s acknowledged",
        "lines/s visible",
        "ingest CPU/s",
        "SPU CPU/s",
        "job CPU/s",
        "query CPU/s",
        "client CPU/s",
        "pairs",
        "job memory",
        "query memory",
    ]);
    let probes = |each| {
        let (posts, gets) = (roles.ingest.public(), roles.query.public());
        Probes { posts, gets, each, poll: POLL }
    };
    let time = Duration::from_secs_f64(args.seconds);
    let run = |pace| {
        let bulk = bodies.bulk(args, roles.ingest.public(), time, pace);
        bulk.run(&roles.query, &roles.processes())
    };
    let mut seen = vec![("nothing else".to_owned(), probes(1).during(|| thread::sleep(time)).1)];
    for &pace in &args.paces {
        let (pass, visibility) = probes(PACED).during(|| run(Some(pace)));
        let name = format!("{} lines/s", count(pace));
        row(&name, &pass, &table, roles);
        seen.push((name, visibility));
    }
    row("as many as are taken", &run(None), &table, roles);
    let (last, visibility) = probes(SATURATED).during(|| run(None));
    row("the same, with probes", &last, &table, roles);
    seen.push(("as many as are taken".to_owned(), visibility));

    report::title("From POST answered to visible in a replica");
    let table = Visibility::table();
    for (under, visibility) in seen {
        visibility.rows(&table, &under);
    }
    last.position
}

/// As many bulk POSTs as are taken, for what is measured after them.
pub(crate) fn fill(args: &Args, roles: &Roles, bodies: &Bodies) -> Position {
    let time = Duration::from_secs_f64(args.seconds);
    bodies.bulk(args, roles.ingest.public(), time, None).run(&roles.query, &[]).position
}

fn row(name: &str, pass: &Pass, table: &Table, roles: &Roles) {
    let mut cells = vec![
        name.to_owned(),
        count(pass.acknowledged_per_second()),
        count(pass.visible_per_second()),
    ];
    cells.extend(pass.cores().map(|cores| format!("{cores:.2}")));
    cells.push(count(roles.job.pairs()));
    let servers = [&roles.job, &roles.query];
    cells.extend(servers.map(|server| megabytes(resident_bytes(server.pid()))));
    table.row(&cells);
}
