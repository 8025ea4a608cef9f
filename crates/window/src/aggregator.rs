//! Applying batches: what one purchase does to the state.

use std::{collections::BTreeMap, sync::Arc};

use model::{Batch, BusinessDate, ItemId, Line, Offset, Purchase, StoreId, Timestamp};

use crate::{
    Config, Entity, FinalDay, Layout, Progress, SideOutput, WindowKind,
    chunks::Chunks,
    dedup::{Keys, Producers},
    entities::Entities,
    flush::Scratch,
    lists::Lists,
    pairs::{Pairs, Side},
    panes::{Entry, PaneNumber, Panes},
    records::WHOLE,
    slots::SlotSet,
};

/// The state of one partition: all counts, all lists, and what is needed to continue.
#[derive(Debug)]
pub struct Aggregator {
    pub(crate) config: Config,
    pub(crate) layout: Layout,
    pub(crate) progress: Progress,
    pub(crate) pairs: Pairs,
    /// The stores and the items, by [`Side`].
    pub(crate) sides: [Entities; 2],
    pub(crate) lists: Lists,
    pub(crate) panes: Panes,
    /// For each slot that belongs to an open day: the pairs sold that day.
    pub(crate) sold: Vec<Chunks<u32>>,
    pub(crate) days: Days,
    pub(crate) producers: Producers,
    pub(crate) keys: Keys,
    pub(crate) scratch: Scratch,
    ahead: Ahead,
}

/// How far ahead things are brought into the cache, in lines or entries.
const AHEAD: usize = 8;

/// What the lines of a batch look for, and which one is next.
#[derive(Debug, Default)]
struct Ahead {
    lines: Vec<Sought>,
    next: usize,
}

/// What one line looks for.
#[derive(Debug, Clone, Copy)]
struct Sought {
    item: u64,
    hash: u64,
    /// A guess, once it has been looked for; `None` if there was no such pair then.
    pair: Option<u32>,
}

/// The closed business days still kept, and what the next flush and snapshot say of them.
#[derive(Debug, Default)]
pub(crate) struct Days {
    pub(crate) kept: BTreeMap<BusinessDate, Arc<FinalDay>>,
    pub(crate) closed_unflushed: Vec<Arc<FinalDay>>,
    pub(crate) dropped_unflushed: Vec<BusinessDate>,
    pub(crate) closed_unsaved: Vec<Arc<FinalDay>>,
}

impl Days {
    /// Drops the days up to `date`. What had not been flushed or saved yet, as while a long stream is replayed, need
    /// not be any more.
    fn drop_until(&mut self, date: BusinessDate) {
        while let Some(day) = self.kept.first_entry().filter(|day| *day.key() <= date) {
            let dropped = day.remove();
            if !self.closed_unflushed.iter().any(|closed| Arc::ptr_eq(closed, &dropped)) {
                self.dropped_unflushed.push(dropped.date);
            }
        }
        for unseen in [&mut self.closed_unflushed, &mut self.closed_unsaved] {
            unseen.retain(|day| day.date > date);
        }
    }
}

/// What applying a batch did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// Purchases counted.
    pub purchases: u64,
    /// Lines counted, those of quantity 0 left out.
    pub lines: u64,
    /// Purchases passed over because their sequence had been applied before.
    pub duplicate_sequences: u64,
    /// Purchases passed over because their idempotency key had been counted before.
    pub duplicate_keys: u64,
    /// Purchases too late for a window, by [`WindowKind`] as index.
    pub late: [u64; 6],
    /// Business days closed.
    pub days_closed: u64,
}

/// How large the state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Stores known.
    pub stores: usize,
    /// Items known.
    pub items: usize,
    /// Pairs of a store and an item it sold.
    pub pairs: usize,
    /// Closed days kept.
    pub days: usize,
    /// Idempotency keys remembered.
    pub keys: usize,
    /// Bytes held for the pairs, their counts and their index.
    pub pair_bytes: usize,
    /// Bytes held in all, without the closed days.
    pub bytes: usize,
    /// Bytes held by the closed days.
    pub day_bytes: usize,
}

/// What one purchase counts for.
struct Slots {
    all: SlotSet,
    day: Option<usize>,
    /// The pane it goes to, if a sliding window covers it.
    pane: Option<PaneNumber>,
}

impl Aggregator {
    /// An empty state, before the first offset.
    ///
    /// # Panics
    /// If the configuration is not valid (see [`Config::validate`]).
    pub fn new(config: Config) -> Self {
        config.validate().expect("a valid configuration");
        let layout = Layout::new(&config);
        let slots = layout.slots();
        Self {
            progress: Progress::default(),
            pairs: Pairs::new(slots),
            sides: [Entities::new(slots), Entities::new(slots)],
            lists: Lists::new(config.k as usize, slots),
            panes: Panes::new(&layout),
            sold: vec![Chunks::new(); slots],
            days: Days::default(),
            producers: Producers::default(),
            keys: Keys::new(config.key_retention, config.max_keys),
            scratch: Scratch::default(),
            ahead: Ahead::default(),
            layout,
            config,
        }
    }

    /// An empty state that leaves out everything before `next`.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn starting_at(config: Config, next: Offset) -> Self {
        let mut state = Self::new(config);
        state.progress.next = next;
        state
    }

    /// The settings it was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How far it has come.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Applies the batch at `offset`.
    ///
    /// # Panics
    /// If `offset` is not the next one.
    pub fn apply(&mut self, offset: Offset, batch: &Batch, side: &mut impl SideOutput) -> Applied {
        assert_eq!(offset, self.progress.next, "batches are applied in order, each once");
        self.progress.next = offset.next();
        let mut applied = Applied::default();
        self.pass(batch.append_time);
        let now = self.progress.append_time.max(Some(batch.append_time)).unwrap_or_default();
        self.progress.append_time = Some(now);
        self.keys.expire(now);
        let again = self.producers.admit(batch);
        applied.duplicate_sequences = again as u64;
        let purchases = &batch.purchases[again..];
        let mut ahead = self.look_ahead(purchases);
        for (purchase, place) in purchases.iter().zip(again as u32..) {
            if purchase.key.is_none_or(|key| self.keys.insert(key, now)) {
                self.purchase((offset, place), purchase, &mut ahead, side, &mut applied);
            } else {
                ahead.next += purchase.lines.len();
                applied.duplicate_keys += 1;
            }
        }
        self.ahead = ahead;
        applied
    }

    /// What all lines look for.
    fn look_ahead(&mut self, purchases: &[Purchase]) -> Ahead {
        let mut ahead = std::mem::take(&mut self.ahead);
        ahead.next = 0;
        ahead.lines.clear();
        for purchase in purchases {
            let store = u64::from(purchase.store.0);
            let sought = |line: &Line| Sought {
                item: line.item.0,
                hash: self.pairs.hash(store, line.item.0),
                pair: None,
            };
            ahead.lines.extend(purchase.lines.iter().map(sought));
        }
        ahead
    }

    /// The next line, with its hash and the pair it very likely is. What the lines after it will
    /// touch is on its way to the cache then, one thing after the other, for each says where the next is:
    /// the place in the index, the pair, its store and item.
    #[inline]
    fn next_line(&self, ahead: &mut Ahead) -> Sought {
        let next = ahead.next;
        ahead.next += 1;
        if let Some(line) = ahead.lines.get(next + 3 * AHEAD) {
            self.pairs.prefetch_index(line.hash);
        }
        if let Some(line) = ahead.lines.get_mut(next + 2 * AHEAD) {
            line.pair = self.pairs.guess(line.hash);
            match line.pair {
                Some(pair) => self.pairs.prefetch(pair),
                None => self.sides[Side::Item as usize].prefetch_index(line.item),
            }
        }
        if let Some(line) = ahead.lines.get(next + AHEAD) {
            self.prefetch_entities(line);
        }
        ahead.lines[next]
    }

    #[inline]
    fn prefetch_entities(&self, line: &Sought) {
        if let Some(pair) = line.pair {
            for (entities, index) in self.sides.iter().zip(self.pairs.sides(pair)) {
                entities.prefetch(index);
            }
        } else {
            let items = &self.sides[Side::Item as usize];
            if let Some(item) = items.guess(line.item) {
                items.prefetch(item);
            }
        }
    }

    /// Passes over `offset`, whose record could not be read as a batch.
    ///
    /// # Panics
    /// If `offset` is not the next one.
    pub fn skip(&mut self, offset: Offset) {
        assert_eq!(offset, self.progress.next, "batches are applied in order, each once");
        self.progress.next = offset.next();
    }

    /// Event time moves on by as much as the append clock has moved, but not past it: event time that a purchase has
    /// set ahead stands until the append clock has come so far. Ticks see to it that this happens while nothing is
    /// sold, and purchases of the past, in whatever number, do not hold it up.
    fn pass(&mut self, appended: Timestamp) {
        if let (Some(clock), Some(before)) = (self.progress.clock, self.progress.append_time) {
            self.advance_clock(clock.plus(appended.since(before)).min(appended));
        }
    }

    fn purchase(
        &mut self,
        (offset, place): (Offset, u32),
        purchase: &Purchase,
        ahead: &mut Ahead,
        side: &mut impl SideOutput,
        applied: &mut Applied,
    ) {
        self.advance_clock(purchase.event_time);
        applied.days_closed += self.advance_date(purchase.date);
        applied.purchases += 1;
        let slots = self.slots_of(purchase, applied);
        if self.layout.keeps(WindowKind::Day) && slots.day.is_none() {
            side.late(offset, place, purchase);
        }
        let mut store = None;
        for line in &purchase.lines {
            let sought = self.next_line(ahead);
            if line.quantity > 0 {
                let store = *store.get_or_insert_with(|| self.store(purchase.store));
                self.line(sought, store, *line, &slots);
                applied.lines += 1;
            }
        }
        self.lists.refill(&mut self.pairs, &mut self.sides);
    }

    fn store(&mut self, store: StoreId) -> u32 {
        self.sides[Side::Store as usize].find_or_insert(u64::from(store.0))
    }

    /// Which slots a purchase counts for; notes those it is too late for.
    fn slots_of(&self, purchase: &Purchase, applied: &mut Applied) -> Slots {
        let mut slots = Slots { all: SlotSet::EMPTY, day: None, pane: None };
        if let Some(slot) = self.layout.slot(WindowKind::All) {
            slots.all.insert(slot);
        }
        if let Some(slot) = self.layout.day_slot(purchase.date) {
            let newest = self.progress.newest_date.unwrap_or(purchase.date);
            if self.layout.is_open(purchase.date, newest) {
                slots.all.insert(slot);
                slots.day = Some(slot);
            } else {
                applied.late[WindowKind::Day as usize] += 1;
            }
        }
        let pane = PaneNumber::of(purchase.event_time);
        for window in self.panes.windows() {
            if self.panes.covers(window, pane) {
                slots.all.insert(window.slot);
                slots.pane = Some(pane);
            } else {
                applied.late[window.kind as usize] += 1;
            }
        }
        slots
    }

    #[inline]
    fn line(&mut self, sought: Sought, store: u32, line: Line, slots: &Slots) {
        let (pair, item) = self.pair(sought, store);
        let (record, counts) = self.pairs.counted(pair);
        if let Some(pane) = slots.pane {
            let entry = Entry { pair, quantity: line.quantity };
            record.place = self.panes.add(pane, entry, record.place);
        }
        if let Some(slot) = slots.day
            && counts.count(record, slot) == 0
        {
            self.sold[slot].push(pair);
        }
        counts.add(record, &slots.all, line.quantity);
        for (entities, index) in self.sides.iter_mut().zip([store, item]) {
            entities.add(index, &slots.all, line.quantity.into());
        }
        self.lists.risen(&mut self.pairs, &mut self.sides, pair);
        self.pairs.mark_dirty(pair);
    }

    /// The pair and the item's index; both are made if there are none.
    #[inline]
    fn pair(&mut self, sought: Sought, store: u32) -> (u32, u32) {
        let [_, items] = &self.sides;
        let is_item = |index| items.id(index) == sought.item;
        let guessed = sought.pair.filter(|&pair| self.pairs.is(pair, store, is_item));
        match guessed.or_else(|| self.pairs.find(sought.hash, store, is_item)) {
            Some(pair) => (pair, self.pairs.side(pair, Side::Item)),
            None => self.new_pair(sought, store),
        }
    }

    fn new_pair(&mut self, sought: Sought, store: u32) -> (u32, u32) {
        let item = self.sides[Side::Item as usize].find_or_insert(sought.item);
        let pair = self.add_pair(sought.hash, [store, item]);
        for (side, index) in Side::BOTH.into_iter().zip([store, item]) {
            self.lists.grown(&mut self.pairs, &mut self.sides, side, index);
        }
        (pair, item)
    }

    /// Adds a pair that is not there yet, with counts of 0.
    pub(crate) fn add_pair(&mut self, hash: u64, sides: [u32; 2]) -> u32 {
        let pair = self.pairs.insert(hash, sides);
        for side in Side::BOTH {
            let before = self.sides[side as usize].add_pair(sides[side as usize], pair);
            self.pairs.set_chained(pair, side, before);
            if !self.sides[side as usize].has_tops(sides[side as usize]) {
                self.pairs.record_mut(pair).set_member(side, WHOLE, true);
            }
        }
        pair
    }

    /// Moves event time on to `time`, and lets go what the sliding windows no longer cover.
    fn advance_clock(&mut self, time: Timestamp) {
        if self.progress.clock.is_some_and(|clock| clock >= time) {
            return;
        }
        self.progress.clock = Some(time);
        self.progress.watermark = Some(time.minus(self.config.disorder));
        let Self { panes, pairs, sides, lists, .. } = self;
        panes.advance(PaneNumber::of(time), pairs.len(), |slot, entries| {
            for (place, &Entry { pair, quantity }) in entries.iter().enumerate() {
                if let Some(ahead) = entries.get(place + 2 * AHEAD) {
                    pairs.prefetch(ahead.pair);
                }
                if let Some(ahead) = entries.get(place + AHEAD) {
                    for (entities, index) in sides.iter().zip(pairs.sides(ahead.pair)) {
                        entities.prefetch_totals(index);
                    }
                }
                let (record, counts) = pairs.counted(pair);
                counts.subtract(record, slot, quantity);
                for (entities, index) in sides.iter_mut().zip(record.sides) {
                    entities.subtract(index, slot, quantity.into());
                }
                lists.fallen(pairs, sides, pair, slot);
                pairs.mark_dirty(pair);
            }
        });
        lists.refill(pairs, sides);
    }

    /// Takes note of a business date; gives how many days it closed.
    fn advance_date(&mut self, date: BusinessDate) -> u64 {
        let before = self.progress.newest_date;
        if before.is_some_and(|newest| newest >= date) {
            return 0;
        }
        self.progress.newest_date = Some(date);
        if !self.layout.keeps(WindowKind::Day) {
            return 0;
        }
        let closing: Vec<BusinessDate> = (before.into_iter())
            .flat_map(|newest| self.layout.open_dates(newest))
            .filter(|&open| !self.layout.is_open(open, date))
            .collect();
        for &open in &closing {
            self.close_day(open);
        }
        self.drop_passed();
        closing.len() as u64
    }

    /// Drops the closed days that are not kept any more.
    pub(crate) fn drop_passed(&mut self) {
        let Some(newest) = self.progress.newest_date.filter(|_| self.layout.keeps(WindowKind::Day))
        else {
            return;
        };
        let passed = newest.days() - self.config.day_retention_days as i32;
        let dropped = &mut self.progress.dropped_until;
        *dropped = BusinessDate::from_days(passed).max(*dropped);
        if let Some(date) = *dropped {
            self.days.drop_until(date);
        }
    }

    /// Keeps only the lists and the totals of a day, and frees its slot.
    fn close_day(&mut self, date: BusinessDate) {
        let Some(slot) = self.layout.day_slot(date) else { return };
        let sold = std::mem::replace(&mut self.sold[slot], Chunks::new());
        let day = Arc::new(FinalDay {
            date,
            stores: self.lists.finish(&self.pairs, &self.sides, Side::Store, slot, &sold),
            items: self.lists.finish(&self.pairs, &self.sides, Side::Item, slot, &sold),
        });
        for &pair in sold.iter() {
            self.pairs.set_count(pair, slot, 0);
            for (side, index) in Side::BOTH.into_iter().zip(self.pairs.sides(pair)) {
                let entities = &mut self.sides[side as usize];
                *entities.total_mut(index, slot) = 0;
                entities.touch(index);
                self.pairs.record_mut(pair).set_member(side, slot, false);
                self.lists.clear(entities, side, index, slot);
            }
            self.pairs.mark_dirty(pair);
        }
        self.days.kept.insert(date, day.clone());
        self.days.closed_unflushed.push(day.clone());
        self.days.closed_unsaved.push(day);
    }

    /// How large the state is. Takes time in proportion to the number of stores and items.
    pub fn stats(&self) -> Stats {
        let pair_bytes = self.pairs.bytes();
        let sides: usize = self.sides.iter().map(Entities::bytes).sum();
        let sold: usize = self.sold.iter().map(|sold| sold.len() * 4).sum();
        Stats {
            stores: self.sides[Side::Store as usize].len(),
            items: self.sides[Side::Item as usize].len(),
            pairs: self.pairs.len(),
            days: self.days.kept.len(),
            keys: self.keys.len(),
            pair_bytes,
            bytes: pair_bytes + sides + sold + self.panes.bytes() + self.keys.bytes(),
            day_bytes: self
                .days
                .kept
                .values()
                .map(|day| day.stores.bytes() + day.items.bytes())
                .sum(),
        }
    }

    /// Number of pairs known; cheap.
    pub fn pairs(&self) -> usize {
        self.pairs.len()
    }

    /// Number of entries in the panes: what the pairs sold, pane by pane; cheap.
    pub fn pane_entries(&self) -> usize {
        self.panes.len()
    }

    pub(crate) fn entity(&self, side: Side, index: u32) -> Entity {
        let id = self.sides[side as usize].id(index);
        match side {
            Side::Store => Entity::Store(StoreId(u32::try_from(id).expect("made from a store id"))),
            Side::Item => Entity::Item(ItemId(id)),
        }
    }
}
