//! Orders, and what was changed of them.

use poem_openapi::param::{Header, Path, Query};
use poem_openapi::types::Any;
use poem_openapi::{Object, OpenApi};
use serde_json::Value;

use super::fields::{Fields, Required as _, invalid};
use super::paging::{Wanted, limit_default};
use super::read::{Answer, Made, verdict};
use super::{Desk, Raw, Tag, Visitor};
use crate::http::problem::ApiError;
use crate::store::Access;
use crate::store::reference::{NewOrder, OrderChange, OrderFilter};

pub(in crate::http) struct OrdersApi(pub(super) Desk);

/// An order; its game's own columns are where the game's table has them
#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
struct Order {
    id: i64,
    status: String,
    /// Percent
    progress: i32,
    /// Two decimals
    price: String,
    actual_price: String,
    booster_price: Option<String>,
    customer_id: Option<i64>,
    booster_id: Option<i64>,
    booster_username: Option<String>,
    manager_id: Option<i64>,
    reached_rank: Option<String>,
    reached_division: Option<i32>,
    reached_marks: Option<i32>,
    message: Option<String>,
    is_done: bool,
    /// RFC 3339, UTC
    created_at: String,
    updated_at: String,
}

#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
struct Orders {
    orders: Vec<Order>,
    /// Ask with `after` set to this for those that follow; absent at the end
    next: Option<String>,
    /// Channel `order:{id}` continues here
    cursor: String,
}

#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
struct OrderHistoryEntry {
    id: i64,
    order_id: i64,
    at: String,
    /// The table that changed
    part: String,
    /// `insert`, `update` or `delete`
    operation: String,
    /// For each column that changed: [before, after]
    changes: Any<Value>,
    /// In whose name; null: done in the database, or by a job
    user_id: Option<String>,
    username: Option<String>,
}

#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
struct OrderHistory {
    history: Vec<OrderHistoryEntry>,
    next: Option<String>,
    cursor: String,
}

#[derive(Object)]
#[allow(dead_code, reason = "describes what is read as text")]
struct OrderToMake {
    customer_id: i64,
    /// A decimal, as text or as a number
    price: String,
    /// What the customer pays; left out: the price
    actual_price: Option<String>,
    booster_price: Option<String>,
    booster_id: Option<i64>,
    manager_id: Option<i64>,
    /// 1 to 300 characters
    message: Option<String>,
}

/// What is left out stays
#[derive(Object)]
#[allow(dead_code, reason = "describes what is read as text")]
struct OrderToChange {
    /// `New`, `Continue`, `Extend`, `Droped`, `Done`
    status: Option<String>,
    /// 0 to 100
    progress: Option<i32>,
    /// 1 to 300 characters; null: none
    message: Option<String>,
    /// Only for its manager and staff; null: nobody's
    booster_id: Option<i64>,
}

const STATUS: [&str; 5] = ["New", "Continue", "Extend", "Droped", "Done"];
const MESSAGE_CHARS_MAX: usize = 300;

#[OpenApi(tag = "Tag::Orders")]
impl OrdersApi {
    /// List orders
    ///
    /// Those whose customer, booster or manager you are; staff see all.
    #[oai(path = "/orders", method = "get")]
    #[allow(clippy::too_many_arguments, reason = "each is a parameter of the request")]
    async fn list(
        &self,
        visitor: Visitor,
        status: Query<Option<String>>,
        customer_id: Query<Option<i64>>,
        booster_id: Query<Option<i64>>,
        manager_id: Query<Option<i64>>,
        /// `id`, `updated_at` or `price`; `-` in front: the greatest first. `-id` if left out
        sort: Query<Option<String>>,
        /// How many, 1 to 1000
        #[oai(default = "limit_default", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u64>,
        /// The `next` of the page before
        after: Query<Option<String>>,
        /// The `ETag` of an answer before
        #[oai(name = "If-None-Match")]
        if_none_match: Header<Option<String>>,
    ) -> Result<Answer<Orders>, ApiError> {
        let mut reading = self.0.read(&visitor.0, if_none_match.0).await?;
        reading.asker.known()?;
        let wanted = Wanted::new(&["id", "updated_at", "price"], sort.0, limit.0, after.0)?;
        let filter =
            OrderFilter { status: status.0, customer: customer_id.0, booster: booster_id.0, manager: manager_id.0 };
        let who = reading.asker.reader();
        let found = reading.asker.behalf.orders(who, &filter, &wanted.page).await;
        reading.list("orders", &wanted, found).await
    }

    /// One order
    #[oai(path = "/orders/:id", method = "get")]
    async fn one(
        &self,
        visitor: Visitor,
        id: Path<i64>,
        #[oai(name = "If-None-Match")] if_none_match: Header<Option<String>>,
    ) -> Result<Answer<Order>, ApiError> {
        let mut reading = self.0.read(&visitor.0, if_none_match.0).await?;
        reading.asker.known()?;
        let who = reading.asker.reader();
        let found = reading.asker.behalf.order(who, id.0).await;
        reading.one("order", found).await
    }

    /// What was changed of an order
    ///
    /// Of the order, its game's row and its transactions, and by whom. It outlives the order: then staff may read it.
    #[oai(path = "/orders/:id/history", method = "get")]
    async fn history(
        &self,
        visitor: Visitor,
        id: Path<i64>,
        /// `id`: from the first on; `-id` if left out
        sort: Query<Option<String>>,
        #[oai(default = "limit_default", validator(minimum(value = "1"), maximum(value = "1000")))] limit: Query<u64>,
        after: Query<Option<String>>,
        #[oai(name = "If-None-Match")] if_none_match: Header<Option<String>>,
    ) -> Result<Answer<OrderHistory>, ApiError> {
        let mut reading = self.0.read(&visitor.0, if_none_match.0).await?;
        reading.asker.known()?;
        let wanted = Wanted::new(&["id"], sort.0, limit.0, after.0)?;
        let who = reading.asker.reader();
        let found = reading.asker.behalf.order_history(who, id.0, &wanted.page).await?;
        verdict(&reading.asker, "order", found.allowed)?;
        reading.list("history", &wanted, Ok(found)).await
    }

    /// Make an order
    ///
    /// Staff only: it says what is to be paid.
    #[oai(path = "/orders", method = "post")]
    async fn create(&self, visitor: Visitor, body: Raw<OrderToMake>) -> Result<Made<Order>, ApiError> {
        let mut asker = self.0.ask(&visitor.0, Access::Write).await?;
        asker.staff()?;
        let known = ["customer_id", "price", "actual_price", "booster_price", "booster_id", "manager_id", "message"];
        let fields = Fields::of(&body, &known)?;
        let new = NewOrder {
            customer: fields.id("customer_id")?.required("customer_id")?,
            booster: fields.id("booster_id")?,
            manager: fields.id("manager_id")?,
            price: fields.amount("price")?.required("price")?,
            actual_price: fields.amount("actual_price")?,
            booster_price: fields.amount("booster_price")?,
            message: fields.text("message", 1..=MESSAGE_CHARS_MAX)?,
        };
        let id = asker.behalf.create_order(&new).await?;
        let who = asker.reader();
        let order = asker.behalf.order(who, id).await;
        Ok(Made::Made(asker.done(order).await?, format!("/api/orders/{id}")))
    }

    /// Change an order
    ///
    /// Its booster and its manager, and staff. The listeners of `order:{id}` get the new state.
    #[oai(path = "/orders/:id", method = "patch")]
    async fn change(&self, visitor: Visitor, id: Path<i64>, body: Raw<OrderToChange>) -> Result<Raw<Order>, ApiError> {
        let mut asker = self.0.ask(&visitor.0, Access::Write).await?;
        asker.known()?;
        let known = ["status", "progress", "message", "booster_id"];
        let fields = Fields::of(&body, &known)?;
        if !known.iter().any(|name| fields.has(name)) {
            return Err(invalid(known[0], format!("or another is required: {}", known.join(", "))));
        }
        let message = fields.text("message", 1..=MESSAGE_CHARS_MAX)?;
        let booster = fields.id("booster_id")?;
        let change = OrderChange {
            status: fields.choice("status", &STATUS)?,
            progress: fields.integer("progress", 0..=100)?.map(|n| n as i16),
            message: fields.has("message").then_some(message),
            booster: fields.has("booster_id").then_some(booster),
        };
        let who = asker.reader();
        let written = asker.behalf.change_order(who, id.0, &change).await?;
        verdict(&asker, "order", written.allowed)?;
        // As it is now, also where it is no more the booster's own.
        let order = asker.behalf.order(crate::store::reference::Reader { everything: true, ..who }, id.0).await;
        asker.done(order).await
    }
}
