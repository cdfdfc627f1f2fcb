//! The endpoints of the applications that rowcast replaces: which path speaks which dialect over which channels.

use std::sync::Arc;

use crate::connection::Shared;
use crate::connection::endpoint::{self, Clock, Endpoint};
use crate::domain::ChannelName;
use crate::http::SocketRoute;
use crate::protocol::fx_engine::FxEngine;
use crate::protocol::remittance::Remittance;
use crate::protocol::{Dialects, Talk};

/// The channels of `rowcast_fx.open_channels()`.
const RATES: &str = "rates";
const REFRESHED: &str = "rates:refreshed";
const PAIR: &str = "pair:";

pub struct Endpoints {
    pub remittance: Arc<Endpoint>,
    pub fx_engine: Arc<Endpoint>,
}

impl Endpoints {
    pub fn new(dialects: &mut Dialects, clock: &Clock) -> Self {
        let remittance = Arc::new(Remittance { refreshed: REFRESHED.into() });
        Self {
            remittance: of_rates(dialects, clock, "/ws/rates", remittance, &[REFRESHED]),
            fx_engine: of_rates(dialects, clock, "/api/v1/ws/rates", Arc::new(FxEngine), &[]),
        }
    }

    pub fn sockets(&self, shared: &Arc<Shared>) -> Vec<SocketRoute> {
        let socket = |endpoint: &Arc<Endpoint>| {
            let (shared, endpoint) = (shared.clone(), endpoint.clone());
            SocketRoute {
                path: endpoint.path.into(),
                protocols: &[],
                admit: None,
                adopt: Arc::new(move |transport, visit| endpoint::open(&shared, &endpoint, transport, &visit)),
            }
        };
        [&self.remittance, &self.fx_engine].map(socket).into()
    }
}

fn of_rates<T: Talk + 'static>(
    dialects: &mut Dialects,
    clock: &Clock,
    path: &'static str,
    talk: Arc<T>,
    also: &[&str],
) -> Arc<Endpoint> {
    let channel = |name: &str| ChannelName::new(name).expect("a short name");
    Arc::new(Endpoint {
        path,
        dialect: dialects.add(talk.clone()),
        talk,
        shows: channel(RATES),
        also: also.iter().map(|name| channel(name)).collect(),
        item: PAIR,
        clock: clock.clone(),
        audience: Default::default(),
        encoded: Default::default(),
    })
}
