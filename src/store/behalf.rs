//! Queries on behalf of a client: a transaction that knows who asks.

use sqlx::{Postgres, Transaction};

use super::{Store, StoreError};
use crate::domain::Identity;

/// May what follows write?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// A transaction in which `current_setting('request.jwt.claims')` says who acts. Dropped, it is rolled back.
pub struct Behalf {
    pub(super) tx: Transaction<'static, Postgres>,
    store: Store,
}

impl Store {
    /// Begins it. Claims of a client without credentials are `{}`.
    pub async fn on_behalf(&self, identity: &Identity, access: Access) -> Result<Behalf, StoreError> {
        let claims = if identity.claims.is_empty() { "{}" } else { &*identity.claims };
        let begun = async {
            let mut tx = self.pool.begin().await?;
            let read_only = access == Access::Read;
            sqlx::query_file!("sql/store/on_behalf.sql", claims, read_only).fetch_one(&mut *tx).await?;
            Ok(tx)
        };
        Ok(Behalf { tx: self.bounded(begun).await?, store: self.clone() })
    }
}

impl Behalf {
    /// Subscribers learn of what was written after this.
    pub async fn commit(self) -> Result<(), StoreError> {
        let Self { tx, store } = self;
        store.bounded(async { Ok(tx.commit().await?) }).await
    }

    /// A query of the transaction, which ends on our side as well (`Store::bounded`).
    pub(super) async fn bounded<T>(
        &mut self,
        query: impl AsyncFnOnce(&mut sqlx::PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        let Self { tx, store } = self;
        store.bounded(async { Ok(query(tx).await?) }).await
    }
}
