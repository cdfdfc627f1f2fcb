//! What the demo has of the reference applications: accounts, a little of everything, and a small change now and then.

use super::{Store, StoreError};

impl Store {
    /// Accounts and rows to look at, in one transaction. Repeatable; `Refused` where the users are not the demo's own.
    /// Needs `MigrationSet::Reference`.
    pub async fn install_demo_reference(&self) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::raw_sql(include_str!("../../sql/demo/reference.sql")).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Moves prices, and now and then an order, a submission, a notification; forgets what is old.
    pub async fn move_demo_reference(&self) -> Result<(), StoreError> {
        // Not prepared: the tables may be dropped and made again while the demo runs.
        sqlx::raw_sql(include_str!("../../sql/demo/move_reference.sql")).execute(&self.pool).await?;
        Ok(())
    }
}
