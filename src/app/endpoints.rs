//! The endpoints of the applications that rowcast replaces, and those of the configuration: which path speaks which
//! dialect over which channels.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::Config;
use crate::connection::endpoint::{self, Auth, Clock, Door, Endpoint, Functions, Refusal, Reject};
use crate::connection::{Shared, Visit};
use crate::domain::{Boxed, Pattern};
use crate::http::{ApiError, Credentials, PROTOCOL, ProblemCode, SocketRoute};
use crate::protocol::fx_engine::FxEngine;
use crate::protocol::remittance::Remittance;
use crate::protocol::{Dialects, Talk};
use crate::store::Store;

/// The channels of `rowcast_fx.open_channels()`.
const RATES: &str = "rates";
const REFRESHED: &str = "rates:refreshed";
const PAIR: &str = "pair:";

pub struct Endpoints {
    pub fx_engine: Arc<Endpoint>,
    all: Vec<Arc<Endpoint>>,
}

impl Endpoints {
    /// Asks the database for the functions that the configuration names.
    pub async fn new(config: &Config, store: &Store, dialects: &mut Dialects, clock: &Clock) -> anyhow::Result<Self> {
        let remittance = Arc::new(Remittance { refreshed: REFRESHED.into() });
        let fx_engine = Arc::new(of_rates(store, dialects, clock, "/api/v1/ws/rates", Arc::new(FxEngine), &[]));
        let mut all =
            vec![Arc::new(of_rates(store, dialects, clock, "/ws/rates", remittance, &[REFRESHED])), fx_engine.clone()];
        let mut paths = BTreeMap::new();
        for (name, table) in config.all_endpoints()? {
            let declared = Endpoint::declared(&name, &table, store, dialects, clock).await;
            let endpoint = declared?;
            if let Some(other) = paths.insert(endpoint.path.clone(), name.clone()) {
                anyhow::bail!("endpoint.{name}.path: endpoint.{other} has this path, too");
            }
            all.push(Arc::new(endpoint));
        }
        Ok(Self { fx_engine, all })
    }

    pub fn sockets(&self, shared: &Arc<Shared>) -> Vec<SocketRoute> {
        self.all.iter().map(|endpoint| socket(shared.clone(), endpoint.clone())).collect()
    }
}

fn socket(shared: Arc<Shared>, endpoint: Arc<Endpoint>) -> SocketRoute {
    let (hall, door) = (shared.clone(), endpoint.clone());
    SocketRoute {
        path: endpoint.path.clone(),
        // A browser gives up a connection of which none of its subprotocols is chosen, and one of them may carry the token.
        protocols: &[PROTOCOL],
        credentials: match (endpoint.door.auth, endpoint.door.reject) {
            (Auth::None, _) => Credentials::Ignored,
            (_, Reject::Http) => Credentials::Checked,
            (_, Reject::Close) => Credentials::CheckedInside,
        },
        admit: Some(Arc::new(move |visit| admit(hall.clone(), door.clone(), visit))),
        adopt: Arc::new(move |transport, visit| endpoint::open(&shared, &endpoint, transport, &visit)),
    }
}

fn admit(shared: Arc<Shared>, endpoint: Arc<Endpoint>, visit: &mut Visit) -> Boxed<'_, Result<(), ApiError>> {
    Box::pin(async move {
        endpoint.admit(&shared, visit).await.map_err(|refusal| {
            let code = match &refusal {
                Refusal::Unauthorized => ProblemCode::NotAuthenticated,
                Refusal::Forbidden => ProblemCode::Forbidden,
                Refusal::NotFound => ProblemCode::NotFound,
                Refusal::Failed(error) => return error.clone().into(),
            };
            ApiError::new(code, refusal.sentence())
        })
    })
}

fn of_rates<T: Talk + 'static>(
    store: &Store,
    dialects: &mut Dialects,
    clock: &Clock,
    path: &str,
    talk: Arc<T>,
    also: &[&str],
) -> Endpoint {
    let channels = std::iter::once(&RATES).chain(also);
    Endpoint {
        path: path.into(),
        dialect: dialects.add(talk.clone()),
        talk,
        door: Door::default(),
        channels: channels.map(|name| Pattern::parse(name).expect("a plain name")).collect(),
        covered: 1 + also.len(),
        item: Some(PAIR),
        functions: Functions::none(store),
        clock: clock.clone(),
        audience: Default::default(),
        encoded: Default::default(),
    }
}
