//! A list that grows without moving what it holds.
//!
//! A vector that grows copies all it holds into memory it touches for the first time, which costs more than
//! the work done there. So the long lists grow by chunks of fixed length.

use std::ops::{Index, IndexMut};

use crate::prefetch;

/// Items of a chunk, as a power of two: 2 MiB of records, a large page.
const SHIFT: u32 = 16;
const LENGTH: usize = 1 << SHIFT;

/// Items in order of appearance; all chunks but the last are full.
#[derive(Debug, Clone)]
pub(crate) struct Chunks<T> {
    chunks: Vec<Vec<T>>,
}

impl<T> Chunks<T> {
    pub(crate) const fn new() -> Self {
        Self { chunks: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        match self.chunks.last() {
            Some(last) => (self.chunks.len() - 1) * LENGTH + last.len(),
            None => 0,
        }
    }

    pub(crate) fn push(&mut self, item: T) {
        match self.chunks.last_mut() {
            Some(last) if last.len() < LENGTH => last.push(item),
            // The first chunk grows as vectors do, for many lists stay short.
            None => self.chunks.push(vec![item]),
            Some(_) => {
                let mut chunk = Vec::with_capacity(LENGTH);
                chunk.push(item);
                self.chunks.push(chunk);
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }

    /// Starts to bring an item into the cache; does nothing if there is no such item.
    #[inline]
    pub(crate) fn prefetch(&self, place: u32) {
        if let Some(chunk) = self.chunks.get(place as usize >> SHIFT) {
            prefetch::read(chunk, place as usize % LENGTH);
        }
    }
}

impl<T> Index<u32> for Chunks<T> {
    type Output = T;

    #[inline]
    fn index(&self, place: u32) -> &T {
        &self.chunks[place as usize >> SHIFT][place as usize % LENGTH]
    }
}

impl<T> IndexMut<u32> for Chunks<T> {
    #[inline]
    fn index_mut(&mut self, place: u32) -> &mut T {
        &mut self.chunks[place as usize >> SHIFT][place as usize % LENGTH]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_stay_in_order_across_chunks() {
        let mut chunks = Chunks::new();
        let all = 0..2 * LENGTH as u32 + 3;
        for item in all.clone() {
            assert_eq!(chunks.len(), item as usize);
            chunks.push(item);
        }
        assert!(chunks.iter().copied().eq(all.clone()));
        assert!(all.clone().all(|place| chunks[place] == place));
        chunks[LENGTH as u32] = 7;
        assert_eq!(chunks[LENGTH as u32], 7);
    }
}
