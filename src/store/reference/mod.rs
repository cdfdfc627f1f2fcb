//! The reference tables, on behalf of a client: `sql/reference/*.sql`. What clients see is made in Postgres as JSON text, so that
//! numbers keep their digits.

mod learning;
mod orders;
mod portfolios;

use super::{Behalf, StoreError};
use crate::domain::Snapshot;

pub use learning::{NotificationFilter, SubmissionFilter};
pub use orders::{NewOrder, NewTransaction, OrderChange, OrderFilter, TransactionFilter};

/// For whom rows are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// Null in SQL: no row is anybody's own.
    pub user: Option<i64>,
    /// Sees everybody's rows.
    pub everything: bool,
}

/// The part of a list that is wanted: rows after a place, by a sort key and then by id.
#[derive(Clone, Debug)]
pub struct Page {
    /// A word that the query knows; every other is the id.
    pub by: String,
    pub down: bool,
    pub after: Option<Place>,
    pub limit: i64,
}

impl Page {
    /// Only one row is asked for.
    pub(super) fn one() -> Self {
        Self { by: String::new(), down: false, after: None, limit: 1 }
    }
}

/// Where a row stands in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub key: i64,
    pub id: i64,
}

/// What was found, as of one snapshot.
#[derive(Clone, Debug)]
pub struct Found {
    pub snapshot: Snapshot,
    /// Of what was asked for by its number: may the reader see it? None: there is no such row.
    pub allowed: Option<bool>,
    /// In the order asked for; JSON text.
    pub items: Vec<(Place, String)>,
}

/// A user, as the reference tables know him.
#[derive(Clone, Debug)]
pub struct Person {
    pub id: i64,
    pub staff: bool,
    pub role: Option<String>,
}

/// What became of a write.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// None: there is no such row.
    pub allowed: Option<bool>,
    /// Of the row written.
    pub id: Option<i64>,
}

/// A row of every query that reads: at least one comes, for its snapshot.
struct Row {
    snapshot: String,
    allowed: Option<bool>,
    key: Option<i64>,
    id: Option<i64>,
    item: Option<String>,
}

fn found(rows: Vec<Row>, page: &Page) -> Result<Found, StoreError> {
    let unexpected = || StoreError::Answer("a query must say its snapshot".into());
    let first = rows.first().ok_or_else(unexpected)?;
    let (snapshot, allowed) = (first.snapshot.parse().map_err(|_| unexpected())?, first.allowed);
    let place = |row: &Row| Some(Place { key: row.key?, id: row.id? });
    let mut items: Vec<_> = rows.into_iter().filter_map(|row| Some((place(&row)?, row.item?))).collect();
    // The outer join promises no order.
    items.sort_unstable_by_key(|(place, _)| *place);
    if page.down {
        items.reverse();
    }
    Ok(Found { snapshot, allowed, items })
}

impl Behalf {
    /// The active user of this key. None: it is no key of the reference tables, or nobody's.
    pub async fn person(&mut self, user: &str) -> Result<Option<Person>, StoreError> {
        let row =
            self.bounded(async |c| sqlx::query_file!("sql/reference/rights.sql", user).fetch_one(c).await).await?;
        Ok(row.id.map(|id| Person { id, staff: row.staff.unwrap_or_default(), role: row.role }))
    }
}
