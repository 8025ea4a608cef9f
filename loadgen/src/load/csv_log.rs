//! The CSV file: a line for each request, written by a thread of its own.
//!
//! Lines wait in a bounded queue. When the disk cannot keep up, the threads that send wait for it, and
//! the time they wait is reported: no line is ever left out.

use std::{
    fs::File,
    io::{self, Write},
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::watch;

use super::Kind;

/// The first line of the file.
const HEADER: &str = "start time,request type,latency ms,response code\n";
/// Bytes handed over at a time.
const CHUNK: usize = 64 * 1024;
/// Chunks that may wait for the disk.
const QUEUE: usize = 64;

/// The file and the thread that writes it.
pub(crate) struct CsvLog {
    lines: SyncSender<Vec<u8>>,
    writer: JoinHandle<io::Result<()>>,
    /// The same moment on two clocks.
    clocks: (Instant, SystemTime),
}

impl CsvLog {
    /// `stop` is set when the file cannot be written.
    pub(crate) fn start(file: File, stop: watch::Sender<bool>) -> io::Result<Self> {
        let (lines, queue) = sync_channel(QUEUE);
        let writer = thread::Builder::new().name("csv".to_owned()).spawn(move || {
            write(file, &queue).inspect_err(|_| {
                stop.send_replace(true);
            })
        })?;
        Ok(Self { lines, writer, clocks: (Instant::now(), SystemTime::now()) })
    }

    /// Takes the lines of one thread.
    pub(crate) fn buffer(&self) -> CsvBuffer {
        let lines = self.lines.clone();
        CsvBuffer { lines, chunk: Vec::new(), clocks: self.clocks, wait: Duration::ZERO }
    }

    /// Waits until all lines are written. All buffers must be finished.
    pub(crate) fn finish(self) -> io::Result<()> {
        drop(self.lines);
        self.writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn write(mut file: File, queue: &Receiver<Vec<u8>>) -> io::Result<()> {
    file.write_all(HEADER.as_bytes())?;
    for chunk in queue {
        file.write_all(&chunk)?;
    }
    Ok(())
}

/// The lines of one thread.
pub(crate) struct CsvBuffer {
    lines: SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
    clocks: (Instant, SystemTime),
    wait: Duration,
}

impl CsvBuffer {
    /// Adds a line: start in milliseconds since 1970, type, response time, status (0: no answer).
    pub(crate) fn line(&mut self, start: Instant, kind: Kind, latency: Duration, status: u16) {
        let (instant, system) = self.clocks;
        let start = system + start.saturating_duration_since(instant);
        let start = start.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let milliseconds = latency.as_secs_f64() * 1000.0;
        writeln!(self.chunk, "{start},{},{milliseconds:.3},{status}", kind.label())
            .expect("memory takes every byte");
        if self.chunk.len() >= CHUNK {
            self.hand_over();
        }
    }

    /// Hands over what there is. If the writer has failed, lines go nowhere: its failure ends the run with
    /// an error.
    pub(crate) fn hand_over(&mut self) {
        if self.chunk.is_empty() {
            return;
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK + 128));
        if let Err(TrySendError::Full(chunk)) = self.lines.try_send(chunk) {
            let started = Instant::now();
            let _failed_writer = self.lines.send(chunk);
            self.wait += started.elapsed();
        }
    }

    /// Hands over the rest. Gives how long the disk was waited for.
    pub(crate) fn finish(mut self) -> Duration {
        self.hand_over();
        self.wait
    }
}
