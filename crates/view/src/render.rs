//! Answers as bytes, and those kept for the next reader.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use window::Entry;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    as_of::AsOf,
    index::IndexKind,
    query::{Format, Query, Subject, Window},
};

/// What is kept of one entity: enough for a few clients with different wishes.
const MAX_PER_CELL: usize = 8;
/// Memory of a rendered answer besides its body.
const OVERHEAD: usize = size_of::<Rendered>() + 64;

/// The text of [`AsOf`] without its partitions, about; and of each of them, with its place in the list.
const AS_OF_BYTES: usize = 96;
const AS_OF_PARTITION_BYTES: usize = 32;

/// What a rendered answer was made from. While these are the same, so is the answer: a day that
/// closes with sales not yet in the lists has the version raised in the same flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) window: Window,
    /// Of the cell, or of the chain-wide lists.
    pub(crate) version: u64,
}

/// The body of an answer up to what changes with every batch, and its entity tag.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    pub(crate) prefix: Bytes,
    pub(crate) etag: Bytes,
}

/// An answer as it goes out. Clones are cheap.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub(crate) etag: Bytes,
    pub(crate) body: Bytes,
    /// The position in what it says of how current it is.
    pub(crate) position: Bytes,
}

/// An answer, for the next reader.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) query: Query,
    source: Source,
    body: Body,
    /// What `text` says of how current it is.
    as_of: AsOf,
    text: Text,
}

/// A few rendered answers.
#[derive(Debug, Default)]
pub(crate) struct RenderCache {
    answers: Vec<Rendered>,
    /// Place of the next answer to give way.
    hand: usize,
    /// Whether the budget knows of this cache.
    queued: bool,
}

impl RenderCache {
    /// The answer to `query`, if it is there and made from `source`. It says that it is as of `as_of`, which
    /// is written anew only if that has changed.
    pub(crate) fn get(&mut self, query: &Query, source: &Source, as_of: &AsOf) -> Option<Text> {
        let mut answers = self.answers.iter_mut();
        let found = answers.find(|a| a.query == *query && a.source == *source)?;
        if found.as_of != *as_of {
            found.text = found.body.complete(query.format, as_of);
            found.as_of = as_of.clone();
        }
        Some(found.text())
    }

    /// Keeps an answer in place of the one before to the same query, or else of the oldest. Returns the
    /// bytes gained.
    pub(crate) fn put(&mut self, rendered: Rendered) -> isize {
        let gained = rendered.size();
        let same = self.answers.iter().position(|a| a.query == rendered.query);
        let place = match same {
            Some(place) => place,
            None if self.answers.len() < MAX_PER_CELL => {
                self.answers.push(rendered);
                return gained;
            }
            None => {
                self.hand = (self.hand + 1) % MAX_PER_CELL;
                self.hand
            }
        };
        let old = std::mem::replace(&mut self.answers[place], rendered);
        gained - old.size()
    }

    fn clear(&mut self) -> isize {
        let freed = self.answers.iter().map(Rendered::size).sum();
        *self = Self::default();
        freed
    }
}

impl Rendered {
    pub(crate) fn new(query: Query, source: Source, body: Body, as_of: AsOf) -> Self {
        let text = body.complete(query.format, &as_of);
        Self { query, source, body, as_of, text }
    }

    pub(crate) fn text(&self) -> Text {
        self.text.clone()
    }

    /// Bytes of memory. Does not depend on how long the text of `as_of` happens to be.
    fn size(&self) -> isize {
        let copies = match self.query.format {
            Format::Legacy => 1,
            Format::V1 => 2,
        };
        let as_of = AS_OF_BYTES + AS_OF_PARTITION_BYTES * self.as_of.next.len();
        (copies * self.body.prefix.len() + as_of + OVERHEAD) as isize
    }
}

impl Body {
    /// With what is said of `as_of`.
    fn complete(&self, format: Format, as_of: &AsOf) -> Text {
        let bytes = AS_OF_BYTES + AS_OF_PARTITION_BYTES * as_of.next.len();
        let (position, body) = match format {
            Format::Legacy => {
                let mut out = BytesMut::with_capacity(bytes);
                let _ = write!(out, "{}", as_of.position_text());
                (out.freeze(), self.prefix.clone())
            }
            Format::V1 => {
                let mut out = BytesMut::with_capacity(self.prefix.len() + bytes);
                let position = write_complete(&mut out, &self.prefix, as_of);
                let body = out.freeze();
                (body.slice(position), body)
            }
        };
        Text { etag: self.etag.clone(), body, position }
    }
}

/// Bounds the memory of all rendered answers: beyond the limit, the entities that have been in the
/// cache longest lose theirs.
#[derive(Debug)]
pub(crate) struct RenderBudget {
    limit: usize,
    bytes: AtomicUsize,
    /// Entities that have answers, each once, in order of their first.
    queue: Mutex<VecDeque<(IndexKind, u64)>>,
}

impl RenderBudget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, bytes: AtomicUsize::new(0), queue: Mutex::default() }
    }

    /// Bytes held by rendered answers.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Accounts for an answer just put into the cache of `entity`.
    pub(crate) fn add(&self, entity: (IndexKind, u64), cache: &mut RenderCache, gained: isize) {
        self.bytes.fetch_add(gained as usize, Ordering::Relaxed);
        if !std::mem::replace(&mut cache.queued, true) {
            self.queue.lock().push_back(entity);
        }
    }

    /// The entity whose answers have to go, if there are too many bytes.
    pub(crate) fn victim(&self) -> Option<(IndexKind, u64)> {
        if self.bytes() <= self.limit { None } else { self.queue.lock().pop_front() }
    }

    /// Empties the cache of a victim.
    pub(crate) fn evict(&self, cache: &mut RenderCache) {
        self.bytes.fetch_sub(cache.clear() as usize, Ordering::Relaxed);
    }
}

/// Writes the body of an answer.
pub(crate) fn render(query: &Query, window: &Window, entries: &[Entry]) -> Body {
    let mut out = String::with_capacity(160 + 40 * entries.len());
    let (array, id) = match query.subject {
        Subject::Store(_) | Subject::TopItems => ("items", "itemID"),
        Subject::Item(_) | Subject::TopStores => ("stores", "storeID"),
    };
    let (array, count) = match query.format {
        Format::Legacy => ("stores", "numberOfItems"),
        Format::V1 => {
            out.push_str("{\"window\":");
            write_window(&mut out, window);
            (array, "quantity")
        }
    };
    let open = if query.format == Format::Legacy { '{' } else { ',' };
    // Writing to a string cannot fail.
    let _ = write!(out, "{open}\"{array}\":[");
    for (i, (entry, total)) in entries.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        let _ = write!(out, "{comma}{{\"{id}\":{entry},\"{count}\":{total}}}");
    }
    let hash = xxh3_64(out.as_bytes());
    let (end, weak) = match query.format {
        Format::Legacy => ("]}", ""),
        Format::V1 => ("],\"asOf\":", "W/"),
    };
    out.push_str(end);
    // One allocation for both, so that readers who clone them write one count of references.
    let length = out.len();
    let _ = write!(out, "{weak}\"{hash:016x}\"");
    let mut prefix = Bytes::from(out);
    let etag = prefix.split_off(length);
    Body { prefix, etag }
}

/// Writes the whole body of an answer that says how current it is; gives the place of the position in it.
fn write_complete(out: &mut BytesMut, prefix: &[u8], as_of: &AsOf) -> Range<usize> {
    out.extend_from_slice(prefix);
    out.extend_from_slice(b"{\"position\":\"");
    let start = out.len();
    // Writing to memory cannot fail.
    let _ = write!(out, "{}", as_of.position_text());
    let position = start..out.len();
    let _ = match as_of.watermark {
        Some(watermark) => write!(out, "\",\"watermark\":\"{watermark}\""),
        None => write!(out, "\",\"watermark\":null"),
    };
    let _ = write!(out, ",\"lagMs\":{}}}}}", as_of.lag.as_millis());
    position
}

fn write_window(out: &mut String, window: &Window) {
    let _ = write!(out, "{{\"kind\":\"{}\"", window.kind);
    if let Some(date) = window.date {
        let _ = write!(out, ",\"date\":\"{date}\"");
    }
    if let Some((start, end)) = window.bounds {
        let _ = write!(out, ",\"start\":\"{start}\",\"end\":\"{end}\"");
    }
    let _ = write!(out, ",\"final\":{}}}", window.is_final);
}
