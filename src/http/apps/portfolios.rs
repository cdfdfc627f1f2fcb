//! Portfolios. Those that are nobody's are for everybody, as on the WebSocket.

use poem_openapi::param::{Header, Path, Query};
use poem_openapi::types::Any;
use poem_openapi::{Object, OpenApi};
use serde_json::Value;

use super::paging::{Wanted, limit_default};
use super::read::Answer;
use super::{Desk, Tag, Visitor};
use crate::http::problem::{ApiError, ProblemCode};

pub(in crate::http) struct PortfoliosApi(pub(super) Desk);

#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
struct PortfolioEntry {
    portfolio_id: i64,
    portfolio_name: String,
    /// Null: nobody's
    user_id: Option<i64>,
    is_active: bool,
    /// RFC 3339, UTC
    created_at: String,
    updated_at: String,
}

#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
struct Portfolios {
    portfolios: Vec<PortfolioEntry>,
    /// Ask with `after` set to this for those that follow; absent at the end
    next: Option<String>,
    /// Channel `portfolio:{id}` continues here
    cursor: String,
}

/// As channel `portfolio:{id}` shows it; decimals are JSON numbers
#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
struct Portfolio {
    portfolio_id: i64,
    portfolio_name: String,
    total_value: Any<Value>,
    total_change: Any<Value>,
    total_change_percent: Any<Value>,
    investments: Vec<Investment>,
}

#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
struct Investment {
    symbol: String,
    name: String,
    current_price: Any<Value>,
    change: Any<Value>,
    change_percent: Any<Value>,
    quantity: Any<Value>,
    value: Any<Value>,
}

/// A value holds until the next
#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
struct Worth {
    /// RFC 3339, UTC
    at: String,
    /// A JSON number
    value: Any<Value>,
}

const POINTS_DEFAULT: u64 = 200;

#[OpenApi(tag = "Tag::Portfolios")]
impl PortfoliosApi {
    /// List portfolios
    ///
    /// Your own, and nobody's; staff see all.
    #[oai(path = "/portfolios", method = "get")]
    async fn list(
        &self,
        visitor: Visitor,
        /// `id`: the oldest first; `-id` if left out
        sort: Query<Option<String>>,
        /// How many, 1 to 1000
        #[oai(default = "limit_default", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u64>,
        /// The `next` of the page before
        after: Query<Option<String>>,
        #[oai(name = "If-None-Match")] if_none_match: Header<Option<String>>,
    ) -> Result<Answer<Portfolios>, ApiError> {
        let mut reading = self.0.read(&visitor.0, if_none_match.0).await?;
        let wanted = Wanted::new(&["id"], sort.0, limit.0, after.0)?;
        let who = reading.asker.reader();
        let found = reading.asker.behalf.portfolios(who, &wanted.page).await;
        reading.list("portfolios", &wanted, found).await
    }

    /// One portfolio
    #[oai(path = "/portfolios/:id", method = "get")]
    async fn one(
        &self,
        visitor: Visitor,
        id: Path<i64>,
        #[oai(name = "If-None-Match")] if_none_match: Header<Option<String>>,
    ) -> Result<Answer<Portfolio>, ApiError> {
        let mut reading = self.0.read(&visitor.0, if_none_match.0).await?;
        let who = reading.asker.reader();
        let found = reading.asker.behalf.portfolio(who, id.0).await;
        reading.one("portfolio", found).await
    }

    /// What a portfolio was worth
    ///
    /// For a chart, oldest first: at most so many points, evenly spread, the last one always; before them the value that held at the
    /// beginning.
    #[oai(path = "/portfolios/:id/history", method = "get")]
    async fn history(
        &self,
        visitor: Visitor,
        id: Path<i64>,
        /// RFC 3339; a day ago if left out
        since: Query<Option<String>>,
        /// How many, 1 to 1000
        #[oai(default = "points_default", validator(minimum(value = "1"), maximum(value = "1000")))]
        points: Query<u64>,
        #[oai(name = "If-None-Match")] if_none_match: Header<Option<String>>,
    ) -> Result<Answer<Vec<Worth>>, ApiError> {
        let since_us = since.0.map(|text| moment(&text)).transpose()?;
        let mut reading = self.0.read(&visitor.0, if_none_match.0).await?;
        let who = reading.asker.reader();
        let found = reading.asker.behalf.portfolio_history(who, id.0, since_us, points.0 as i32).await;
        reading.one("portfolio", found).await
    }
}

fn points_default() -> u64 {
    POINTS_DEFAULT
}

/// In microseconds since 1970.
fn moment(text: &str) -> Result<i64, ApiError> {
    let moment = chrono::DateTime::parse_from_rfc3339(text).ok().filter(|t| t.timestamp() > 0);
    moment.map(|t| t.timestamp_micros()).ok_or_else(|| {
        ApiError::new(ProblemCode::BadRequest, "'since' is a time such as 2026-01-31T12:00:00Z (a + is written %2B).")
    })
}
