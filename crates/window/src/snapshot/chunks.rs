//! Chunks being written.

use model::varint;

/// A chunk is ended when it is longer than this: with what a database puts around it, it still fits a page of
/// 256 KiB, and stays in the cache from being read to being restored.
pub(super) const CHUNK_BYTES: usize = (256 << 10) - (4 << 10);

/// Ids or entries in a chunk that is written whole: each takes ten bytes at most.
pub(super) const CHUNK_ITEMS: usize = CHUNK_BYTES / 10;

/// A chunk of items starts with its tag and their count, which is known only at its end: there is room in front
/// of the items for both.
const FRONT: usize = 1 + 10;

/// Writes chunks one after the other, and gives each to `each` when it is complete. After an error of that, nothing
/// is given to it any more.
pub(super) struct Chunks<'a, E> {
    each: &'a mut dyn FnMut(&[u8]) -> Result<(), E>,
    outcome: Result<(), E>,
    /// The chunk that is open, behind [`FRONT`] bytes.
    bytes: Vec<u8>,
    /// Tag and number of its items; `None` if it is written whole, or none is open.
    items: Option<(u8, u64)>,
}

impl<'a, E> Chunks<'a, E> {
    pub(super) fn new(each: &'a mut dyn FnMut(&[u8]) -> Result<(), E>) -> Self {
        Self { each, outcome: Ok(()), bytes: vec![0; FRONT], items: None }
    }

    /// Starts a chunk that is written whole.
    pub(super) fn begin(&mut self, tag: u8) -> &mut Vec<u8> {
        self.end();
        self.bytes.push(tag);
        &mut self.bytes
    }

    /// Makes room for one item more: where to write it, and whether it is the first of its chunk.
    pub(super) fn item(&mut self, tag: u8) -> (&mut Vec<u8>, bool) {
        let full = self.bytes.len() > FRONT + CHUNK_BYTES;
        let items = match self.items {
            Some((open, items)) if open == tag && !full => items,
            _ => {
                self.end();
                0
            }
        };
        self.items = Some((tag, items + 1));
        (&mut self.bytes, items == 0)
    }

    fn end(&mut self) {
        let mut start = FRONT;
        if let Some((tag, items)) = self.items.take() {
            let mut front = Vec::with_capacity(FRONT);
            front.push(tag);
            varint::put(&mut front, items);
            start -= front.len();
            self.bytes[start..FRONT].copy_from_slice(&front);
        }
        if self.bytes.len() > FRONT && self.outcome.is_ok() {
            self.outcome = (self.each)(&self.bytes[start..]);
        }
        self.bytes.truncate(FRONT);
    }

    pub(super) fn finish(mut self) -> Result<(), E> {
        self.end();
        self.outcome
    }
}
