//! What each client sends next.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use model::{BusinessDate, CustomerId, ItemId, Line, StoreId};
use parking_lot::Mutex;
use random::Random;
use tokio::sync::{Notify, watch};

use super::{
    LoadArgs,
    request::{Excerpt, Request},
    schedule::Schedule,
    zipf::Zipf,
};
use crate::{
    Basket,
    shopping_day::{HOURS, Plan},
};

/// Items in each purchase of the seeding.
const SEED_ITEMS: u32 = 20;

/// Requests of a mix: a pure function of the settings, the seed and the number of the request.
#[derive(Debug)]
pub(crate) struct Mix {
    stores: Zipf,
    items: Zipf,
    get_share: f64,
    items_per_purchase: u32,
    customers: u32,
    date: BusinessDate,
    seed: u64,
    run: String,
    known: Known,
}

impl Mix {
    pub(crate) fn new(args: &LoadArgs, run: &str) -> Self {
        let items = args.items();
        Self {
            stores: Zipf::new(args.mix.stores, args.mix.zipf),
            items: Zipf::new(items, args.mix.zipf),
            get_share: args.get_share(),
            items_per_purchase: args.mix.items_per_purchase,
            customers: args.mix.customers_per_store,
            date: args.date(),
            seed: args.mix.seed,
            run: run.to_owned(),
            known: Known::new(args.mix.stores, items),
        }
    }

    /// Ids that the server is known to have lists of.
    pub(crate) fn known(&self) -> &Known {
        &self.known
    }

    /// Request `number`.
    pub(crate) fn request(&self, number: u64) -> Request {
        let mut random = Random::stream(self.seed, number);
        if random.unit() >= self.get_share {
            let key = format!("{}-{number}", self.run);
            return Request::Post(self.purchase(&mut random, key));
        }
        if random.chance(2) {
            Request::StoreItems(StoreId(self.stores.draw(&mut random)))
        } else {
            Request::ItemStores(ItemId(u64::from(self.items.draw(&mut random))))
        }
    }

    fn purchase(&self, random: &mut Random, key: String) -> Basket {
        let store = self.stores.draw(random);
        let lines = (0..self.items_per_purchase).map(|_| self.items.draw(random)).collect();
        self.basket(store, random, lines, key)
    }

    fn basket(&self, store: u32, random: &mut Random, items: Vec<u32>, key: String) -> Basket {
        let customer = random.below(u64::from(self.customers)) as u32;
        let line = |item| Line { item: ItemId(u64::from(item)), quantity: 1 };
        Basket {
            store: StoreId(store),
            customer: CustomerId(store.wrapping_mul(1000).wrapping_add(customer)),
            date: self.date,
            occurred_at: None,
            key,
            lines: items.into_iter().map(line).collect(),
        }
    }

    /// Purchases sent before anything is measured: all stores and all items once, then `more` as popular
    /// as they will be.
    pub(crate) fn seeding(
        &self,
        stores: u32,
        items: u32,
        more: u32,
    ) -> impl Iterator<Item = Basket> {
        let cover = stores.max(items.div_ceil(SEED_ITEMS));
        (0..cover + more).map(move |number| {
            // No stream of a request: those count from 0 and never get here.
            let mut random = Random::stream(self.seed, u64::MAX / 2 + u64::from(number));
            let key = format!("{}-seed-{number}", self.run);
            if number >= cover {
                return self.purchase(&mut random, key);
            }
            let first = u64::from(number) * u64::from(SEED_ITEMS);
            let item = |place| ((first + place) % u64::from(items)) as u32 + 1;
            let sold = (0..u64::from(SEED_ITEMS.min(items))).map(item).collect();
            self.basket(number % stores + 1, &mut random, sold, key)
        })
    }
}

/// Ids that the server is known to have lists of: a 404 for one of them is wrong. Those that were sold a moment ago
/// are not among them: an answer may be that much behind.
#[derive(Debug)]
pub(crate) struct Known {
    stores: Bits,
    items: Bits,
}

impl Known {
    fn new(stores: u32, items: u32) -> Self {
        Self { stores: Bits::new(stores), items: Bits::new(items) }
    }

    /// `basket` is known to show, or is waited for before anything is asked.
    pub(crate) fn sold(&self, basket: &Basket) {
        self.stores.set(u64::from(basket.store.0));
        for line in basket.lines.iter().filter(|line| line.quantity > 0) {
            self.items.set(line.item.0);
        }
    }

    /// A request was answered as the contract has it.
    pub(crate) fn answered(&self, request: &Request) {
        match request {
            Request::StoreItems(store) => self.stores.set(u64::from(store.0)),
            Request::ItemStores(item) => self.items.set(item.0),
            Request::Post(_) | Request::Bulk(_) => {}
        }
    }

    pub(crate) fn has(&self, request: &Request) -> bool {
        match request {
            Request::StoreItems(store) => self.stores.get(u64::from(store.0)),
            Request::ItemStores(item) => self.items.get(item.0),
            Request::Post(_) | Request::Bulk(_) => true,
        }
    }
}

#[derive(Debug)]
struct Bits(Vec<AtomicU64>);

impl Bits {
    /// For numbers from 0 to `greatest`.
    fn new(greatest: u32) -> Self {
        Self((0..=greatest / 64).map(|_| AtomicU64::new(0)).collect())
    }

    fn set(&self, number: u64) {
        if let Some(word) = self.0.get((number / 64) as usize) {
            let bit = 1 << (number % 64);
            // A plain look first: the word is shared by all threads, and mostly set already.
            if word.load(Ordering::Relaxed) & bit == 0 {
                word.fetch_or(bit, Ordering::Relaxed);
            }
        }
    }

    fn get(&self, number: u64) -> bool {
        let word = self.0.get((number / 64) as usize);
        word.is_some_and(|word| word.load(Ordering::Relaxed) & (1 << (number % 64)) != 0)
    }
}

/// A shopping day: what its clients share.
#[derive(Debug)]
pub(crate) struct Day {
    plan: Plan,
    /// The most hours any store has sent.
    hours_sent: watch::Sender<u32>,
}

impl Day {
    pub(crate) fn new(plan: Plan) -> Self {
        Self { plan, hours_sent: watch::Sender::new(0) }
    }

    pub(crate) fn purchases(&self) -> u64 {
        self.plan.purchases()
    }

    /// The next purchase of a client that has sent `sent`; `None` when its day has ended. Waits until
    /// its store opens.
    pub(crate) async fn next(&self, client: u32, sent: u64) -> Option<Basket> {
        let store = StoreId(client + 1);
        let per_hour = u64::from(self.plan.purchases_per_hour());
        let hours = (sent / per_hour) as u32;
        if sent == 0 {
            let opens_after = self.plan.phase(store).opens_after();
            let mut hours_sent = self.hours_sent.subscribe();
            let opened = hours_sent.wait_for(|&hours| hours >= opens_after).await;
            opened.expect("the day holds the sender");
        } else if sent.is_multiple_of(per_hour) {
            self.hours_sent.send_if_modified(|most| {
                let further = hours > *most;
                *most = (*most).max(hours);
                further
            });
        }
        (hours < HOURS).then(|| self.plan.purchase(store, sent as u32))
    }
}

/// A recording: what its clients share.
///
/// Business days close by business dates, so a purchase that arrives after others of a much later date
/// would miss its day: the dates of requests in flight stay near each other.
#[derive(Debug)]
pub(crate) struct Tape {
    baskets: Arc<[Basket]>,
    per_request: usize,
    bulk: bool,
    next: AtomicU64,
    /// The first date of each request in flight, by number.
    in_flight: Mutex<BTreeMap<u64, BusinessDate>>,
    ended: Notify,
}

/// The most days that the dates of requests in flight lie apart: one less than the least lateness a
/// server allows by default.
pub(crate) const DAYS_APART: i32 = 1;

impl Tape {
    /// `bulk` purchases in a request; 0: one, by the call of the existing clients.
    pub(crate) fn new(baskets: Arc<[Basket]>, bulk: u32) -> Self {
        Self {
            baskets,
            per_request: bulk.max(1) as usize,
            bulk: bulk > 0,
            next: AtomicU64::new(0),
            in_flight: Mutex::default(),
            ended: Notify::new(),
        }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.baskets.len().div_ceil(self.per_request) as u64
    }

    /// Times of the requests, at `speed` times the pace of the recording.
    pub(crate) fn schedule(&self, speed: f64) -> Schedule {
        Schedule::recorded(Arc::clone(&self.baskets), self.per_request, speed)
    }

    pub(crate) fn take_number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Request `number`; `None` after the last. Waits while others in flight are of much older dates.
    pub(crate) async fn request(&self, number: u64) -> Option<Request> {
        let start = usize::try_from(number).ok()?.checked_mul(self.per_request)?;
        let first = self.baskets.get(start)?;
        let end = (start + self.per_request).min(self.baskets.len());
        let newest = self.baskets[end - 1].date;
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            // Before looking, so that an end in between is not missed.
            ended.as_mut().enable();
            if self.enter(number, first.date, newest) {
                break;
            }
            ended.await;
        }
        Some(if self.bulk {
            Request::Bulk(Excerpt { baskets: Arc::clone(&self.baskets), range: start..end })
        } else {
            Request::Post(first.clone())
        })
    }

    fn enter(&self, number: u64, first: BusinessDate, newest: BusinessDate) -> bool {
        let mut in_flight = self.in_flight.lock();
        let oldest = in_flight.values().min();
        let near = oldest.is_none_or(|oldest| newest.days() - oldest.days() <= DAYS_APART);
        if near {
            in_flight.insert(number, first);
        }
        near
    }

    /// Request `number` has ended.
    pub(crate) fn ended(&self, number: u64) {
        self.in_flight.lock().remove(&number);
        self.ended.notify_waiters();
    }
}

/// Where requests come from.
#[derive(Debug)]
pub(crate) enum Source {
    Mix(Box<Mix>),
    Day(Day),
    Tape(Tape),
}

impl Source {
    /// Store and date of a purchase that will be sent; `None` if there is none.
    pub(crate) fn sample(&self) -> Option<(StoreId, BusinessDate)> {
        match self {
            Self::Mix(mix) => Some((StoreId(1), mix.date)),
            Self::Day(day) => Some((StoreId(1), day.plan.date())),
            Self::Tape(tape) => tape.baskets.first().map(|basket| (basket.store, basket.date)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_once_the_server_has_had_a_list_of_it() {
        let known = Known::new(100, 100);
        let (store, item) = (Request::StoreItems(StoreId(70)), Request::ItemStores(ItemId(70)));
        assert!(!known.has(&store) && !known.has(&item));
        known.answered(&item);
        assert!(!known.has(&store) && known.has(&item));

        let mut basket = Basket {
            store: StoreId(70),
            customer: CustomerId(1),
            date: BusinessDate::from_days(0).expect("in range"),
            occurred_at: None,
            key: "k".to_owned(),
            lines: [(3, 1), (4, 0)]
                .map(|(id, quantity)| Line { item: ItemId(id), quantity })
                .into(),
        };
        known.answered(&Request::Post(basket.clone()));
        assert!(!known.has(&store), "it may be a moment until it shows");
        known.sold(&basket);
        assert!(known.has(&store) && known.has(&Request::ItemStores(ItemId(3))));
        assert!(!known.has(&Request::ItemStores(ItemId(4))), "nothing was sold of it");
        basket.store = StoreId(1000);
        known.sold(&basket);
        assert!(!known.has(&Request::StoreItems(StoreId(1000))), "there is no room for it");
    }
}
