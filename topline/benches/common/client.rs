//! A client that waits for each answer.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// A server that says nothing for so long has hung.
const TIMEOUT: Duration = Duration::from_mins(1);

/// One connection, kept open.
pub(crate) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

/// What was answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The status line and the headers, without the empty line.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header; `name` in lower case, as the server writes it.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The position in the stream that has what was posted.
    pub(crate) fn position(&self) -> &str {
        self.header("topline-position").expect("a POST is answered with a position")
    }
}

/// The next offset of each partition: what a view must have applied to show what was posted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Position(BTreeMap<u32, u64>);

impl Position {
    /// Moves on to what a POST was answered with.
    pub(crate) fn add(&mut self, answer: &Answer) {
        for part in answer.position().split(',') {
            let (partition, next) = part.split_once(':').expect("partition:offset");
            self.advance(partition.parse().expect("a number"), next.parse().expect("a number"));
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (&partition, &next) in &other.0 {
            self.advance(partition, next);
        }
    }

    fn advance(&mut self, partition: u32, next: u64) {
        let known = self.0.entry(partition).or_default();
        *known = next.max(*known);
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (partition, next)) in self.0.iter().enumerate() {
            write!(f, "{}{partition}:{next}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// The bytes of a GET.
pub(crate) fn get_request(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: topline\r\n{headers}\r\n").into_bytes()
}

/// The bytes of a POST.
pub(crate) fn post_request(path: &str, content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: topline\r\ncontent-type: {content_type}\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

impl Client {
    /// # Panics
    /// If nothing listens there.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("the server listens")
    }

    pub(crate) fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self { stream, received: Vec::new() })
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send(&get_request(path, "")).expect("the server answers")
    }

    /// GETs what the view shows when it has `position`.
    pub(crate) fn get_at(&mut self, path: &str, position: &str) -> Answer {
        let headers = format!("topline-wait-for: {position}\r\n");
        self.send(&get_request(path, &headers)).expect("the server answers")
    }

    /// Sends a request, and waits for its answer.
    ///
    /// # Errors
    /// If the connection is lost before all of the answer is there.
    pub(crate) fn send(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request)?;
        self.received.clear();
        let head_length = loop {
            self.receive()?;
            if let Some(at) = memchr::memmem::find(&self.received, b"\r\n\r\n") {
                break at + 4;
            }
        };
        let head = String::from_utf8_lossy(&self.received[..head_length - 4]).into_owned();
        let mut answer =
            Answer { status: head[9..12].parse().expect("a status"), head, body: String::new() };
        let length: usize =
            answer.header("content-length").map_or(0, |value| value.parse().expect("a length"));
        while self.received.len() < head_length + length {
            self.receive()?;
        }
        answer.body = String::from_utf8_lossy(&self.received[head_length..]).into_owned();
        Ok(answer)
    }

    fn receive(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.received.extend_from_slice(&buffer[..read]);
                Ok(())
            }
        }
    }
}

/// Sends lines one by one over a connection of their own, each of which must be answered so.
pub(crate) fn send_and_expect(address: SocketAddr, lines: &[String], expected: &str) {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    let mut answer = vec![0; expected.len()];
    for line in lines {
        stream.write_all(line.as_bytes()).expect("the server reads");
        stream.read_exact(&mut answer).expect("the server answers");
        assert_eq!(answer, expected.as_bytes(), "to {line}");
    }
}
