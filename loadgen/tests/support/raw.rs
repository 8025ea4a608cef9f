//! A server of raw bytes that does to its connections whatever it is told to, and a run against it.

use std::{
    collections::BTreeMap,
    fs::File,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use clap::Parser;
use loadgen::load::{self, Live, LoadArgs, LoadError, Outputs, Summary};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reaction {
    /// What the contract has.
    Right,
    /// The same, once nobody holds the server up.
    RightWhenFree,
    /// From this request on, the server is held up for so long.
    Stall(Duration),
    /// Another status, with Retry-After or without.
    Status(u16, bool),
    /// 200 and a body that is no list.
    WrongBody,
    /// The connection is closed before there is an answer.
    Close,
    /// The connection is reset in the middle of the answer.
    Cut,
    /// There is never an answer.
    Silence,
}

/// The server. It ends with the runtime it was started on.
pub(crate) struct Raw {
    /// Where it listens.
    pub(crate) url: String,
    reactions: Arc<Mutex<BTreeMap<Reaction, u64>>>,
    connections: Arc<AtomicUsize>,
}

type Script = dyn Fn(usize, &str) -> Reaction + Send + Sync;

impl Raw {
    /// Starts it on a free port. `script` says what happens to request n, from 0, and its head.
    pub(crate) async fn start(
        script: impl Fn(usize, &str) -> Reaction + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let reactions: Arc<Mutex<BTreeMap<Reaction, u64>>> = Arc::default();
        let served = Served {
            script: Arc::new(script),
            number: Arc::default(),
            reactions: Arc::clone(&reactions),
            free: watch::Sender::new(true),
        };
        let connections: Arc<AtomicUsize> = Arc::default();
        let accepted = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                accepted.fetch_add(1, Ordering::Relaxed);
                // A connection that the client gives up ends its task; nobody is interested.
                tokio::spawn(served.clone().serve(stream));
            }
        });
        Self { url, reactions, connections }
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// How often there was each reaction.
    pub(crate) fn reactions(&self) -> BTreeMap<Reaction, u64> {
        self.reactions.lock().unwrap().clone()
    }
}

#[derive(Clone)]
struct Served {
    script: Arc<Script>,
    number: Arc<AtomicUsize>,
    reactions: Arc<Mutex<BTreeMap<Reaction, u64>>>,
    free: watch::Sender<bool>,
}

impl Served {
    async fn serve(self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut received = Vec::new();
        loop {
            let Some(head) = read_request(&mut stream, &mut received).await? else { return Ok(()) };
            let number = self.number.fetch_add(1, Ordering::Relaxed);
            let reaction = (self.script)(number, &head);
            *self.reactions.lock().unwrap().entry(reaction).or_default() += 1;
            match reaction {
                Reaction::Right => {}
                Reaction::Stall(length) => {
                    self.free.send_replace(false);
                    tokio::time::sleep(length).await;
                    self.free.send_replace(true);
                }
                Reaction::RightWhenFree => {
                    let mut free = self.free.subscribe();
                    free.wait_for(|&free| free).await.unwrap();
                }
                Reaction::Status(status, retry) => {
                    let retry = if retry { "retry-after: 0\r\n" } else { "" };
                    let body = r#"{"message":"said so"}"#;
                    stream.write_all(answer(status, retry, body).as_bytes()).await?;
                    continue;
                }
                Reaction::WrongBody => {
                    stream.write_all(answer(200, "", r#"{"stores":7}"#).as_bytes()).await?;
                    continue;
                }
                Reaction::Close => return Ok(()),
                Reaction::Cut => {
                    let whole = right(&head);
                    stream.write_all(&whole.as_bytes()[..whole.len() - 1]).await?;
                    return stream.shutdown().await;
                }
                Reaction::Silence => {
                    // Until the client gives up.
                    let _read = stream.read(&mut [0]).await?;
                    return Ok(());
                }
            }
            stream.write_all(right(&head).as_bytes()).await?;
        }
    }
}

/// Reads a request with its body. Gives its head; `None` at the end of the connection.
async fn read_request(
    stream: &mut TcpStream,
    received: &mut Vec<u8>,
) -> std::io::Result<Option<String>> {
    loop {
        if let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&received[..at]).into_owned();
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()
            });
            let end = at + 4 + length.unwrap_or(0);
            if received.len() >= end {
                received.drain(..end);
                return Ok(Some(head));
            }
        }
        if stream.read_buf(received).await? == 0 {
            return Ok(None);
        }
    }
}

fn right(head: &str) -> String {
    if head.starts_with("POST") {
        return answer(201, "", "");
    }
    let id = if head.contains("/items/store/") { "itemID" } else { "storeID" };
    answer(200, "", &format!(r#"{{"stores":[{{"{id}":1,"numberOfItems":2}}]}}"#))
}

fn answer(status: u16, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} So\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    load: LoadArgs,
}

/// Runs what the flags say, with a seed phase only if they ask for one.
pub(crate) async fn run(url: &str, flags: &[&str]) -> Result<Summary, LoadError> {
    run_with(url, flags, Outputs::default(), std::future::pending()).await
}

/// The same with files, until `stop`.
pub(crate) async fn run_with(
    url: &str,
    flags: &[&str],
    outputs: Outputs,
    stop: impl Future<Output = ()>,
) -> Result<Summary, LoadError> {
    let args = Cli::parse_from([&["test"], flags].concat()).load;
    load::run(&args, url, "test", outputs, Arc::new(Live::default()), stop).await
}

/// Files in a directory of their own.
pub(crate) fn outputs(dir: &TempDir) -> Outputs {
    let create = |name| Some(File::create(dir.path().join(name)).unwrap());
    Outputs { csv: create("requests.csv"), histogram_log: create("latencies.hlog") }
}

/// Whether the flags are understood.
pub(crate) fn parses(flags: &[&str]) -> Result<LoadArgs, clap::Error> {
    Cli::try_parse_from([&["test"], flags].concat()).map(|cli| cli.load)
}

/// Bytes of what a histogram log has.
pub(crate) fn base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.bytes().filter(|&byte| byte != b'=').map(value).collect();
    let groups = digits.chunks(4).flat_map(|group| {
        let bits = group.iter().fold(0_u32, |bits, &digit| bits << 6 | u32::from(digit));
        let bits = bits << (6 * (4 - group.len()));
        bits.to_be_bytes()[1..group.len()].to_vec()
    });
    groups.collect()
}
