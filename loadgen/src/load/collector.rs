//! Puts the intervals of all threads together: totals, a point of the series each, the histogram log.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Write},
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use hdrhistogram::serialization::{
    V2DeflateSerializer,
    interval_log::{IntervalLogWriter, IntervalLogWriterBuilder, Tag},
};

use super::{
    Live, Point,
    recorder::{ByKind, Interval},
};

/// Points of the series that are kept; when there are more, neighbours become one.
const MOST_POINTS: usize = 3_600;

/// Intervals that may wait for the disk. The threads that send wait when there are more.
const QUEUE: usize = 256;

/// An interval of a thread, or `None` when the thread has ended.
pub(crate) type Message = (usize, Option<Box<Interval>>);

/// All that was measured.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) totals: ByKind,
    pub(crate) series: Vec<Point>,
}

pub(crate) struct Collector {
    pub(crate) threads: usize,
    pub(crate) interval: Duration,
    /// When the first interval began.
    pub(crate) begin: SystemTime,
    pub(crate) live: Arc<Live>,
    pub(crate) log: Option<File>,
    /// Said at the head of the log.
    pub(crate) title: String,
}

impl Collector {
    /// Starts it. It ends when all senders are gone.
    pub(crate) fn spawn(
        self,
    ) -> io::Result<(SyncSender<Message>, JoinHandle<io::Result<Collected>>)> {
        let (messages, queue) = sync_channel(QUEUE);
        let name = "collector".to_owned();
        let handle = thread::Builder::new().name(name).spawn(move || self.run(&queue))?;
        Ok((messages, handle))
    }

    fn run(mut self, messages: &Receiver<Message>) -> io::Result<Collected> {
        let Some(file) = self.log.take() else { return self.collect(messages, |_, _, _| Ok(())) };
        let mut file = BufWriter::new(file);
        let mut serializer = V2DeflateSerializer::new();
        let mut log = self.header().begin_log_with(&mut file, &mut serializer)?;
        let collected = self.collect(messages, |from, length, kinds| {
            write_interval(&mut log, from, length, kinds)
        })?;
        file.flush()?;
        Ok(collected)
    }

    fn header(&self) -> IntervalLogWriterBuilder {
        let mut builder = IntervalLogWriterBuilder::new();
        builder
            .add_comment(&self.title)
            .add_comment("response times in nanoseconds; the maximum of each line in milliseconds")
            .with_start_time(self.begin)
            .with_base_time(self.begin)
            .with_max_value_divisor(1e6);
        builder
    }

    fn collect(
        &self,
        messages: &Receiver<Message>,
        mut log: impl FnMut(Duration, Duration, &ByKind) -> io::Result<()>,
    ) -> io::Result<Collected> {
        let mut collected = Collected::default();
        let mut open: BTreeMap<u64, Interval> = BTreeMap::new();
        // The last complete interval, with its number. It is held back for what little may follow.
        let mut last: Option<(u64, Interval)> = None;
        // The next interval of each thread that has not ended.
        let mut next = vec![Some(0_u64); self.threads];
        for (thread, interval) in messages {
            next[thread] = interval.as_ref().map(|interval| interval.index + 1);
            if let Some(interval) = interval {
                open.entry(interval.index).or_default().add(&interval);
            }
            // What all threads have gone beyond is complete.
            let complete = next.iter().flatten().min().copied().unwrap_or(u64::MAX);
            while let Some(first) = open.first_entry().filter(|first| *first.key() < complete) {
                let (index, interval) = first.remove_entry();
                self.show(&interval);
                match &mut last {
                    Some((_, last)) if interval.length < self.interval / 4 => {
                        last.extend(&interval);
                    }
                    last => {
                        if let Some((index, ended)) = last.replace((index, interval)) {
                            self.close(index, &ended, &mut collected, &mut log)?;
                        }
                    }
                }
            }
        }
        if let Some((index, ended)) = last {
            self.close(index, &ended, &mut collected, &mut log)?;
        }
        Ok(collected)
    }

    fn show(&self, interval: &Interval) {
        let latencies = interval.kinds.latencies(|_| true);
        if !latencies.is_empty() {
            self.live.p99_nanoseconds.store(latencies.value_at_quantile(0.99), Ordering::Relaxed);
        }
    }

    fn close(
        &self,
        index: u64,
        interval: &Interval,
        collected: &mut Collected,
        log: &mut impl FnMut(Duration, Duration, &ByKind) -> io::Result<()>,
    ) -> io::Result<()> {
        let from = self.interval * u32::try_from(index).unwrap_or(u32::MAX);
        log(from, interval.length, &interval.kinds)?;
        let point = Point::new(from.as_secs_f64(), interval);
        collected.totals.add(&interval.kinds);
        collected.series.push(point);
        if collected.series.len() > MOST_POINTS {
            let merged = collected.series.chunks(2).map(Point::merged).collect();
            collected.series = merged;
        }
        Ok(())
    }
}

type LogWriter<'a, 'b> = IntervalLogWriter<'a, 'b, BufWriter<File>, V2DeflateSerializer>;

fn write_interval(
    log: &mut LogWriter<'_, '_>,
    from: Duration,
    length: Duration,
    kinds: &ByKind,
) -> io::Result<()> {
    for (kind, record) in kinds.iter().filter(|(_, record)| !record.latencies.is_empty()) {
        let tag = Tag::new(kind.tag());
        log.write_histogram(&record.latencies, from, length, tag)
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
    }
    Ok(())
}
