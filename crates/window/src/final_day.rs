//! Closed business days: only their lists and totals, packed.

use model::{
    BusinessDate,
    varint::{self, VarintError},
};

/// An entry of a list: an id and its count.
pub type Entry = (u64, u64);

/// A closed business day in one partition: for each store and each item sold that day, its total and
/// its top list. Immutable, and packed, for many days are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalDay {
    /// Which day.
    pub date: BusinessDate,
    /// The lists of the stores: their top items.
    pub stores: FinalIndex,
    /// The lists of the items: their top stores.
    pub items: FinalIndex,
}

/// The final lists of all stores, or of all items.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FinalIndex {
    ids: Vec<u64>,
    totals: Vec<u64>,
    ends: Vec<u64>,
    packed: Vec<u8>,
}

impl FinalIndex {
    /// Adds the list of the next entity: ids of entities must ascend; `list` is in rank order.
    ///
    /// # Panics
    /// If `id` is not greater than the one before.
    pub fn push(&mut self, id: u64, total: u64, list: &[Entry]) {
        assert!(self.ids.last().is_none_or(|&last| last < id), "entities must ascend");
        for &(entry, count) in list {
            varint::put(&mut self.packed, entry);
            varint::put(&mut self.packed, count);
        }
        self.ids.push(id);
        self.totals.push(total);
        self.ends.push(self.packed.len() as u64);
    }

    /// Total and list (in rank order) of an entity; `None` if it sold nothing that day.
    pub fn get(&self, id: u64) -> Option<(u64, Vec<Entry>)> {
        let place = self.ids.binary_search(&id).ok()?;
        let start = self.start(place) as usize;
        let mut rest = &self.packed[start..self.ends[place] as usize];
        let mut list = Vec::new();
        while let (Ok(entry), Ok(count)) = (varint::take(&mut rest), varint::take(&mut rest)) {
            list.push((entry, count));
        }
        Some((self.totals[place], list))
    }

    /// Total of an entity; `None` if it sold nothing that day.
    pub fn total(&self, id: u64) -> Option<u64> {
        Some(self.totals[self.ids.binary_search(&id).ok()?])
    }

    /// All entities with their totals, ids ascending.
    pub fn totals(&self) -> impl ExactSizeIterator<Item = Entry> + '_ {
        self.ids.iter().copied().zip(self.totals.iter().copied())
    }

    /// Appends the form that [`FinalIndex::decode`] reads.
    pub fn encode(&self, out: &mut Vec<u8>) {
        varint::put(out, self.ids.len() as u64);
        let mut before = (0, 0);
        for ((&id, &total), &end) in self.ids.iter().zip(&self.totals).zip(&self.ends) {
            varint::put(out, id - before.0);
            varint::put(out, total);
            varint::put(out, end - before.1);
            before = (id, end);
        }
        out.extend_from_slice(&self.packed);
    }

    /// Takes what [`FinalIndex::encode`] wrote off the front of `bytes`.
    ///
    /// # Errors
    /// [`VarintError`] if the bytes are not such a form.
    pub fn decode(bytes: &mut &[u8]) -> Result<Self, VarintError> {
        let mut index = Self::default();
        let (mut id, mut end) = (0_u64, 0_u64);
        for place in 0..varint::take(bytes)? {
            let step = varint::take(bytes)?;
            if place > 0 && step == 0 {
                return Err(VarintError::Malformed);
            }
            id = id.checked_add(step).ok_or(VarintError::Malformed)?;
            index.ids.push(id);
            index.totals.push(varint::take(bytes)?);
            end = end.checked_add(varint::take(bytes)?).ok_or(VarintError::Malformed)?;
            index.ends.push(end);
        }
        let length = usize::try_from(end).map_err(|_| VarintError::Malformed)?;
        let (packed, rest) = bytes.split_at_checked(length).ok_or(VarintError::Truncated)?;
        index.packed = packed.to_vec();
        *bytes = rest;
        Ok(index)
    }

    /// Cuts it into consecutive parts of about `bytes` encoded; [`FinalIndex::append`] puts them
    /// together again. At least one.
    pub fn pieces(&self, bytes: usize) -> impl Iterator<Item = Self> + '_ {
        let mut from = Some(0);
        std::iter::from_fn(move || {
            let first = from?;
            let start = self.start(first);
            // What is stored of an entity besides its list, at most three numbers.
            let size = |end: usize| (self.start(end) - start) as usize + 30 * (end - first);
            let more =
                (first + 1..self.ids.len()).take_while(|&end| size(end + 1) <= bytes).count();
            let end = (first + 1 + more).min(self.ids.len());
            from = Some(end).filter(|&end| end < self.ids.len());
            Some(Self {
                ids: self.ids[first..end].to_vec(),
                totals: self.totals[first..end].to_vec(),
                ends: self.ends[first..end].iter().map(|end| end - start).collect(),
                packed: self.packed[start as usize..self.start(end) as usize].to_vec(),
            })
        })
    }

    /// Adds the lists of `next`, whose entities must all come after those here.
    ///
    /// # Errors
    /// [`VarintError::Malformed`] if they do not; nothing is added then.
    pub fn append(&mut self, next: &Self) -> Result<(), VarintError> {
        if let (Some(last), Some(first)) = (self.ids.last(), next.ids.first())
            && last >= first
        {
            return Err(VarintError::Malformed);
        }
        let start = self.packed.len() as u64;
        self.ids.extend_from_slice(&next.ids);
        self.totals.extend_from_slice(&next.totals);
        self.ends.extend(next.ends.iter().map(|end| start + end));
        self.packed.extend_from_slice(&next.packed);
        Ok(())
    }

    /// Where the list of the entity at `place` starts.
    fn start(&self, place: usize) -> u64 {
        place.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        24 * self.ids.len() + self.packed.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_back_as_they_were_pushed() {
        let mut index = FinalIndex::default();
        index.push(0, 5, &[(9, 3), (2, 2)]);
        index.push(7, 0, &[]);
        index.push(u64::MAX, u64::MAX, &[(u64::MAX, u64::MAX)]);
        let mut bytes = Vec::new();
        index.encode(&mut bytes);
        let mut rest = bytes.as_slice();
        let read = FinalIndex::decode(&mut rest).unwrap();
        assert_eq!((&read, rest.len()), (&index, 0));
        assert_eq!(read.get(0), Some((5, vec![(9, 3), (2, 2)])));
        assert_eq!(read.get(7), Some((0, vec![])));
        assert_eq!(read.get(8), None);
        assert_eq!(read.totals().map(|(id, _)| id).collect::<Vec<_>>(), [0, 7, u64::MAX]);
        for end in 0..bytes.len() {
            assert!(FinalIndex::decode(&mut &bytes[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn pieces_put_together_are_the_whole() {
        let mut index = FinalIndex::default();
        for id in 0..50 {
            let list: Vec<Entry> = (0..id % 7).map(|entry| (entry, 1 + entry)).collect();
            index.push(3 * id, id, &list);
        }
        for (bytes, count) in [(0, 50), (200, 10), (1 << 20, 1)] {
            let pieces: Vec<FinalIndex> = index.pieces(bytes).collect();
            assert!(pieces.len() >= count && (bytes > 0 || pieces.len() == count), "{bytes}");
            let mut whole = FinalIndex::default();
            for piece in &pieces {
                whole.append(piece).unwrap();
            }
            assert_eq!(whole, index);
            assert_eq!(whole.append(&pieces[0]), Err(VarintError::Malformed));
            assert_eq!(whole, index);
        }
        assert_eq!(FinalIndex::default().pieces(9).collect::<Vec<_>>(), [FinalIndex::default()]);
    }
}
