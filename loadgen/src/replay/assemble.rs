//! Puts the rows of each basket together.

use std::collections::HashMap;

use model::{CustomerId, ItemId, Line, MAX_LINES, StoreId};

use super::{BadValue, Recording, Row};
use crate::Basket;

#[derive(Default)]
pub(super) struct Assembler {
    baskets: Vec<Basket>,
    /// Place of each basket id in `baskets`.
    places: HashMap<u64, usize>,
    lines: u64,
}

impl Assembler {
    /// Adds the row `number`. All rows of a basket must agree on all but item and quantity.
    pub(super) fn add(&mut self, number: u64, row: &Row) -> Result<(), BadValue> {
        let place = *self.places.entry(row.basket).or_insert_with(|| {
            self.baskets.push(Basket {
                store: StoreId(row.store),
                customer: CustomerId(row.customer),
                date: row.time.date(),
                occurred_at: Some(row.time),
                key: row.basket.to_string(),
                lines: Vec::new(),
            });
            self.baskets.len() - 1
        });
        let basket = &mut self.baskets[place];
        agree(number, "store_id", row.basket, &basket.store, &StoreId(row.store))?;
        agree(number, "household_id", row.basket, &basket.customer, &CustomerId(row.customer))?;
        if let Some(time) = &basket.occurred_at {
            agree(number, "transaction_timestamp", row.basket, time, &row.time)?;
        }
        if basket.lines.len() == MAX_LINES {
            let problem = format!(
                "basket {} has more than {MAX_LINES} lines, the most a purchase may have",
                row.basket
            );
            return Err(BadValue::new(number, "basket_id", problem));
        }
        basket.lines.push(Line { item: ItemId(row.item), quantity: row.quantity });
        self.lines += 1;
        Ok(())
    }

    /// The baskets in the order of their times, those of one time by id.
    pub(super) fn finish(mut self) -> Recording {
        let by_key_length = |basket: &Basket| (basket.occurred_at, basket.key.len());
        self.baskets.sort_by(|a, b| {
            by_key_length(a).cmp(&by_key_length(b)).then_with(|| a.key.cmp(&b.key))
        });
        Recording { baskets: self.baskets, lines: self.lines }
    }
}

fn agree<T: PartialEq + std::fmt::Display>(
    row: u64,
    column: &'static str,
    basket: u64,
    first: &T,
    here: &T,
) -> Result<(), BadValue> {
    if first == here {
        return Ok(());
    }
    let problem = format!("{here} here, but {first} in an earlier row of basket {basket}");
    Err(BadValue::new(row, column, problem))
}
