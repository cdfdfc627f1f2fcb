//! Money that came or went.

use poem_openapi::param::{Header, Path, Query};
use poem_openapi::{Object, OpenApi};

use super::fields::{Fields, Required as _};
use super::paging::{Wanted, limit_default};
use super::read::{Answer, Made, verdict};
use super::{Desk, Raw, Tag, Visitor};
use crate::http::problem::{ApiError, ProblemCode};
use crate::store::Access;
use crate::store::reference::{NewTransaction, TransactionFilter};

pub(in crate::http) struct TransactionsApi(pub(super) Desk);

#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
struct Transaction {
    id: i64,
    order_id: Option<i64>,
    user_id: i64,
    /// `DEPOSIT` or `WITHDRAWAL`
    #[oai(rename = "type")]
    kind: String,
    /// Two decimals
    amount: String,
    status: String,
    /// RFC 3339, UTC
    created_at: String,
}

#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
struct Transactions {
    transactions: Vec<Transaction>,
    /// Ask with `after` set to this for those that follow; absent at the end
    next: Option<String>,
    /// Channel `order:{id}` of their orders continues here
    cursor: String,
}

#[derive(Object)]
#[allow(dead_code, reason = "describes what is read as text")]
struct TransactionToMake {
    /// `DEPOSIT` or `WITHDRAWAL`
    #[oai(rename = "type")]
    kind: String,
    /// A decimal, as text or as a number
    amount: String,
    order_id: Option<i64>,
    /// Only for staff; left out: your own
    user_id: Option<i64>,
}

const KINDS: [&str; 2] = ["DEPOSIT", "WITHDRAWAL"];

#[OpenApi(tag = "Tag::Orders")]
impl TransactionsApi {
    /// List transactions
    ///
    /// Your own, and those of orders that you manage; staff see all.
    #[oai(path = "/transactions", method = "get")]
    #[allow(clippy::too_many_arguments, reason = "each is a parameter of the request")]
    async fn list(
        &self,
        visitor: Visitor,
        order_id: Query<Option<i64>>,
        user_id: Query<Option<i64>>,
        #[oai(name = "type")] kind: Query<Option<String>>,
        status: Query<Option<String>>,
        /// `id` or `amount`; `-` in front: the greatest first. `-id` if left out
        sort: Query<Option<String>>,
        /// How many, 1 to 1000
        #[oai(default = "limit_default", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u64>,
        /// The `next` of the page before
        after: Query<Option<String>>,
        #[oai(name = "If-None-Match")] if_none_match: Header<Option<String>>,
    ) -> Result<Answer<Transactions>, ApiError> {
        let mut reading = self.0.read(&visitor.0, if_none_match.0).await?;
        reading.asker.known()?;
        let wanted = Wanted::new(&["id", "amount"], sort.0, limit.0, after.0)?;
        let filter = TransactionFilter { order: order_id.0, user: user_id.0, kind: kind.0, status: status.0 };
        let who = reading.asker.reader();
        let found = reading.asker.behalf.transactions(who, &filter, &wanted.page).await;
        reading.list("transactions", &wanted, found).await
    }

    /// One transaction
    #[oai(path = "/transactions/:id", method = "get")]
    async fn one(
        &self,
        visitor: Visitor,
        id: Path<i64>,
        #[oai(name = "If-None-Match")] if_none_match: Header<Option<String>>,
    ) -> Result<Answer<Transaction>, ApiError> {
        let mut reading = self.0.read(&visitor.0, if_none_match.0).await?;
        reading.asker.known()?;
        let who = reading.asker.reader();
        let found = reading.asker.behalf.transaction(who, id.0).await;
        reading.one("transaction", found).await
    }

    /// Make a transaction
    ///
    /// Your own, on an order that you may see or on none. The listeners of its order hear of it.
    #[oai(path = "/transactions", method = "post")]
    async fn create(&self, visitor: Visitor, body: Raw<TransactionToMake>) -> Result<Made<Transaction>, ApiError> {
        let mut asker = self.0.ask(&visitor.0, Access::Write).await?;
        asker.known()?;
        let fields = Fields::of(&body, &["type", "amount", "order_id", "user_id"])?;
        let who = asker.reader();
        let user = match fields.id("user_id")? {
            None => asker.user()?,
            Some(user) if asker.is_staff() || Some(user) == who.user => user,
            Some(_) => return Err(ApiError::new(ProblemCode::Forbidden, "Only staff name another 'user_id'.")),
        };
        let new = NewTransaction {
            user,
            order: fields.id("order_id")?,
            kind: fields.choice("type", &KINDS)?.required("type")?,
            amount: fields.amount("amount")?.required("amount")?,
        };
        let written = asker.behalf.create_transaction(who, &new).await?;
        verdict(&asker, "order", written.allowed)?;
        let id = written.id.unwrap_or_default();
        let transaction = asker.behalf.transaction(who, id).await;
        Ok(Made::Made(asker.done(transaction).await?, format!("/api/transactions/{id}")))
    }
}
