//! PostgreSQL and RabbitMQ, started by the script when the first test needs them.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::LazyLock,
};

/// The exit code of the script if a server is not installed.
const NOT_INSTALLED: i32 = 77;

/// A run of the script. It stops its servers when its input ends, as it does with this process.
struct Run {
    _script: Child,
    address: String,
}

static POSTGRES: LazyLock<Option<Run>> = LazyLock::new(|| start("postgres", "DATABASE_URL="));

static RABBITMQ: LazyLock<Option<Run>> = LazyLock::new(|| start("rabbitmq", "AMQP_URL="));

/// The connection string of PostgreSQL; `None` if it is not installed.
pub(crate) fn postgres() -> Option<&'static str> {
    POSTGRES.as_ref().map(|run| &*run.address)
}

/// The address of RabbitMQ; `None` if it is not installed.
pub(crate) fn rabbitmq() -> Option<&'static str> {
    RABBITMQ.as_ref().map(|run| &*run.address)
}

fn start(server: &str, variable: &str) -> Option<Run> {
    let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/servers"))
        .arg(server)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the script starts");
    let stdout = BufReader::new(script.stdout.take().expect("piped"));
    let lines = stdout.lines().map_while(Result::ok).take_while(|line| line != "ready");
    let address = lines.filter_map(|line| Some(line.strip_prefix(variable)?.to_owned())).last();
    let Some(address) = address else {
        let status = script.wait().expect("a child");
        assert_eq!(status.code(), Some(NOT_INSTALLED), "{server} does not start");
        return None;
    };
    Some(Run { _script: script, address })
}
