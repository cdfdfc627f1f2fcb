use sqlx::query_file_as;

use super::{Behalf, Found, Page, Reader, Row, StoreError, found};

impl Behalf {
    pub async fn portfolios(&mut self, who: Reader, page: &Page) -> Result<Found, StoreError> {
        let query = query_file_as!(
            Row,
            "sql/reference/portfolios.sql",
            who.user,
            who.everything,
            page.down,
            page.after.map(|p| p.key),
            page.after.map(|p| p.id),
            page.limit,
        );
        found(self.bounded(async |c| query.fetch_all(c).await).await?, page)
    }

    /// As channel `portfolio:{id}` shows it.
    pub async fn portfolio(&mut self, who: Reader, id: i64) -> Result<Found, StoreError> {
        let query = query_file_as!(Row, "sql/reference/portfolio.sql", who.user, who.everything, id);
        found(self.bounded(async |c| query.fetch_all(c).await).await?, &Page::one())
    }

    /// One item, a JSON array. `since_us` None: the last day.
    pub async fn portfolio_history(
        &mut self,
        who: Reader,
        id: i64,
        since_us: Option<i64>,
        points: i32,
    ) -> Result<Found, StoreError> {
        let query =
            query_file_as!(Row, "sql/reference/portfolio_history.sql", who.user, who.everything, id, since_us, points);
        found(self.bounded(async |c| query.fetch_all(c).await).await?, &Page::one())
    }
}
