//! A shopping day of a chain, as the course client defines it.
//!
//! Stores open in three phases, as the day begins from east to west:
//!
//! ```text
//! east     first quarter   ├─────────┤                  starts at once
//! central  next quarter       ├─────────┤               once any store has sent 3 hours
//! west     other half           ├─────────┤             once any store has sent 5 hours
//! ```
//!
//! Each store has one client that sends a purchase, waits for the answer, and sends the next, until
//! nine hours' worth of purchases are sent. [`Plan`] says what they send: a pure function of the
//! settings, whatever the timing.

use std::{panic::resume_unwind, sync::Arc, time::Instant};

use clap::{Args, value_parser};
use model::{BusinessDate, CustomerId, ItemId, Line, StoreId};
use random::Random;
use tokio::{sync::watch, task::JoinSet};

use crate::{Basket, Client, Failure, Progress, Report};

/// Hours a store is open.
pub const HOURS: u32 = 9;

/// Customer ids of a store start at its id times this.
const CUSTOMERS_APART: u32 = 1000;

/// What the day is like.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Shopping day")]
pub struct ShoppingDayArgs {
    /// Number of stores; a quarter opens first, then another quarter, then the rest
    #[arg(long, env = "TOPLINE_MAX_STORES", default_value_t = 32, value_name = "STORES",
        value_parser = value_parser!(u32).range(1..=10_000))]
    pub max_stores: u32,
    /// Purchases each store sends for each of the 9 hours
    #[arg(long, env = "TOPLINE_PURCHASES_PER_HOUR", default_value_t = 60, value_name = "PURCHASES",
        value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub purchases_per_hour: u32,
    /// Items in each purchase
    #[arg(long, env = "TOPLINE_ITEMS_PER_PURCHASE", default_value_t = 5, value_name = "ITEMS",
        value_parser = value_parser!(u32).range(1..=20))]
    pub items_per_purchase: u32,
    /// Customers of each store; their ids start at the store's id times 1000
    #[arg(long, env = "TOPLINE_CUSTOMERS_PER_STORE", default_value_t = 1000,
        value_name = "CUSTOMERS", value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub customers_per_store: u32,
    /// The greatest item id; items are drawn from 1 to this
    #[arg(long, env = "TOPLINE_MAX_ITEM_ID", default_value_t = 100_000, value_name = "ID",
        value_parser = value_parser!(u64).range(1..))]
    pub max_item_id: u64,
    /// Business date of the purchases
    #[arg(long, env = "TOPLINE_DATE", default_value = "20210101", value_name = "yyyyMMdd")]
    pub date: BusinessDate,
    /// Seed of the purchases: the same seed gives the same day
    #[arg(long, env = "TOPLINE_SEED", default_value_t = 1)]
    pub seed: u64,
}

/// When a store opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// At once.
    East,
    /// Once any store has sent 3 hours of purchases.
    Central,
    /// Once any store has sent 5 hours of purchases.
    West,
}

impl Phase {
    /// Hours of purchases that some store must have sent first.
    pub fn opens_after(self) -> u32 {
        match self {
            Self::East => 0,
            Self::Central => 3,
            Self::West => 5,
        }
    }
}

/// The purchases of a day: a pure function of the settings and the run's name.
#[derive(Debug, Clone)]
pub struct Plan {
    args: ShoppingDayArgs,
    run: String,
}

impl Plan {
    /// The day `args` describe. `run` starts every idempotency key: a day sent again under the same
    /// name is counted once.
    pub fn new(args: ShoppingDayArgs, run: &str) -> Self {
        Self { args, run: run.to_owned() }
    }

    /// The stores, ids from 1, those of the east first.
    pub fn stores(&self) -> impl ExactSizeIterator<Item = StoreId> + use<> {
        (0..self.args.max_stores).map(|place| StoreId(place + 1))
    }

    /// The phase of `store`. There is always a store in the east, or no store would ever open.
    pub fn phase(&self, store: StoreId) -> Phase {
        let quarter = self.args.max_stores / 4;
        let east = quarter.max(1);
        match store.0 {
            id if id <= east => Phase::East,
            id if id <= east + quarter => Phase::Central,
            _ => Phase::West,
        }
    }

    /// Business date of the purchases.
    pub fn date(&self) -> BusinessDate {
        self.args.date
    }

    /// Purchases each store sends in an hour.
    pub fn purchases_per_hour(&self) -> u32 {
        self.args.purchases_per_hour
    }

    /// Purchases of all stores together.
    pub fn purchases(&self) -> u64 {
        u64::from(self.args.max_stores) * u64::from(HOURS) * u64::from(self.args.purchases_per_hour)
    }

    /// Purchase `number` of `store`, from 0.
    pub fn purchase(&self, store: StoreId, number: u32) -> Basket {
        let stream = u64::from(store.0) << 32 | u64::from(number);
        let mut random = Random::stream(self.args.seed, stream);
        let customer = random.below(u64::from(self.args.customers_per_store)) as u32;
        let line = |()| Line { item: ItemId(1 + random.below(self.args.max_item_id)), quantity: 1 };
        Basket {
            store,
            customer: CustomerId(store.0 * CUSTOMERS_APART + customer),
            date: self.args.date,
            occurred_at: None,
            lines: std::iter::repeat_n((), self.args.items_per_purchase as usize)
                .map(line)
                .collect(),
            key: format!("{}-{store}-{number}", self.run),
        }
    }
}

/// Sends the whole day. `progress` counts along.
///
/// # Errors
/// The first failure that leaves open what the server has counted; what it refuses for good is in the
/// report.
pub async fn play(
    client: &Client,
    plan: Arc<Plan>,
    progress: Arc<Progress>,
) -> Result<Report, Failure> {
    let started = Instant::now();
    let hours_sent = watch::Sender::new(0);
    let mut clients = JoinSet::new();
    for store in plan.stores() {
        let client = StoreClient {
            client: client.clone(),
            plan: Arc::clone(&plan),
            progress: Arc::clone(&progress),
            hours_sent: hours_sent.clone(),
            store,
        };
        clients.spawn(client.run());
    }
    let mut report = Report::default();
    while let Some(finished) = clients.join_next().await {
        report.merge(finished.unwrap_or_else(|panic| resume_unwind(panic.into_panic()))?);
    }
    report.elapsed = started.elapsed();
    Ok(report)
}

/// The one client of a store.
struct StoreClient {
    client: Client,
    plan: Arc<Plan>,
    progress: Arc<Progress>,
    /// The most hours any store has sent.
    hours_sent: watch::Sender<u32>,
    store: StoreId,
}

impl StoreClient {
    async fn run(self) -> Result<Report, Failure> {
        let opens_after = self.plan.phase(self.store).opens_after();
        self.hours_sent
            .subscribe()
            .wait_for(|&hours| hours >= opens_after)
            .await
            .expect("this client holds a sender");
        let per_hour = self.plan.purchases_per_hour();
        let mut report = Report::default();
        for hour in 0..HOURS {
            for number in hour * per_hour..(hour + 1) * per_hour {
                self.send(number, &mut report).await?;
            }
            self.hours_sent.send_if_modified(|most| {
                let further = hour + 1 > *most;
                *most = (*most).max(hour + 1);
                further
            });
        }
        Ok(report)
    }

    async fn send(&self, number: u32, report: &mut Report) -> Result<(), Failure> {
        let basket = self.plan.purchase(self.store, number);
        match self.client.post_purchase(&basket).await {
            Ok(position) => {
                report.tally.acknowledged(&basket, &position);
                self.progress.add(1, basket.lines.len() as u64, 0);
            }
            Err(Failure::Refused { status, message }) => {
                report.refusals.add(status.to_string(), &message);
                self.progress.add(0, 0, 1);
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        day: ShoppingDayArgs,
    }

    fn args(flags: &[&str]) -> Result<ShoppingDayArgs, clap::Error> {
        Cli::try_parse_from([&["test"], flags].concat()).map(|cli| cli.day)
    }

    fn plan(flags: &[&str]) -> Plan {
        Plan::new(args(flags).unwrap(), "run")
    }

    #[test]
    fn the_same_seed_gives_the_same_day_and_another_another() {
        let day = |seed| {
            let plan = plan(&["--seed", seed]);
            let purchases = |store| (0..20).map(move |n| (store, n));
            plan.stores()
                .flat_map(purchases)
                .map(|(store, n)| plan.purchase(store, n))
                .collect::<Vec<_>>()
        };
        assert_eq!(day("1"), day("1"));
        let lines = |seed| day(seed).into_iter().map(|basket| basket.lines).collect::<Vec<_>>();
        assert_ne!(lines("1"), lines("2"));
    }

    #[test]
    fn a_quarter_opens_then_a_quarter_then_the_other_half() {
        for (stores, east, central, west) in
            [(32, 8, 8, 16), (1, 1, 0, 0), (2, 1, 0, 1), (3, 1, 0, 2), (5, 1, 1, 3), (7, 1, 1, 5)]
        {
            let plan = plan(&["--max-stores", &stores.to_string()]);
            let count = |phase| plan.stores().filter(|&s| plan.phase(s) == phase).count();
            let got = (count(Phase::East), count(Phase::Central), count(Phase::West));
            assert_eq!(got, (east, central, west), "{stores} stores");
            assert!(plan.stores().is_sorted_by_key(|store| plan.phase(store)));
        }
    }

    #[test]
    fn purchases_stay_in_their_ranges_and_reach_their_ends() {
        let plan = plan(&[
            "--items-per-purchase=20",
            "--max-item-id=3",
            "--customers-per-store=4",
            "--date=20240229",
        ]);
        let baskets: Vec<_> = (0..200).map(|n| plan.purchase(StoreId(7), n)).collect();
        assert!(baskets.iter().all(|b| b.lines.len() == 20 && b.date.to_string() == "20240229"));
        let items = || baskets.iter().flat_map(|b| &b.lines).map(|line| line.item.0);
        assert_eq!((items().min(), items().max()), (Some(1), Some(3)));
        let customers = || baskets.iter().map(|b| b.customer.0);
        assert_eq!((customers().min(), customers().max()), (Some(7000), Some(7003)));
        let mut keys: Vec<_> = baskets.iter().map(|b| &b.key).collect();
        keys.dedup();
        assert_eq!(keys.len(), 200);
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for flag in [
            "--items-per-purchase=0",
            "--items-per-purchase=21",
            "--max-stores=0",
            "--max-item-id=0",
            "--date=20210230",
        ] {
            assert!(args(&[flag]).is_err(), "{flag}");
        }
    }
}
