//! Compares every answer of a server with a tally.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering},
};

use futures_util::{StreamExt, stream};
use model::{BusinessDate, ItemId, StoreId};
use reqwest::StatusCode;
use serde_json::Value;

use crate::{Basket, Client, Entry, Failure, List, Rankings, Tally};

/// Differences described; the others are counted.
const SHOWN: usize = 20;

/// What is compared.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// Entries asked for in each `/v1` list: at most the server's longest.
    pub k: usize,
    /// Days before the newest date whose windows the server still keeps.
    pub kept_days: u32,
    /// For so many of the newest dates, the day's lists of all items are compared too; those of all
    /// stores and of the chain are compared for every date kept.
    pub item_days: usize,
    /// Requests in flight.
    pub in_flight: usize,
    /// Whether only the calls of the existing clients are compared: those that every server has that
    /// speaks their contract.
    pub course_calls_only: bool,
    /// Purchases of which nobody knows whether the server has counted them: the lists that they would
    /// change are left out.
    pub unclear: Vec<Basket>,
    /// Purchases that were counted, of which nobody knows whether their day was still open: the lists of that day
    /// that they would change are left out.
    pub perhaps_late: Vec<Basket>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            k: 100,
            kept_days: 90,
            item_days: 7,
            in_flight: 64,
            course_calls_only: false,
            unclear: Vec::new(),
            perhaps_late: Vec::new(),
        }
    }
}

/// Outcome of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// Stores compared.
    pub stores: usize,
    /// Items compared.
    pub items: usize,
    /// Business dates compared.
    pub days: usize,
    /// Answers compared.
    pub answers: u64,
    /// Of those, the ones that had to be a list with something in it.
    pub lists: u64,
    /// Answers that differ.
    pub differences: u64,
    /// The first of them, at most 20: what was asked, answered and expected.
    pub shown: Vec<String>,
    /// Answers left out because of purchases with an unclear outcome.
    pub left_out: u64,
}

/// Compares every list of the server with `tally`, once the server has all that was acknowledged.
/// `answered` counts along.
///
/// Compared are, for each store and each item, the answers to the existing clients' call and to
/// `/v1`; the chain-wide lists; the lists of the business days that are kept (those of items for the
/// newest [`VerifyOptions::item_days`]); and that ids never seen are answered with 404.
///
/// # Errors
/// If the server gives no answers, or does not reach the position of the tally.
pub async fn verify(
    client: &Client,
    tally: &Tally,
    options: &VerifyOptions,
    answered: &AtomicU64,
) -> Result<Verification, Failure> {
    client.wait_for(tally.position()).await?;
    let (stores, items) = (tally.stores(), tally.items());
    let mut found =
        Verification { stores: stores.len(), items: items.len(), ..Verification::default() };
    let verifier = Verifier { client, options, answered, unclear: Unclear::of(options) };
    let rankings = tally.rankings();
    verifier.run(total_checks(&rankings, &stores, &items), &mut found).await?;
    if options.course_calls_only {
        return Ok(found);
    }
    for (date, with_items) in days(tally, options) {
        let rankings = tally.day_rankings(date);
        verifier.run(day_checks(&rankings, date, with_items), &mut found).await?;
        found.days += 1;
    }
    Ok(found)
}

/// The dates to compare, newest first, and whether the lists of items are among them.
fn days(tally: &Tally, options: &VerifyOptions) -> Vec<(BusinessDate, bool)> {
    let Some(newest) = tally.dates().next_back() else { return Vec::new() };
    let kept = |date: &BusinessDate| newest.days() - date.days() < options.kept_days as i32;
    let dates = tally.dates().rev().take_while(kept).enumerate();
    dates.map(|(age, date)| (date, age < options.item_days)).collect()
}

/// What an answer must be.
#[derive(Debug, Clone, Copy)]
enum Expected<'a> {
    /// This list, as far as it is asked for.
    List(&'a [Entry]),
    /// 404.
    NotFound,
    /// The id occurred with quantity 0 only: an empty list or 404.
    Nothing,
}

impl Expected<'_> {
    /// Whether something has to be in it.
    fn is_list(self) -> bool {
        matches!(self, Self::List(list) if !list.is_empty())
    }
}

#[derive(Debug, Clone, Copy)]
struct Check<'a> {
    list: List,
    date: Option<BusinessDate>,
    expected: Expected<'a>,
}

fn total_checks<'a>(
    rankings: &'a Rankings,
    stores: &'a BTreeSet<StoreId>,
    items: &'a BTreeSet<ItemId>,
) -> impl Iterator<Item = Check<'a>> {
    let listed = |list: Option<&'a Vec<Entry>>| match list {
        Some(list) => Expected::List(list),
        None => Expected::Nothing,
    };
    let of_stores = stores.iter().flat_map(move |store| {
        let expected = listed(rankings.stores.get(store));
        [(List::CourseStore(*store), expected), (List::Store(*store), expected)]
    });
    let of_items = items.iter().flat_map(move |item| {
        let expected = listed(rankings.items.get(item));
        [(List::CourseItem(*item), expected), (List::Item(*item), expected)]
    });
    let of_chain = [
        (List::ChainItems, Expected::List(&rankings.chain_items)),
        (List::ChainStores, Expected::List(&rankings.chain_stores)),
    ];
    let unseen_stores = unseen(stores.iter().map(|store| u64::from(store.0)), u64::from(u32::MAX))
        .flat_map(|id| [List::CourseStore(StoreId(id as u32)), List::Store(StoreId(id as u32))]);
    let unseen_items = unseen(items.iter().map(|item| item.0), u64::MAX)
        .flat_map(|id| [List::CourseItem(ItemId(id)), List::Item(ItemId(id))]);
    of_chain
        .into_iter()
        .chain(of_stores)
        .chain(of_items)
        .chain(unseen_stores.chain(unseen_items).map(|list| (list, Expected::NotFound)))
        .map(|(list, expected)| Check { list, date: None, expected })
}

fn day_checks(
    rankings: &Rankings,
    date: BusinessDate,
    with_items: bool,
) -> impl Iterator<Item = Check<'_>> {
    let chain =
        [(List::ChainItems, &rankings.chain_items), (List::ChainStores, &rankings.chain_stores)];
    let stores = rankings.stores.iter().map(|(&store, list)| (List::Store(store), list));
    let items = rankings.items.iter().map(|(&item, list)| (List::Item(item), list));
    chain.into_iter().chain(stores).chain(items.filter(move |_| with_items)).map(
        move |(list, entries)| Check { list, date: Some(date), expected: Expected::List(entries) },
    )
}

/// A few ids that are not among `seen`, which ascends: the first gap, and those after the last.
fn unseen(seen: impl Iterator<Item = u64>, greatest: u64) -> impl Iterator<Item = u64> {
    let mut gap = None;
    // `None` after the greatest there is.
    let mut next = Some(0);
    for id in seen {
        gap = gap.or(next.filter(|&next| id > next));
        next = id.checked_add(1);
    }
    let after = (0..3).filter_map(move |after| next?.checked_add(after));
    gap.into_iter().chain(after.filter(move |&id| id < greatest))
}

/// Stores and items whose counts nobody can know.
#[derive(Default)]
struct Ids {
    stores: BTreeSet<StoreId>,
    items: BTreeSet<ItemId>,
}

impl Ids {
    fn add(&mut self, basket: &Basket) {
        self.stores.insert(basket.store);
        self.items.extend(basket.lines.iter().map(|line| line.item));
    }

    fn concern(&self, list: List) -> bool {
        match list {
            List::CourseStore(store) | List::Store(store) => self.stores.contains(&store),
            List::CourseItem(item) | List::Item(item) => self.items.contains(&item),
            List::ChainItems | List::ChainStores => !self.stores.is_empty(),
        }
    }
}

/// What nobody can know: in any list, and in those of a day.
struct Unclear {
    always: Ids,
    days: BTreeMap<BusinessDate, Ids>,
}

impl Unclear {
    fn of(options: &VerifyOptions) -> Self {
        let (mut always, mut days) = (Ids::default(), BTreeMap::<_, Ids>::new());
        for basket in &options.unclear {
            always.add(basket);
        }
        for basket in &options.perhaps_late {
            days.entry(basket.date).or_default().add(basket);
        }
        Self { always, days }
    }

    fn concerns(&self, check: &Check<'_>) -> bool {
        let day = check.date.and_then(|date| self.days.get(&date));
        self.always.concern(check.list) || day.is_some_and(|ids| ids.concern(check.list))
    }
}

struct Verifier<'a> {
    client: &'a Client,
    options: &'a VerifyOptions,
    answered: &'a AtomicU64,
    unclear: Unclear,
}

impl Verifier<'_> {
    async fn run<'c>(
        &self,
        checks: impl Iterator<Item = Check<'c>>,
        found: &mut Verification,
    ) -> Result<(), Failure> {
        let mut left_out = 0;
        let wanted = checks
            .filter(|check| !self.options.course_calls_only || check.list.is_course())
            .filter(|check| {
                let unclear = self.unclear.concerns(check);
                left_out += u64::from(unclear);
                !unclear
            })
            .map(async |check| (check.expected.is_list(), self.check(check).await));
        let mut answers = stream::iter(wanted).buffered(self.options.in_flight);
        while let Some((list, difference)) = answers.next().await {
            found.answers += 1;
            found.lists += u64::from(list);
            if let Some(difference) = difference? {
                found.differences += 1;
                if found.shown.len() < SHOWN {
                    found.shown.push(difference);
                }
            }
        }
        drop(answers);
        found.left_out += left_out;
        Ok(())
    }

    /// Asks, and describes how the answer differs; `None` if it does not.
    async fn check(&self, check: Check<'_>) -> Result<Option<String>, Failure> {
        let path = check.list.path(check.date, self.options.k);
        let (status, body) = self.client.get(&path).await?;
        self.answered.fetch_add(1, Ordering::Relaxed);
        let k = check.list.longest(self.options.k);
        let problem = match check.expected {
            Expected::List(entries) => {
                let expected = &entries[..entries.len().min(k)];
                list_differs(status, &body, check, expected)
            }
            Expected::Nothing if status != StatusCode::NOT_FOUND => {
                list_differs(status, &body, check, &[])
            }
            Expected::Nothing | Expected::NotFound => not_found_differs(status, &body),
        };
        Ok(problem.map(|problem| format!("GET {path}: {problem}")))
    }
}

fn not_found_differs(status: StatusCode, body: &[u8]) -> Option<String> {
    if status != StatusCode::NOT_FOUND {
        return Some(format!("answered {status}, expected 404: nobody has sent this id"));
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let described = body.get("message").is_some_and(Value::is_string);
    (!described).then(|| "the 404 has no {\"message\":…}".to_owned())
}

fn list_differs(
    status: StatusCode,
    body: &[u8],
    check: Check<'_>,
    expected: &[Entry],
) -> Option<String> {
    if status != StatusCode::OK {
        return Some(format!("answered {status}, expected a list of {}", expected.len()));
    }
    match check.list.read(body, check.date) {
        Ok(got) => entries_differ(&got, expected),
        Err(problem) => Some(problem),
    }
}

fn entries_differ(got: &[Entry], expected: &[Entry]) -> Option<String> {
    let shown = |entry: Option<&Entry>| match entry {
        Some((id, count)) => format!("id {id} with {count}"),
        None => "nothing".to_owned(),
    };
    let place = (0..got.len().max(expected.len())).find(|&i| got.get(i) != expected.get(i))?;
    Some(format!(
        "place {} is {}, expected {}",
        place + 1,
        shown(got.get(place)),
        shown(expected.get(place))
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unseen_ids_are_a_gap_and_those_after_the_last() {
        let ids = |seen: &[u64], greatest| -> Vec<u64> {
            unseen(seen.iter().copied(), greatest).collect()
        };
        assert_eq!(ids(&[0, 1, 3], 100), [2, 4, 5, 6]);
        assert_eq!(ids(&[5], 100), [0, 6, 7, 8]);
        assert_eq!(ids(&[], 100), [0, 1, 2]);
        assert_eq!(ids(&[0, u64::MAX], u64::MAX), [1]);
        assert_eq!(ids(&[0, 1, 98], 100), [2, 99]);
    }
}
