use sqlx::{query_file, query_file_as};

use super::{Behalf, Found, Page, Reader, Row, StoreError, Written, found};

#[derive(Clone, Debug, Default)]
pub struct OrderFilter {
    pub status: Option<String>,
    pub customer: Option<i64>,
    pub booster: Option<i64>,
    pub manager: Option<i64>,
}

#[derive(Clone, Debug, Default)]
pub struct TransactionFilter {
    pub order: Option<i64>,
    pub user: Option<i64>,
    pub kind: Option<String>,
    pub status: Option<String>,
}

/// Amounts are decimal text.
#[derive(Clone, Debug)]
pub struct NewOrder {
    pub customer: i64,
    pub booster: Option<i64>,
    pub manager: Option<i64>,
    pub price: String,
    pub actual_price: Option<String>,
    pub booster_price: Option<String>,
    pub message: Option<String>,
}

/// What is None stays. `Some(None)` empties.
#[derive(Clone, Debug, Default)]
pub struct OrderChange {
    pub status: Option<String>,
    pub progress: Option<i16>,
    pub message: Option<Option<String>>,
    pub booster: Option<Option<i64>>,
}

#[derive(Clone, Debug)]
pub struct NewTransaction {
    pub user: i64,
    pub order: Option<i64>,
    pub kind: String,
    /// Decimal text.
    pub amount: String,
}

impl Behalf {
    pub async fn orders(&mut self, who: Reader, filter: &OrderFilter, page: &Page) -> Result<Found, StoreError> {
        self.orders_of(who, None, filter, page).await
    }

    pub async fn order(&mut self, who: Reader, id: i64) -> Result<Found, StoreError> {
        self.orders_of(who, Some(id), &OrderFilter::default(), &Page::one()).await
    }

    async fn orders_of(
        &mut self,
        who: Reader,
        id: Option<i64>,
        filter: &OrderFilter,
        page: &Page,
    ) -> Result<Found, StoreError> {
        let query = query_file_as!(
            Row,
            "sql/reference/orders.sql",
            who.user,
            who.everything,
            id,
            filter.status,
            filter.customer,
            filter.booster,
            filter.manager,
            page.by,
            page.down,
            page.after.map(|p| p.key),
            page.after.map(|p| p.id),
            page.limit,
        );
        found(self.bounded(async |c| query.fetch_all(c).await).await?, page)
    }

    /// `allowed` None: there is no such order, and never was.
    pub async fn order_history(&mut self, who: Reader, id: i64, page: &Page) -> Result<Found, StoreError> {
        let query = query_file_as!(
            Row,
            "sql/reference/order_history.sql",
            who.user,
            who.everything,
            id,
            page.down,
            page.after.map(|p| p.key),
            page.after.map(|p| p.id),
            page.limit,
        );
        found(self.bounded(async |c| query.fetch_all(c).await).await?, page)
    }

    pub async fn create_order(&mut self, new: &NewOrder) -> Result<i64, StoreError> {
        let query = query_file!(
            "sql/reference/order_create.sql",
            new.customer,
            new.booster,
            new.manager,
            new.price,
            new.actual_price,
            new.booster_price,
            new.message,
        );
        Ok(self.bounded(async |c| query.fetch_one(c).await).await?.id)
    }

    pub async fn change_order(&mut self, who: Reader, id: i64, change: &OrderChange) -> Result<Written, StoreError> {
        let query = query_file_as!(
            Written,
            "sql/reference/order_change.sql",
            who.user,
            who.everything,
            id,
            change.status,
            change.progress,
            change.message.is_some(),
            change.message.clone().flatten(),
            change.booster.is_some(),
            change.booster.flatten(),
        );
        self.bounded(async |c| query.fetch_one(c).await).await
    }

    pub async fn transactions(
        &mut self,
        who: Reader,
        filter: &TransactionFilter,
        page: &Page,
    ) -> Result<Found, StoreError> {
        self.transactions_of(who, None, filter, page).await
    }

    pub async fn transaction(&mut self, who: Reader, id: i64) -> Result<Found, StoreError> {
        self.transactions_of(who, Some(id), &TransactionFilter::default(), &Page::one()).await
    }

    async fn transactions_of(
        &mut self,
        who: Reader,
        id: Option<i64>,
        filter: &TransactionFilter,
        page: &Page,
    ) -> Result<Found, StoreError> {
        let query = query_file_as!(
            Row,
            "sql/reference/transactions.sql",
            who.user,
            who.everything,
            id,
            filter.order,
            filter.user,
            filter.kind,
            filter.status,
            page.by,
            page.down,
            page.after.map(|p| p.key),
            page.after.map(|p| p.id),
            page.limit,
        );
        found(self.bounded(async |c| query.fetch_all(c).await).await?, page)
    }

    /// `allowed` is about the order.
    pub async fn create_transaction(&mut self, who: Reader, new: &NewTransaction) -> Result<Written, StoreError> {
        let query = query_file_as!(
            Written,
            "sql/reference/transaction_create.sql",
            new.user,
            who.everything,
            new.order,
            who.user,
            new.kind,
            new.amount,
        );
        self.bounded(async |c| query.fetch_one(c).await).await
    }
}
