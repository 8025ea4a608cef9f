//! Reading what a record says of entities and days.

use std::ops::Range;

use model::{
    BusinessDate, ItemId, StoreId,
    varint::{self, VarintError},
};
use window::{Entity, FinalIndex, Progress};

use super::{
    body::{SHARED, bit_bytes},
    codec::{FeedError, FlushKind, Header, date, take_count, take_marks},
};
use crate::cell::{Change, Totals};

/// Lists of a closed day, as taken from a record.
#[derive(Debug)]
pub(crate) struct DayPiece {
    pub(crate) date: BusinessDate,
    /// Whether these are lists of items, not of stores.
    pub(crate) items: bool,
    /// Whether the day ends here.
    pub(crate) complete: bool,
    pub(crate) lists: FinalIndex,
}

/// What a record says, all of which has been looked at, so that it can be applied to its end. Its buffers are
/// used again for the next. Of each two plain bytes it holds at most the counts of one row.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) days: Vec<DayPiece>,
    pub(crate) dropped: Vec<BusinessDate>,
    slots: usize,
    entities: Vec<Values>,
    /// Totals of the entities that are not complete, rows of all, and ids of the rows removed.
    totals: Vec<u64>,
    rows: Rows,
    removed: Vec<u64>,
    /// The rows of stores that their items share, by item.
    shared: Vec<Shared>,
    /// The rows of an item that shares some.
    merged: Rows,
}

#[derive(Debug, Default)]
struct Rows {
    ids: Vec<u64>,
    counts: Vec<u64>,
}

/// Where the values of an entity are.
#[derive(Debug)]
struct Values {
    entity: Entity,
    replace: bool,
    totals: Option<Range<usize>>,
    rows: Range<usize>,
    removed: Range<usize>,
    shared: Range<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Shared {
    item: u64,
    store: u64,
    row: usize,
}

impl Contents {
    /// Reads the plain form.
    pub(crate) fn take(
        &mut self,
        mut rest: &[u8],
        header: &Header,
        slots: usize,
    ) -> Result<(), FeedError> {
        self.slots = slots;
        self.clear();
        self.take_days(&mut rest)?;
        for _ in 0..take_count(&mut rest, 1)? {
            self.dropped.push(date(varint::take_signed(&mut rest)?)?);
        }
        if !self.dropped.is_empty() && !header.last {
            return Err(FeedError::Malformed("days are dropped before the end of a flush"));
        }
        while !rest.is_empty() {
            let values = self.take_entity(&mut rest)?;
            if !values.replace && header.kind == FlushKind::Keyframe {
                return Err(FeedError::Malformed("an entity of a keyframe does not replace"));
            }
            self.entities.push(values);
        }
        self.hand_out_shared()
    }

    fn clear(&mut self) {
        self.days.clear();
        self.dropped.clear();
        self.entities.clear();
        self.totals.clear();
        self.rows.clear();
        self.removed.clear();
        self.shared.clear();
    }

    fn take_days(&mut self, rest: &mut &[u8]) -> Result<(), FeedError> {
        // A date, a mark and a count at least.
        for _ in 0..take_count(rest, 3)? {
            let date = date(varint::take_signed(rest)?)?;
            let [items, complete] = take_marks(rest)?;
            if complete && !items {
                return Err(FeedError::Malformed("a closed day ends without its items"));
            }
            self.days.push(DayPiece { date, items, complete, lists: FinalIndex::decode(rest)? });
        }
        Ok(())
    }

    fn take_entity(&mut self, rest: &mut &[u8]) -> Result<Values, FeedError> {
        let slots = self.slots;
        let [is_item, replace, complete] = take_marks(rest)?;
        let entity = if is_item {
            Entity::Item(ItemId(varint::take(rest)?))
        } else {
            Entity::Store(StoreId(varint::take_u32(rest)?))
        };
        let first_total = self.totals.len();
        if !complete && take_counts(rest, slots, &mut self.totals)? {
            return Err(NOT_SHARED);
        }
        let first = self.rows.ids.len();
        for _ in 0..take_count(rest, 1 + bit_bytes(slots))? {
            take_id(rest, &mut self.rows.ids, first)?;
            if take_counts(rest, slots, &mut self.rows.counts)? {
                let Entity::Store(StoreId(store)) = entity else { return Err(NOT_SHARED) };
                let (row, store) = (self.rows.ids.len() - 1, u64::from(store));
                self.shared.push(Shared { item: self.rows.ids[row], store, row });
            }
        }
        let first_removed = self.removed.len();
        for _ in 0..take_count(rest, 1)? {
            take_id(rest, &mut self.removed, first_removed)?;
        }
        let removed = first_removed..self.removed.len();
        if (replace || complete) && !removed.is_empty() {
            return Err(FeedError::Malformed("rows are removed of an entity that has none or all"));
        }
        let totals = (!complete).then_some(first_total..self.totals.len());
        let rows = first..self.rows.ids.len();
        Ok(Values { entity, replace, totals, rows, removed, shared: 0..0 })
    }

    /// Gives the shared rows to their items: those that are there, and others, which are complete.
    fn hand_out_shared(&mut self) -> Result<(), FeedError> {
        if self.shared.is_empty() {
            return Ok(());
        }
        self.shared.sort_unstable_by_key(|shared| (shared.item, shared.store));
        let mut taken = Vec::new();
        for at in 0..self.entities.len() {
            let shared = self.share_with(at)?;
            if !shared.is_empty() {
                taken.push(shared);
            }
        }
        taken.sort_unstable_by_key(|shared| shared.start);
        if taken.windows(2).any(|items| items[0].start == items[1].start) {
            return Err(FeedError::Malformed("an item that shares rows is there twice"));
        }
        self.add_others(taken);
        Ok(())
    }

    /// Gives an item that is there its shared rows; gives which.
    fn share_with(&mut self, at: usize) -> Result<Range<usize>, FeedError> {
        let Values { entity: Entity::Item(ItemId(item)), replace, .. } = self.entities[at] else {
            return Ok(0..0);
        };
        let from = self.shared.partition_point(|shared| shared.item < item);
        let shared = from..from + self.same_item(from, item);
        let values = &mut self.entities[at];
        let own = [&self.rows.ids[values.rows.clone()], &self.removed[values.removed.clone()]];
        for one in &self.shared[shared.clone()] {
            if own.iter().any(|ids| ids.binary_search(&one.store).is_ok()) {
                return Err(TWICE);
            }
        }
        if replace && !shared.is_empty() {
            return Err(NOT_SHARED);
        }
        values.shared = shared.clone();
        Ok(shared)
    }

    /// How many shared rows, from place `from` on, are of `item`.
    fn same_item(&self, from: usize, item: u64) -> usize {
        self.shared[from..].iter().take_while(|shared| shared.item == item).count()
    }

    /// Adds the items that are there only by the rows they share: those whose rows are not `taken`.
    fn add_others(&mut self, taken: Vec<Range<usize>>) {
        let (mut taken, mut at) = (taken.into_iter().peekable(), 0);
        while let Some(&Shared { item, .. }) = self.shared.get(at) {
            let shared = at..at + self.same_item(at, item);
            at = shared.end;
            if taken.next_if(|taken| taken.start == shared.start).is_some() {
                continue;
            }
            self.entities.push(Values {
                entity: Entity::Item(ItemId(item)),
                replace: false,
                totals: None,
                rows: 0..0,
                removed: 0..0,
                shared,
            });
        }
    }

    /// Gives all entities, with the stamp and the progress of the flush.
    pub(crate) fn entities(
        &mut self,
        progress: &Progress,
        mut give: impl FnMut(Entity, &Change<'_>),
    ) {
        let Self { slots, entities, totals, rows, removed, shared, merged, .. } = self;
        for values in &*entities {
            let (ids, counts) = if values.shared.is_empty() {
                rows.range(&values.rows, *slots)
            } else {
                merged.merge(rows, &values.rows, &shared[values.shared.clone()], *slots);
                (&*merged.ids, &*merged.counts)
            };
            let change = Change {
                stamp: progress.next,
                progress,
                replace: values.replace,
                totals: (values.totals.clone())
                    .map_or(Totals::Summed, |at| Totals::Given(&totals[at])),
                ids,
                counts,
                removed: &removed[values.removed.clone()],
            };
            give(values.entity, &change);
        }
    }
}

impl Rows {
    fn clear(&mut self) {
        self.ids.clear();
        self.counts.clear();
    }

    fn range(&self, rows: &Range<usize>, slots: usize) -> (&[u64], &[u64]) {
        (&self.ids[rows.clone()], &self.counts[rows.start * slots..rows.end * slots])
    }

    /// Becomes the rows `own` of `all`, and those that are shared, by ascending id.
    fn merge(&mut self, all: &Self, own: &Range<usize>, shared: &[Shared], slots: usize) {
        self.clear();
        let mut own = own.clone().peekable();
        let mut push = |id, row: usize| {
            self.ids.push(id);
            self.counts.extend_from_slice(&all.counts[row * slots..][..slots]);
        };
        for one in shared {
            while let Some(row) = own.next_if(|&row| all.ids[row] < one.store) {
                push(all.ids[row], row);
            }
            push(one.store, one.row);
        }
        own.for_each(|row| push(all.ids[row], row));
    }
}

const NOT_SHARED: FeedError =
    FeedError::Malformed("only rows of stores are shared, with items that are not replaced");
const TWICE: FeedError = FeedError::Malformed("an id is there twice");

/// Appends `slots` counts; gives whether they are shared.
fn take_counts(rest: &mut &[u8], slots: usize, counts: &mut Vec<u64>) -> Result<bool, FeedError> {
    let bytes = bit_bytes(slots);
    let (marks, behind) = rest.split_at_checked(bytes).ok_or(VarintError::Truncated)?;
    *rest = behind;
    let mut bits = marks.iter().rev().fold(0_u64, |bits, &byte| bits << 8 | u64::from(byte));
    let shared = marks[bytes - 1] & SHARED != 0;
    bits &= !(u64::from(SHARED) << (8 * (bytes - 1)));
    if bits >> slots != 0 {
        return Err(FeedError::Malformed("a slot is out of range"));
    }
    let mut last = 0;
    for slot in 0..slots {
        if bits >> slot & 1 == 0 {
            counts.push(last);
            continue;
        }
        let count = varint::take(rest)?;
        if count == last {
            return Err(FeedError::Malformed("a count is marked as different and is not"));
        }
        last = if count == 0 { last } else { count };
        counts.push(count);
    }
    Ok(shared)
}

/// Appends the next of ascending ids, those of the entity from `first` on.
fn take_id(rest: &mut &[u8], ids: &mut Vec<u64>, first: usize) -> Result<(), FeedError> {
    let step = varint::take(rest)?;
    let id = match ids[first..].last() {
        None => step,
        Some(_) if step == 0 => return Err(TWICE),
        Some(last) => last.checked_add(step).ok_or(VarintError::Malformed)?,
    };
    ids.push(id);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use model::{Offset, Partition};
    use proptest::{collection, prelude::*};
    use window::{Config, EntityUpdate, Settings};

    use super::*;
    use crate::feed::{body::Body, codec::WriterId};

    /// What is handed on of one entity: totals unless it is complete, rows, ids of rows removed.
    type Said = (Option<Vec<u64>>, BTreeMap<u64, Vec<u64>>, Vec<u64>);

    /// A pair that has changed, and whether its counts are a row of the store, and of the item.
    #[derive(Debug, Clone)]
    struct Pair {
        counts: Vec<u64>,
        row_of: [bool; 2],
    }

    fn pairs(slots: usize) -> impl Strategy<Value = BTreeMap<(u32, u64), Pair>> {
        let count = prop_oneof![6 => 0_u64..3, 2 => 0_u64..300, 1 => any::<u64>()];
        let pair = (collection::vec(count, slots), any::<[bool; 2]>())
            .prop_map(|(counts, row_of)| Pair { counts, row_of });
        let item = prop_oneof![9 => 0_u64..9, 1 => any::<u64>()];
        collection::btree_map((0_u32..9, item), pair, 0..60)
    }

    /// Stores, then items, each with what is said of it: a row that is none is one to be removed, unless the
    /// entity is complete.
    fn said(pairs: &BTreeMap<(u32, u64), Pair>, complete: u64) -> Vec<(Entity, Said)> {
        let mut said: BTreeMap<Entity, Said> = BTreeMap::new();
        for (&(store, item), pair) in pairs {
            let sides =
                [(Entity::Store(StoreId(store)), item), (Entity::Item(ItemId(item)), store.into())];
            for (side, (entity, id)) in sides.into_iter().enumerate() {
                let is_complete = complete >> (id_of(entity) % 16 + 16 * side as u64) & 1 == 1;
                let (totals, rows, removed) = said.entry(entity).or_default();
                *totals = (!is_complete).then(|| pair.counts.clone());
                if is_complete || pair.row_of[side] {
                    rows.insert(id, pair.counts.clone());
                } else {
                    removed.push(id);
                }
            }
        }
        said.into_iter().collect()
    }

    fn id_of(entity: Entity) -> u64 {
        match entity {
            Entity::Store(store) => store.0.into(),
            Entity::Item(item) => item.0,
        }
    }

    fn header() -> Header {
        Header {
            kind: FlushKind::Delta { from: Offset(0) },
            last: false,
            writer: WriterId(1),
            settings: Settings::of(&Config::default()),
            partition: Partition(0),
            flush: 0,
            part: 0,
            progress: Progress::default(),
            keyframe: None,
        }
    }

    /// The plain forms of records that say it, cut where they are longer than `target` bytes.
    fn written(all: &[(Entity, Said)], slots: usize, target: usize) -> Vec<Vec<u8>> {
        let (mut body, mut plain) = (Body::default(), Vec::new());
        let mut end = |body: &mut Body| {
            plain.push(Vec::new());
            body.put(plain.last_mut().expect("just pushed"), &[]);
            body.clear();
        };
        for (entity, (totals, rows, removed)) in all {
            let zero = vec![0; slots];
            let update = EntityUpdate {
                entity: *entity,
                stamp: Offset(0),
                progress: &Progress::default(),
                replace: false,
                complete: totals.is_none(),
                totals: totals.as_ref().unwrap_or(&zero),
                ids: &rows.keys().copied().collect::<Vec<_>>(),
                counts: &rows.values().flatten().copied().collect::<Vec<_>>(),
                removed,
            };
            if body.stage(&update) + body.len() > target {
                end(&mut body);
                body.stage(&update);
            }
            body.add_staged();
        }
        end(&mut body);
        plain
    }

    fn read(plain: &[Vec<u8>], slots: usize) -> Vec<(Entity, Said)> {
        let (mut contents, mut read) = (Contents::default(), Vec::new());
        for plain in plain {
            contents.take(plain, &header(), slots).expect("as it was written");
            contents.entities(&Progress::default(), |entity, change| {
                let totals = match change.totals {
                    Totals::Given(totals) => Some(totals.to_vec()),
                    Totals::Summed => None,
                };
                assert!(change.ids.is_sorted());
                let counts = change.counts.chunks_exact(slots).map(<[u64]>::to_vec);
                let rows = change.ids.iter().copied().zip(counts).collect();
                read.push((entity, (totals, rows, change.removed.to_vec())));
            });
        }
        read
    }

    proptest! {
        /// However the records are cut: each entity is in one of them, with what was said of it.
        #[test]
        fn what_is_read_is_what_was_written(
            (slots, pairs) in prop_oneof![Just(1), Just(7), Just(12)]
                .prop_flat_map(|slots| (Just(slots), pairs(slots))),
            complete in any::<u64>(),
            target in prop_oneof![0_usize..400, Just(1 << 20)],
        ) {
            let said = said(&pairs, complete);
            let plain = written(&said, slots, target);
            let mut read = read(&plain, slots);
            read.sort_by_key(|&(entity, _)| entity);
            prop_assert_eq!(read, said);
        }

        /// In one record, no counts are said twice.
        #[test]
        fn a_row_of_both_sides_is_said_once(pairs in pairs(7)) {
            let said = said(&pairs, u64::MAX);
            let plain = written(&said, 7, 1 << 20);
            let mut contents = Contents::default();
            contents.take(&plain[0], &header(), 7).expect("as it was written");
            let stores: BTreeSet<u32> = pairs.keys().map(|&(store, _)| store).collect();
            prop_assert_eq!(contents.rows.ids.len(), pairs.len());
            prop_assert!(contents.entities.len() >= stores.len());
        }
    }

    #[test]
    fn a_row_cannot_be_shared_with_an_item_that_says_otherwise() {
        // Store 1 with row 2, shared; item 2 with row 1, removed or its own.
        let store = [0, 0, 4, 1, 1, 2, 0x81, 5, 0];
        for item in [&[1, 2, 0, 0, 1, 1][..], &[5, 2, 1, 1, 1, 5, 0]] {
            let plain = [&store, item].concat();
            let refused = Contents::default().take(&plain, &header(), 1);
            assert_eq!(refused, Err(TWICE), "{plain:?}");
        }
        // Item 2 shares it, twice.
        let item = [5, 2, 0, 0];
        let refused = Contents::default().take(&[&store[..], &item, &item].concat(), &header(), 1);
        assert!(matches!(refused, Err(FeedError::Malformed(_))));
        // A row of an item is not shared.
        let item = [0, 0, 5, 2, 1, 1, 0x81, 5, 0];
        assert_eq!(Contents::default().take(&item, &header(), 1), Err(NOT_SHARED));
    }
}
