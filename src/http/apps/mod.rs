//! REST of the reference applications: orders, learning, portfolios. `docs/REST.md`.
//!
//! ```text
//!  visitor ─▶ Parts::ask ─▶ transaction on behalf (claims, who it is) ─▶ one query: rows, verdict, snapshot
//!                                                                             │
//!      fields (a body's, checked) ─▶ write ─▶ commit ─▶ triggers ─▶ stream    ▼
//!                                                              read: cursor, ETag, next
//! ```

mod fields;
mod leaderboard;
mod notifications;
mod orders;
mod paging;
mod portfolios;
mod read;
mod rights;
mod submissions;
mod transactions;

use std::sync::Arc;

use poem_openapi::Tags;

use crate::connection::Shared;
use crate::domain::Identity;
use crate::store::{Access, Store};
use poem::{FromRequest, Request, RequestBody};

use super::identify::caller;
use super::problem::ApiError;
use super::raw::Raw;
use super::rest::not_ready;
use rights::Asker;

/// What it is served from.
#[derive(Clone)]
pub struct Reference {
    pub store: Store,
}

#[derive(Clone)]
struct Parts {
    shared: Arc<Shared>,
    store: Store,
}

/// Who asks, as handlers take it.
struct Visitor(Arc<Identity>);

impl<'a> FromRequest<'a> for Visitor {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        Ok(Self(caller(request).identity))
    }
}

/// None: to be described only.
#[derive(Clone)]
struct Desk(Option<Parts>);

#[derive(Tags)]
enum Tag {
    /// Orders and their transactions: for their customer, booster and manager, and staff
    Orders,
    /// Submissions, notifications, leaderboard, achievements
    Learning,
    /// What is held, and what it was worth
    Portfolios,
}

pub(super) type AppApis = (
    orders::OrdersApi,
    transactions::TransactionsApi,
    submissions::SubmissionsApi,
    notifications::NotificationsApi,
    leaderboard::LeaderboardApi,
    portfolios::PortfoliosApi,
);

pub(super) fn apis(reference: Option<(Reference, Arc<Shared>)>) -> AppApis {
    let desk = || Desk(reference.as_ref().map(|(r, shared)| Parts { shared: shared.clone(), store: r.store.clone() }));
    (
        orders::OrdersApi(desk()),
        transactions::TransactionsApi(desk()),
        submissions::SubmissionsApi(desk()),
        notifications::NotificationsApi(desk()),
        leaderboard::LeaderboardApi(desk()),
        portfolios::PortfoliosApi(desk()),
    )
}

impl Desk {
    fn parts(&self) -> Result<&Parts, ApiError> {
        self.0.as_ref().ok_or_else(not_ready)
    }

    /// Begins to act on behalf of the visitor.
    async fn ask(&self, visitor: &Arc<Identity>, access: Access) -> Result<Asker, ApiError> {
        let mut behalf = self.parts()?.store.on_behalf(visitor, access).await?;
        let person = match &visitor.user {
            Some(user) => behalf.person(user).await?,
            None => None,
        };
        Ok(Asker::new(behalf, visitor, person))
    }
}
