//! Writing what a record says of entities and days.

use model::{BusinessDate, varint};
use window::{Entity, EntityUpdate, FinalIndex};

use super::codec::put_marks;

/// What goes into one record besides its header, in plain form.
#[derive(Debug, Default)]
pub(crate) struct Body {
    days: Vec<u8>,
    day_count: u64,
    entities: Vec<u8>,
    /// The rows of stores among the entities, which their items can share.
    rows: StoreRows,
    /// The entity to be added next.
    staged: Vec<u8>,
    staged_rows: Vec<StoreRow>,
    /// Places of the rows that it shares.
    shared: Vec<usize>,
    /// Places in the update of the rows that it does not.
    own: Vec<usize>,
}

/// A row of a store.
#[derive(Debug, Clone, Copy)]
struct StoreRow {
    item: u64,
    store: u64,
    /// Where the last byte of its bits is, which holds the mark for sharing.
    at: usize,
}

#[derive(Debug, Default)]
struct StoreRows {
    rows: Vec<StoreRow>,
    sorted: bool,
}

impl StoreRows {
    /// Those of one item, stores ascending.
    fn of(&mut self, item: u64) -> &[StoreRow] {
        if !self.sorted {
            self.rows.sort_unstable_by_key(|row| (row.item, row.store));
            self.sorted = true;
        }
        let from = self.rows.partition_point(|row| row.item < item);
        let behind = &self.rows[from..];
        &behind[..behind.iter().take_while(|row| row.item == item).count()]
    }
}

impl Body {
    /// Bytes of days and entities.
    pub(crate) fn len(&self) -> usize {
        self.days.len() + self.entities.len()
    }

    /// Forgets everything that has been added.
    pub(crate) fn clear(&mut self) {
        self.days.clear();
        self.day_count = 0;
        self.entities.clear();
        self.rows.rows.clear();
        self.rows.sorted = false;
    }

    /// Adds lists of a closed day: of its items, or else of its stores. `complete` tells that they
    /// are the last of the day.
    pub(crate) fn day(
        &mut self,
        date: BusinessDate,
        items: bool,
        complete: bool,
        lists: &FinalIndex,
    ) {
        varint::put_signed(&mut self.days, i64::from(date.days()));
        put_marks(&mut self.days, [items, complete, false]);
        lists.encode(&mut self.days);
        self.day_count += 1;
    }

    /// Writes an entity that [`Self::add_staged`] would add, as it would be written behind those that have
    /// been added; gives its bytes.
    pub(crate) fn stage(&mut self, update: &EntityUpdate<'_>) -> usize {
        self.staged.clear();
        self.staged_rows.clear();
        self.share(update);
        let Self { staged: out, own, shared, .. } = self;
        let (is_item, id) = match update.entity {
            Entity::Store(store) => (false, u64::from(store.0)),
            Entity::Item(item) => (true, item.0),
        };
        let EntityUpdate { replace, complete, totals, ids, counts, removed, .. } = *update;
        if complete && own.is_empty() && !shared.is_empty() && removed.is_empty() {
            return 0;
        }
        put_marks(out, [is_item, replace, complete]);
        varint::put(out, id);
        let slots = totals.len();
        if !complete {
            put_counts(out, totals);
        }
        varint::put(out, own.len() as u64);
        let mut before = 0;
        for &place in &*own {
            varint::put(out, ids[place] - before);
            before = ids[place];
            let at = put_counts(out, &counts[place * slots..][..slots]);
            if !is_item && !replace {
                self.staged_rows.push(StoreRow { item: before, store: id, at });
            }
        }
        put_ids(out, removed);
        out.len()
    }

    /// Tells the rows of an update that are there already from its own.
    fn share(&mut self, update: &EntityUpdate<'_>) {
        let Self { rows, shared, own, .. } = self;
        shared.clear();
        own.clear();
        let there = match update.entity {
            Entity::Item(item) if !update.replace => rows.of(item.0),
            _ => &[],
        };
        let mut there = there.iter().peekable();
        for (place, &id) in update.ids.iter().enumerate() {
            while there.next_if(|row| row.store < id).is_some() {}
            match there.next_if(|row| row.store == id) {
                Some(row) => shared.push(row.at),
                None => own.push(place),
            }
        }
    }

    /// Adds the entity staged last.
    pub(crate) fn add_staged(&mut self) {
        let from = self.entities.len();
        for &at in &self.shared {
            self.entities[at] |= SHARED;
        }
        self.entities.extend_from_slice(&self.staged);
        let rows = self.staged_rows.iter().map(|row| StoreRow { at: from + row.at, ..*row });
        self.rows.rows.extend(rows);
    }

    /// The plain form: days, dropped days, entities.
    pub(crate) fn put(&self, out: &mut Vec<u8>, dropped: &[BusinessDate]) {
        varint::put(out, self.day_count);
        out.extend_from_slice(&self.days);
        varint::put(out, dropped.len() as u64);
        for date in dropped {
            varint::put_signed(out, i64::from(date.days()));
        }
        out.extend_from_slice(&self.entities);
    }
}

/// Set in the last byte of the bits of a row of a store that is one of the item as well.
pub(crate) const SHARED: u8 = 0x80;

/// Bytes of the bits of a row: one for each slot, and one for sharing.
pub(crate) const fn bit_bytes(slots: usize) -> usize {
    (slots + 1).div_ceil(8)
}

/// Appends counts; gives where the last byte of the bits is.
fn put_counts(out: &mut Vec<u8>, counts: &[u64]) -> usize {
    let (mut bits, mut last) = (0_u64, 0);
    for (slot, &count) in counts.iter().enumerate() {
        bits |= u64::from(count != last) << slot;
        last = if count == 0 { last } else { count };
    }
    let bytes = bit_bytes(counts.len());
    out.extend_from_slice(&bits.to_le_bytes()[..bytes]);
    let at = out.len() - 1;
    for (slot, &count) in counts.iter().enumerate() {
        if bits >> slot & 1 == 1 {
            varint::put(out, count);
        }
    }
    at
}

fn put_ids(out: &mut Vec<u8>, ids: &[u64]) {
    varint::put(out, ids.len() as u64);
    let mut before = 0;
    for &id in ids {
        varint::put(out, id - before);
        before = id;
    }
}
