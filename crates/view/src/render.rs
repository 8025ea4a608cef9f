//! Answers as bytes, and those kept for the next reader.

use std::{
    collections::VecDeque,
    fmt::Write as _,
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

#[derive(Debug)]
struct Rendered {
    query: Query,
    source: Source,
    body: Body,
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
    /// The answer to `query`, if it is there and made from `source`.
    pub(crate) fn get(&self, query: &Query, source: &Source) -> Option<Body> {
        let found = self.answers.iter().find(|a| a.query == *query && a.source == *source)?;
        Some(found.body.clone())
    }

    /// Keeps an answer in place of the one before to the same query, or else of the oldest. Returns the
    /// bytes gained.
    pub(crate) fn put(&mut self, query: Query, source: Source, body: Body) -> isize {
        let gained = body.size();
        let rendered = Rendered { query, source, body };
        let same = self.answers.iter().position(|a| a.query == query);
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
        gained - old.body.size()
    }

    fn clear(&mut self) -> isize {
        let freed = self.answers.iter().map(|a| a.body.size()).sum();
        *self = Self::default();
        freed
    }
}

impl Body {
    fn size(&self) -> isize {
        (self.prefix.len() + OVERHEAD) as isize
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
    let etag = match query.format {
        Format::Legacy => {
            out.push_str("]}");
            format!("\"{hash:016x}\"")
        }
        Format::V1 => {
            out.push_str("],\"asOf\":");
            format!("W/\"{hash:016x}\"")
        }
    };
    Body { prefix: out.into(), etag: etag.into() }
}

/// Completes the body of an answer that says how current it is.
pub(crate) fn with_as_of(prefix: &Bytes, as_of: &AsOf) -> Bytes {
    let mut out = BytesMut::with_capacity(prefix.len() + 96 + 16 * as_of.next.len());
    out.extend_from_slice(prefix);
    let _ = write!(out, "{{\"position\":\"{}\",\"watermark\":", as_of.position_text());
    let _ = match as_of.watermark {
        Some(watermark) => write!(out, "\"{watermark}\""),
        None => write!(out, "null"),
    };
    let _ = write!(out, ",\"lagMs\":{}}}}}", as_of.lag.as_millis());
    out.freeze()
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
