//! One design with a database of its own, and its program.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use tokio::sync::oneshot;
use tokio_postgres::NoTls;

use super::{Client, proxy::Proxy, servers};

/// How often something is looked at that cannot be waited for, and how many times.
const POLL: Duration = Duration::from_millis(20);
const POLLS: usize = 1500;

/// One design, and where it keeps its data.
#[derive(Debug, Clone)]
pub(crate) struct Deployment {
    program: &'static str,
    args: Vec<String>,
    /// Connection string of its database.
    database: String,
    /// The way to the broker, if it has one.
    broker: Option<Proxy>,
}

/// The program of a design, running. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Baseline {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
}

impl Deployment {
    pub(crate) async fn direct_database() -> Option<Self> {
        let (database, _) = create_database(servers::postgres()?).await;
        let args = vec!["--database".to_owned(), database.clone()];
        Some(Self { program: env!("CARGO_BIN_EXE_direct-database"), args, database, broker: None })
    }

    pub(crate) async fn queue_and_memory() -> Option<Self> {
        let (postgres, rabbitmq) = (servers::postgres(), servers::rabbitmq());
        let (database, name) = create_database(postgres?).await;
        let (_, address) = rabbitmq?.split_once('@').expect("a user before the address");
        let proxy = Proxy::start(address.trim_end_matches("/%2f")).await;
        let broker = format!("amqp://guest:guest@{}/%2f", proxy.address);
        // The broker is shared; the names are not.
        let args = ["--database", &database, "--broker", &broker, "--prefix", &name];
        let (program, args) = (env!("CARGO_BIN_EXE_queue-and-memory"), args.map(str::to_owned));
        Some(Self { program, args: args.into(), database, broker: Some(proxy) })
    }

    /// Starts the program and waits until it is ready.
    pub(crate) async fn start(&self) -> Baseline {
        self.start_with(&[]).await
    }

    /// The same with more flags.
    pub(crate) async fn start_with(&self, more: &[&str]) -> Baseline {
        let mut child = self.command(more).stderr(Stdio::piped()).spawn().expect("it starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let (found, address) = oneshot::channel();
        thread::spawn(move || {
            let mut found = Some(found);
            for line in stderr.lines().map_while(Result::ok) {
                println!("{line}");
                if let Some((_, address)) = line.split_once("serving on http://")
                    && let Some(found) = found.take()
                {
                    let _ = found.send(address.parse().expect("an address"));
                }
            }
        });
        let address = address.await.expect("it says where it listens");
        let baseline = Baseline { child, address, client: Client::new(address) };
        eventually("it is ready", async || {
            let answer = baseline.client.get("/readyz").await;
            (answer.status == 200).then_some(())
        })
        .await;
        baseline
    }

    /// Starts the program, and kills it after a while: while it starts, or soon after.
    pub(crate) async fn start_and_kill(&self, after: Duration) {
        let mut child = self.command(&[]).stderr(Stdio::null()).spawn().expect("it starts");
        tokio::time::sleep(after).await;
        child.kill().expect("it runs");
        child.wait().expect("a child");
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        command.env_clear().args(["--listen", "127.0.0.1:0"]).args(&self.args).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Whether a POST that was answered shows in the next GET.
    pub(crate) fn reads_its_writes(&self) -> bool {
        self.program.ends_with("direct-database")
    }

    /// Cuts all connections of the program to its servers.
    pub(crate) async fn cut_connections(&self) {
        if let Some(broker) = &self.broker {
            broker.cut();
        }
        let of_the_program = "application_name = 'topline-baselines'";
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND";
        self.query(&format!("{sql} {of_the_program}")).await;
    }

    /// The rows of a query on the database.
    pub(crate) async fn query(&self, sql: &str) -> Vec<tokio_postgres::Row> {
        let (client, connection) =
            tokio_postgres::connect(&self.database, NoTls).await.expect("it runs");
        tokio::spawn(connection);
        client.query(sql, &[]).await.expect("the statement is right")
    }
}

/// Makes a database on the server, and gives its connection string and its name.
async fn create_database(server: &str) -> (String, String) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let (client, connection) = tokio_postgres::connect(server, NoTls).await.expect("it runs");
    tokio::spawn(connection);
    client.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("it is new");
    (server.replace("dbname=topline", &format!("dbname={name}")), name)
}

impl Baseline {
    /// Ends it as a power cut of the process would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs, or has ended");
        self.child.wait().expect("a child");
    }

    /// Asks it to end in order, and waits for it.
    pub(crate) fn terminate(mut self) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        let pid = rustix::process::Pid::from_raw(id).expect("not zero");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        assert!(self.child.wait().expect("a child").success());
    }
}

impl Drop for Baseline {
    fn drop(&mut self) {
        // Both fail only if it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks until `done` gives something.
pub(crate) async fn eventually<T>(what: &str, mut done: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..POLLS {
        if let Some(value) = done().await {
            return value;
        }
        tokio::time::sleep(POLL).await;
    }
    panic!("never: {what}");
}
