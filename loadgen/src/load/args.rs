//! What is asked of a run.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, builder::BoolishValueParser, value_parser};
use model::{BusinessDate, Timestamp, parse_duration};
use serde::{Deserialize, Serialize};

use super::{Arrivals, Threshold};
use crate::{VerifyOptions, shopping_day::ShoppingDayArgs};

/// The date of a shopping day as the course has it, 2021-01-01, in days since 1970-01-01.
const SHOPPING_DAY: i32 = 18_628;

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// A day of a chain, as the course client plays it: one client for each store, in three phases
    ShoppingDay,
    /// 95 % GET, 5 % POST, some stores and items far more popular than others
    GetHeavy,
    /// As many GETs as POSTs
    Mixed,
    /// Purchases only
    PostOnly,
    /// Queries only
    GetOnly,
    /// Recorded purchases: see --recording
    Replay,
}

impl Profile {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::ShoppingDay => "shopping-day",
            Self::GetHeavy => "get-heavy",
            Self::Mixed => "mixed",
            Self::PostOnly => "post-only",
            Self::GetOnly => "get-only",
            Self::Replay => "replay",
        }
    }

    /// Share of GETs where it is not set; `None` if the profile is no mix.
    fn get_share(self) -> Option<f64> {
        match self {
            Self::GetHeavy => Some(0.95),
            Self::Mixed => Some(0.5),
            Self::PostOnly => Some(0.0),
            Self::GetOnly => Some(1.0),
            Self::ShoppingDay | Self::Replay => None,
        }
    }
}

/// Settings of a run.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// What is sent
    #[arg(long, env = "TOPLINE_LOADGEN_PROFILE", default_value = "get-heavy", value_enum)]
    pub profile: Profile,
    /// Clients with a connection each. Each sends its next request when it has its answer; with --rate,
    /// they are the most requests in flight. In a shopping day, there is one client for each store
    #[arg(long, env = "TOPLINE_LOADGEN_CLIENTS", default_value_t = 256,
        value_parser = value_parser!(u32).range(1..=100_000))]
    pub clients: u32,
    /// Open loop: so many requests a second, whether or not the server keeps up. Response times count
    /// from when a request was due, not from when there was a client free to send it
    #[arg(long, env = "TOPLINE_LOADGEN_RATE", value_name = "REQUESTS", value_parser = positive)]
    pub rate: Option<f64>,
    /// How the arrivals of an open loop follow each other
    #[arg(long, env = "TOPLINE_LOADGEN_ARRIVALS", default_value = "constant", value_enum)]
    pub arrivals: Arrivals,
    /// Arrivals of an open loop that may wait for a free client; those beyond are dropped, and counted
    #[arg(long, env = "TOPLINE_LOADGEN_BACKLOG", default_value_t = 100_000, value_name = "ARRIVALS",
        value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub backlog: u32,
    /// How long requests are measured [default: 30s; a shopping day and a recording until they end]
    #[arg(long, env = "TOPLINE_LOADGEN_DURATION", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// How long requests are sent before they are measured [default: 5s; a shopping day and a recording
    /// have none]
    #[arg(long, env = "TOPLINE_LOADGEN_WARM_UP", value_parser = duration_or_zero)]
    pub warm_up: Option<Duration>,
    /// The longest a request may take
    #[arg(long, env = "TOPLINE_LOADGEN_TIMEOUT", default_value = "10s", value_parser = parse_duration)]
    pub timeout: Duration,
    /// Threads that send [default: one for each core]
    #[arg(long, env = "TOPLINE_LOADGEN_THREADS", value_parser = value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// Send on at once when refused, instead of waiting as long as Retry-After says (at most 5s); the
    /// arrivals of an open loop never wait
    #[arg(long, env = "TOPLINE_LOADGEN_IGNORE_RETRY_AFTER", value_parser = BoolishValueParser::new())]
    pub ignore_retry_after: bool,
    /// File with the certificate of the authority that signed the server's, PEM, for an address with
    /// https:// [default: those that this system trusts]
    #[arg(long, env = "TOPLINE_LOADGEN_CA_CERT", value_name = "FILE")]
    pub ca_cert: Option<PathBuf>,
    /// Token for purchases
    #[arg(long, env = "TOPLINE_WRITE_TOKEN", hide_env_values = true)]
    pub write_token: Option<String>,

    /// What clients send.
    #[command(flatten)]
    pub mix: MixArgs,
    /// How a recording is sent.
    #[command(flatten)]
    pub replay: ReplayArgs,

    /// Fail (exit code 3) if this holds at the end, such as 'p99>200ms', 'errors>0', 'get:p99.9>50ms',
    /// 'throughput<1000' or 'refused>1%'; may be repeated. errors are the requests that failed, without those refused
    /// for overload; dropped and late are arrivals of an open loop
    #[arg(long, env = "TOPLINE_LOADGEN_FAIL_IF", value_name = "CONDITION", value_delimiter = ',')]
    pub fail_if: Vec<Threshold>,
    /// Afterwards, compare the answers of the server with what it has acknowledged; needs a server that
    /// had nothing before. Fails (exit code 4) if they differ
    #[arg(long, env = "TOPLINE_LOADGEN_VERIFY", value_parser = BoolishValueParser::new())]
    pub verify: bool,
    /// Entries of the lists that --verify compares, at most the --max-k of the server
    #[arg(long, env = "TOPLINE_LOADGEN_VERIFY_K", default_value_t = 100, value_name = "ENTRIES",
        value_parser = value_parser!(u32).range(1..=1000))]
    pub verify_k: u32,
    /// Days whose lists --verify compares, the newest that were sent: at most the --day-retention of the server; 0:
    /// no lists of days
    #[arg(long, env = "TOPLINE_LOADGEN_VERIFY_DAYS", default_value_t = 90, value_name = "DAYS",
        value_parser = value_parser!(u32).range(0..=36_500))]
    pub verify_days: u32,
}

/// What clients send, and how popular it is.
#[derive(Debug, Clone, Args, Serialize)]
#[command(next_help_heading = "What is sent")]
pub struct MixArgs {
    /// Share of GETs, 0 to 1, half of them for stores and half for items [default: that of the profile]
    #[arg(long, env = "TOPLINE_LOADGEN_GET_SHARE", value_parser = share)]
    pub get_share: Option<f64>,
    /// Number of stores
    #[arg(long, env = "TOPLINE_LOADGEN_STORES", default_value_t = 1_000,
        value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub stores: u32,
    /// Number of items; ids from 1. A shopping day has 100000 if it is not set
    #[arg(long, env = "TOPLINE_LOADGEN_ITEMS", value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub items: Option<u32>,
    /// Popularity of stores and items: the id of rank r is chosen r^-S as often as the first; 0: all alike
    #[arg(long, env = "TOPLINE_LOADGEN_ZIPF", default_value_t = 0.99, value_name = "S",
        value_parser = non_negative)]
    pub zipf: f64,
    /// Items in each purchase
    #[arg(long, env = "TOPLINE_ITEMS_PER_PURCHASE", default_value_t = 5, value_name = "ITEMS",
        value_parser = value_parser!(u32).range(1..=20))]
    pub items_per_purchase: u32,
    /// Customers of each store; their ids start at the store's id times 1000
    #[arg(long, env = "TOPLINE_CUSTOMERS_PER_STORE", default_value_t = 1000, value_name = "CUSTOMERS",
        value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub customers_per_store: u32,
    /// Business date of the purchases [default: today, in UTC; of a shopping day 20210101]
    #[arg(long, env = "TOPLINE_DATE", value_name = "yyyyMMdd")]
    #[serde(skip)]
    pub date: Option<BusinessDate>,
    /// Purchases each store sends for each of the 9 hours of a shopping day
    #[arg(long, env = "TOPLINE_PURCHASES_PER_HOUR", default_value_t = 300, value_name = "PURCHASES",
        value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub purchases_per_hour: u32,
    /// Seed: the same seed gives the same requests
    #[arg(long, env = "TOPLINE_SEED", default_value_t = 1)]
    pub seed: u64,
    /// Purchases sent before the warm-up, beyond those that sell every store and every item once; so many
    /// lists are long
    #[arg(
        long,
        env = "TOPLINE_LOADGEN_SEED_PURCHASES",
        default_value_t = 5_000,
        value_name = "PURCHASES"
    )]
    pub seed_purchases: u32,
    /// Send nothing before the warm-up: the server has purchases already
    #[arg(long, env = "TOPLINE_LOADGEN_NO_SEEDING", value_parser = BoolishValueParser::new())]
    pub no_seeding: bool,
}

/// How a recording is sent.
#[derive(Debug, Clone, Args, Serialize)]
#[command(next_help_heading = "Replay")]
pub struct ReplayArgs {
    /// Recorded purchases: a .parquet or .csv file with the columns `store_id`, `household_id`,
    /// `basket_id`, `product_id`, `quantity` and `transaction_timestamp`
    #[arg(long, env = "TOPLINE_LOADGEN_RECORDING", value_name = "FILE")]
    pub recording: Option<PathBuf>,
    /// How many times faster than they happened [default: as fast as they are taken]
    #[arg(long, env = "TOPLINE_LOADGEN_SPEED", value_name = "TIMES", value_parser = positive)]
    pub speed: Option<f64>,
    /// Send so many purchases in one bulk call, with the time each happened; 0: one by one, by the call
    /// of the existing clients, which has only the date
    #[arg(long, env = "TOPLINE_LOADGEN_BULK", default_value_t = 0, value_name = "PURCHASES",
        value_parser = value_parser!(u32).range(0..=1000))]
    pub bulk: u32,
}

/// Settings that contradict each other.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A setting needs another one, or excludes it.
    #[error("{0}")]
    Contradiction(&'static str),
}

impl LoadArgs {
    /// Refuses settings that contradict each other.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        let refuse = |problem| Err(SettingsError::Contradiction(problem));
        let finite = self.is_finite();
        if finite && self.rate.is_some() {
            return refuse(
                "--rate is for the mixes: a shopping day is a closed loop, a recording has --speed",
            );
        }
        if finite && self.warm_up.is_some_and(|warm_up| !warm_up.is_zero()) {
            return refuse("a shopping day and a recording have no warm-up: leave out --warm-up");
        }
        if finite && self.mix.get_share.is_some() {
            return refuse("--get-share is for the mixes: this profile sends purchases only");
        }
        match (self.profile == Profile::Replay, &self.replay.recording) {
            (true, None) => return refuse("the profile replay needs --recording FILE"),
            (false, Some(_)) => return refuse("--recording needs --profile replay"),
            _ => {}
        }
        if self.verify && self.mix.no_seeding && !finite && self.get_share() > 0.0 {
            return refuse(
                "--verify needs a server that had nothing before, so there is nothing to ask for \
                 with --no-seeding",
            );
        }
        Ok(())
    }

    /// What is compared afterwards.
    pub(crate) fn verify_options(&self) -> VerifyOptions {
        VerifyOptions {
            k: self.verify_k as usize,
            kept_days: self.verify_days,
            ..VerifyOptions::default()
        }
    }

    /// Whether it ends by itself.
    pub(crate) fn is_finite(&self) -> bool {
        self.profile.get_share().is_none()
    }

    /// Share of GETs.
    pub fn get_share(&self) -> f64 {
        self.mix.get_share.or(self.profile.get_share()).unwrap_or(0.0)
    }

    /// How long requests are measured; `None`: until they end.
    pub fn measured(&self) -> Option<Duration> {
        let default = (!self.is_finite()).then_some(Duration::from_secs(30));
        self.duration.or(default)
    }

    /// How long requests are sent before that.
    pub fn warm_up(&self) -> Duration {
        let default = if self.is_finite() { Duration::ZERO } else { Duration::from_secs(5) };
        self.warm_up.unwrap_or(default)
    }

    /// Whether arrivals follow a schedule.
    pub fn is_open(&self) -> bool {
        self.rate.is_some() || (self.profile == Profile::Replay && self.replay.speed.is_some())
    }

    /// Threads that send.
    pub fn threads(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or(cores, |threads| threads as usize).min(self.clients as usize)
    }

    /// Number of items.
    pub fn items(&self) -> u32 {
        let default = if self.profile == Profile::ShoppingDay { 100_000 } else { 10_000 };
        self.mix.items.unwrap_or(default)
    }

    /// Business date of the purchases.
    pub fn date(&self) -> BusinessDate {
        let default = || match self.profile {
            Profile::ShoppingDay => BusinessDate::from_days(SHOPPING_DAY),
            _ => None,
        };
        self.mix.date.or_else(default).unwrap_or_else(|| Timestamp::now().date())
    }

    pub(crate) fn shopping_day(&self) -> ShoppingDayArgs {
        ShoppingDayArgs {
            max_stores: self.clients,
            purchases_per_hour: self.mix.purchases_per_hour,
            items_per_purchase: self.mix.items_per_purchase,
            customers_per_store: self.mix.customers_per_store,
            max_item_id: u64::from(self.items()),
            date: self.date(),
            seed: self.mix.seed,
        }
    }
}

/// Settings by name, for people.
type Shown = Vec<(String, String)>;

fn show(shown: &mut Shown, name: &str, value: impl Into<String>) {
    shown.push((name.to_owned(), value.into()));
}

fn yes_or_no(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}

impl LoadArgs {
    /// All settings of a run by name, for people; without the token, and without those that another profile has.
    pub(crate) fn shown(&self) -> Shown {
        let mut shown = Vec::new();
        let mut show = |name, value: String| show(&mut shown, name, value);
        show("profile", self.profile.name().to_owned());
        show("clients", self.clients.to_string());
        show("threads", self.threads().to_string());
        if let Some(rate) = self.rate {
            show("rate", format!("{rate} requests/s"));
            let arrivals = self.arrivals.to_possible_value();
            show("arrivals", arrivals.map_or(String::new(), |value| value.get_name().to_owned()));
        }
        if self.is_open() {
            show("backlog", self.backlog.to_string());
        } else {
            show("ignore Retry-After", yes_or_no(self.ignore_retry_after).to_owned());
        }
        let duration = self.measured();
        show("duration", duration.map_or("until it ends".to_owned(), |it| format!("{it:?}")));
        show("warm-up", format!("{:?}", self.warm_up()));
        show("timeout", format!("{:?}", self.timeout));
        self.show_profile(&mut shown);
        self.show_judgement(&mut shown);
        shown
    }

    /// What is sent.
    fn show_profile(&self, shown: &mut Shown) {
        let mut show = |name, value: String| show(shown, name, value);
        let mix = &self.mix;
        match self.profile {
            Profile::Replay => {
                let recording = self.replay.recording.as_deref().unwrap_or("".as_ref());
                show("recording", recording.display().to_string());
                let speed = self.replay.speed.map(|times| format!("{times} times its own"));
                show("speed", speed.unwrap_or("as fast as it is taken".to_owned()));
                show("bulk", self.replay.bulk.to_string());
                return;
            }
            Profile::ShoppingDay => show("purchases per hour", mix.purchases_per_hour.to_string()),
            _ => {
                show("share of GETs", format!("{:.1} %", self.get_share() * 100.0));
                show("stores", mix.stores.to_string());
                show("Zipf exponent", mix.zipf.to_string());
                let seeding = (!mix.no_seeding).then(|| mix.seed_purchases.to_string());
                show("seed purchases", seeding.unwrap_or("no seeding".to_owned()));
            }
        }
        show("items", self.items().to_string());
        show("items per purchase", mix.items_per_purchase.to_string());
        show("customers per store", mix.customers_per_store.to_string());
        show("business date", self.date().to_string());
        show("seed", mix.seed.to_string());
    }

    /// What the run is judged by.
    fn show_judgement(&self, shown: &mut Shown) {
        show(shown, "verify", yes_or_no(self.verify));
        if self.verify {
            show(shown, "verify k", self.verify_k.to_string());
            show(shown, "verify days", self.verify_days.to_string());
        }
        for condition in &self.fail_if {
            show(shown, "fail if", condition.to_string());
        }
        if let Some(authority) = &self.ca_cert {
            show(shown, "CA certificate", authority.display().to_string());
        }
    }
}

fn number(text: &str) -> Result<f64, String> {
    text.parse::<f64>().ok().filter(|n| n.is_finite()).ok_or_else(|| "expected a number".to_owned())
}

fn positive(text: &str) -> Result<f64, String> {
    let number = number(text)?;
    if number > 0.0 { Ok(number) } else { Err("expected a number above zero".to_owned()) }
}

fn non_negative(text: &str) -> Result<f64, String> {
    let number = number(text)?;
    if number >= 0.0 { Ok(number) } else { Err("expected a number of zero or more".to_owned()) }
}

fn share(text: &str) -> Result<f64, String> {
    let share = number(text)?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("expected 0 to 1".to_owned()) }
}

fn duration_or_zero(text: &str) -> Result<Duration, String> {
    if matches!(text, "0" | "0s") { Ok(Duration::ZERO) } else { parse_duration(text) }
}
