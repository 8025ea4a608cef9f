//! A set of small numbers.

/// A bit for each number below a length: they come in order without being sorted, and all of it stays in the cache.
#[derive(Debug, Default)]
pub(crate) struct BitSet {
    words: Vec<u64>,
}

impl BitSet {
    /// Makes room for the numbers below `length`, which only grows.
    pub(crate) fn grow(&mut self, length: usize) {
        self.words.resize(length.div_ceil(u64::BITS as usize), 0);
    }

    /// Adds a number for which there is room.
    #[inline]
    pub(crate) fn insert(&mut self, number: u32) {
        self.words[number as usize / u64::BITS as usize] |= 1 << (number % u64::BITS);
    }

    /// Takes all numbers out, ascending.
    pub(crate) fn take(&mut self, mut each: impl FnMut(u32)) {
        for (place, word) in self.words.iter_mut().enumerate() {
            let mut left = std::mem::take(word);
            while left != 0 {
                each(place as u32 * u64::BITS + left.trailing_zeros());
                left &= left - 1;
            }
        }
    }

    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<u64>() * self.words.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_comes_out_once_and_in_order() {
        let (mut set, mut taken) = (BitSet::default(), Vec::new());
        set.grow(200);
        for number in [199, 0, 64, 63, 64, 5] {
            set.insert(number);
        }
        set.grow(1000);
        set.insert(999);
        set.take(|number| taken.push(number));
        assert_eq!(taken, [0, 5, 63, 64, 199, 999]);
        set.take(|number| panic!("{number} has been taken"));
    }
}
