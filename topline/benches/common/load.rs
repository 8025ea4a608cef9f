//! A closed loop over many connections: each sends its next request when it has its answer.
//!
//! Made to cost as little as `wrk` beside the servers it measures: requests are bytes made before,
//! answers are only measured, and a thread reads all its connections through one epoll.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use memchr::{memchr, memmem};
use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    io::Errno,
};

use super::report::Latencies;

/// A server that answers nobody for so long has hung.
const STALLED: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };
/// Bytes read from a connection at a time; more than any answer here has.
const READ_BYTES: usize = 64 * 1024;

/// How an answer is told from the next.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Protocol {
    /// HTTP/1.1 with `Content-Length`, and this status.
    Http(u16),
    /// An array of bulk strings of RESP2.
    Redis,
}

/// What is to be measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) protocol: Protocol,
    /// Sent in turn, each connection beginning elsewhere.
    pub(crate) requests: &'a [Vec<u8>],
    pub(crate) connections: usize,
    pub(crate) threads: usize,
    /// Before what counts.
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    pub(crate) latencies: Latencies,
}

impl Load<'_> {
    /// Runs it.
    ///
    /// # Panics
    /// At any answer that is not as expected: a figure of failures says nothing.
    pub(crate) fn run(&self) -> Measured {
        let threads = self.threads.clamp(1, self.connections);
        let begin = Barrier::new(threads);
        let mut latencies = Latencies::default();
        thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|first| {
                    let begin = &begin;
                    scope.spawn(move || {
                        self.worker((first..self.connections).step_by(threads), begin)
                    })
                })
                .collect();
            for worker in workers {
                latencies.merge(&worker.join().expect("as expected"));
            }
        });
        Measured { per_second: latencies.len() as f64 / self.time.as_secs_f64(), latencies }
    }

    fn worker(&self, numbers: impl Iterator<Item = usize>, begin: &Barrier) -> Latencies {
        let mut connections: Vec<_> = numbers
            .map(|number| {
                Connection::open(self.address, number * self.requests.len() / self.connections)
            })
            .collect();
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll");
        for (at, connection) in connections.iter().enumerate() {
            let data = epoll::EventData::new_u64(at as u64);
            epoll::add(&epoll, &connection.stream, data, epoll::EventFlags::IN).expect("added");
        }
        let mut latencies = Latencies::default();
        let mut events = Vec::with_capacity(connections.len());
        let mut buffer = vec![0; READ_BYTES];
        begin.wait();
        let counted = Instant::now() + self.warm_up;
        let end = counted + self.time;
        for connection in &mut connections {
            connection.send(self.requests);
        }
        loop {
            match epoll::wait(&epoll, spare_capacity(&mut events), Some(&STALLED)) {
                Err(Errno::INTR) => continue,
                outcome => assert!(outcome.expect("an epoll") > 0, "the server does not answer"),
            }
            for event in events.drain(..) {
                let connection = &mut connections[event.data.u64() as usize];
                if !connection.receive(self.protocol, &mut buffer) {
                    continue;
                }
                let sent = connection.sent;
                connection.send(self.requests);
                if connection.sent >= end {
                    return latencies;
                }
                if connection.sent >= counted {
                    latencies.record(connection.sent - sent);
                }
            }
        }
    }
}

/// A connection with one request under way.
struct Connection {
    stream: TcpStream,
    /// What has come of an answer that comes in parts.
    part: Vec<u8>,
    sent: Instant,
    next: usize,
}

impl Connection {
    fn open(address: SocketAddr, next: usize) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("an open socket");
        stream.set_nonblocking(true).expect("an open socket");
        Self { stream, part: Vec::new(), sent: Instant::now(), next }
    }

    /// The time of the answer before is that of this request: the loop is closed.
    fn send(&mut self, requests: &[Vec<u8>]) {
        self.sent = Instant::now();
        let request = &requests[self.next % requests.len()];
        self.next += 1;
        // Requests are small, and nothing else is under way, so the kernel takes all of it.
        let sent = self.stream.write(request).expect("the connection is open");
        assert_eq!(sent, request.len(), "a request does not fit the socket");
    }

    /// Reads what is there; whether the answer is complete.
    fn receive(&mut self, protocol: Protocol, buffer: &mut [u8]) -> bool {
        let read = match self.stream.read(buffer) {
            Ok(0) => panic!("the server closed a connection"),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => panic!("a connection was lost: {error}"),
        };
        let answer = if self.part.is_empty() {
            &buffer[..read]
        } else {
            self.part.extend_from_slice(&buffer[..read]);
            &self.part
        };
        let complete = protocol.is_complete(answer);
        if complete {
            self.part.clear();
        } else if self.part.is_empty() {
            self.part.extend_from_slice(&buffer[..read]);
        }
        complete
    }
}

impl Protocol {
    /// Whether these bytes are one whole answer.
    fn is_complete(self, answer: &[u8]) -> bool {
        let length = match self {
            Self::Http(status) => http_length(answer, status),
            Self::Redis => redis_length(answer),
        };
        assert!(length.is_none_or(|length| answer.len() <= length), "more than was asked for");
        length == Some(answer.len())
    }
}

/// The length of an answer, as soon as its head is there.
fn http_length(answer: &[u8], status: u16) -> Option<usize> {
    let head = memmem::find(answer, b"\r\n\r\n")?;
    let expected = [status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8);
    assert!(answer[9..12] == expected, "unexpected: {}", String::from_utf8_lossy(answer));
    // Of "content-length" only the end, which all servers write alike, and no other header has.
    let body = memmem::find(&answer[..head], b"ength: ")
        .map_or(0, |at| number(&answer[at + b"ength: ".len()..]));
    let body = if status == 304 { 0 } else { body };
    Some(head + 4 + body)
}

/// The length of an array of bulk strings; `None` if its end is not there.
fn redis_length(answer: &[u8]) -> Option<usize> {
    assert!(answer[0] == b'*', "unexpected: {}", String::from_utf8_lossy(answer));
    let mut at = line_end(answer, 0)?;
    for _ in 0..number(&answer[1..]) {
        let length = line_end(answer, at)?;
        at = length + number(&answer[at + 1..]) + 2;
    }
    (at <= answer.len()).then_some(at)
}

/// Where the line that begins at `start` has ended.
fn line_end(answer: &[u8], start: usize) -> Option<usize> {
    Some(start + memchr(b'\n', answer.get(start..)?)? + 1)
}

/// The number these bytes begin with.
fn number(digits: &[u8]) -> usize {
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}
