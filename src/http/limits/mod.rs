//! What one address, one user, or all together may take.
//!
//! ```text
//!  accept ──welcome: rate, count per address──▶ request ──Arrival: rate per address──▶ /ws, /sse ──admit: all, user──▶ hub
//! ```
//! A place that is held lives as long as its socket: the acceptor takes it, the upgrade hands it on to the hub. What
//! comes through a proxy of ours is nobody's until its headers say whose, and then counts from `admit` on.

mod address;
mod rate;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use poem::http::Version;
use poem::{Addr, Request};

use crate::connection::{Counts, Held, Limit, One, Shared, Total};

use super::Config;
use super::problem::{ApiError, ProblemCode};

pub use address::{ForwardedHeader, NetworkError};

use address::Network;
use rate::Rate;

pub(super) struct Limits {
    shared: Arc<Shared>,
    trusted: Vec<Network>,
    unlimited: Vec<Network>,
    header: ForwardedHeader,
    connections_max: usize,
    per_address_max: usize,
    handshakes_max: usize,
    connections: Arc<Total>,
    addresses: Arc<Counts>,
    handshakes: Arc<Counts>,
    new: Rate,
    new_per_address: Rate,
    requests: Rate,
    publishes: Rate,
    /// What is counted for all together.
    everybody: Arc<str>,
}

/// The places that a new connection takes.
pub(super) struct Welcome {
    pub handshake: Held,
    /// None: its address is not limited, or is a proxy's.
    pub address: Option<Held>,
}

/// The places of a WebSocket or event stream.
#[derive(Default)]
pub(super) struct Admitted {
    pub kept: Kept,
    /// Its user's, who may become another.
    pub user: Option<Arc<Held>>,
}

/// Of those the ones that it has as long as it lasts. Every idle connection has them: small.
#[derive(Default)]
pub(super) struct Kept {
    _one: Option<One>,
    _address: Option<Box<Held>>,
}

/// Where a request comes from; travels with it.
#[derive(Clone)]
pub(super) struct Arrival {
    pub address: IpAddr,
    /// Not the peer itself: a proxy of ours speaks for it.
    proxied: bool,
    limits: Arc<Limits>,
}

impl Limits {
    pub fn new(config: &Config, shared: Arc<Shared>) -> Result<Arc<Self>, NetworkError> {
        let networks = |texts: &[String]| texts.iter().map(|t| t.parse()).collect::<Result<Vec<Network>, _>>();
        Ok(Arc::new(Self {
            shared,
            trusted: networks(&config.trusted_proxies)?,
            unlimited: networks(&config.unlimited_addresses)?,
            header: config.forwarded_header,
            connections_max: config.connections_max,
            per_address_max: config.connections_per_address_max,
            handshakes_max: config.handshakes_max,
            connections: Default::default(),
            addresses: Default::default(),
            handshakes: Default::default(),
            new: Rate::new(config.new_connections_per_s_max),
            new_per_address: Rate::new(config.new_connections_per_address_per_s_max),
            requests: Rate::new(config.requests_per_address_per_s_max),
            publishes: Rate::new(config.publishes_per_s_max),
            everybody: "".into(),
        }))
    }

    pub fn count(&self, limit: Limit) {
        self.shared.stats.refusals.count(limit);
    }

    /// May this connection begin?
    pub fn welcome(&self, peer: IpAddr) -> Result<Welcome, Limit> {
        let now = Instant::now();
        let refuse = |limit| {
            self.count(limit);
            limit
        };
        let ours = self.trusted.iter().any(|network| network.contains(peer));
        let mut address = None;
        if !ours && self.limited(peer) {
            let group = address::group(peer);
            if !self.new_per_address.take(&group, now) {
                return Err(refuse(Limit::NewConnectionsPerAddress));
            }
            let held = self.addresses.hold(&group, self.per_address_max);
            address = Some(held.ok_or_else(|| refuse(Limit::ConnectionsPerAddress))?);
        }
        if !self.new.take(&self.everybody, now) {
            return Err(refuse(Limit::NewConnections));
        }
        let handshake = self.handshakes.hold(&self.everybody, self.handshakes_max);
        Ok(Welcome { handshake: handshake.ok_or_else(|| refuse(Limit::Handshakes))?, address })
    }

    pub fn arrival(self: &Arc<Self>, request: &Request) -> Arrival {
        let peer = match &request.remote_addr().0 {
            Addr::SocketAddr(address) => address.ip(),
            _ => SocketAddr::from(([0, 0, 0, 0], 0)).ip(),
        };
        let (address, proxied) = address::client(peer, request.headers(), self.header, &self.trusted);
        Arrival { address, proxied, limits: self.clone() }
    }

    fn limited(&self, address: IpAddr) -> bool {
        !self.unlimited.iter().any(|network| network.contains(address))
    }
}

impl Arrival {
    /// As `Front` has found it.
    pub fn of(request: &Request) -> Option<&Arrival> {
        request.data()
    }

    /// One more request.
    pub fn ask(&self) -> Result<(), ApiError> {
        let limits = &self.limits;
        if !limits.limited(self.address) || limits.requests.take(&address::group(self.address), Instant::now()) {
            return Ok(());
        }
        Err(self.refuse(Limit::Requests))
    }

    /// One more event to publish, by this user, or by this address where there is none.
    pub fn publish(&self, user: Option<&str>) -> Result<(), ApiError> {
        let limits = &self.limits;
        let whose = match user {
            Some(user) => format!("user {user}").into(),
            None if limits.limited(self.address) => address::group(self.address),
            None => return Ok(()),
        };
        if limits.publishes.take(&whose, Instant::now()) { Ok(()) } else { Err(self.refuse(Limit::Publishes)) }
    }

    /// Is there room for one more connection at all?
    pub fn room(&self) -> Result<(), ApiError> {
        let limits = &self.limits;
        let max = limits.connections_max;
        if max == 0 || limits.connections.now() < max {
            return Ok(());
        }
        Err(self.refuse(Limit::Connections))
    }

    /// One more WebSocket or event stream.
    pub fn admit(&self, request: &Request, user: Option<&str>) -> Result<Admitted, ApiError> {
        let limits = &self.limits;
        let one = limits.connections.hold(limits.connections_max).ok_or_else(|| self.refuse(Limit::Connections))?;
        let mut kept = Kept { _one: Some(one), _address: None };
        // Otherwise the acceptor has counted it. Many streams may share one HTTP/2 connection.
        let uncounted = self.proxied || request.version() == Version::HTTP_2;
        if uncounted && limits.limited(self.address) {
            let place = limits.addresses.hold(&address::group(self.address), limits.per_address_max);
            kept._address = Some(Box::new(place.ok_or_else(|| self.refuse(Limit::ConnectionsPerAddress))?));
        }
        let user = match user.map(|user| limits.shared.users.hold(user)) {
            Some(None) => return Err(self.refuse(Limit::ConnectionsPerUser)),
            place => place.flatten().map(Arc::new),
        };
        Ok(Admitted { kept, user })
    }

    /// Nobody speaks from this machine for somebody else, as far as can be seen.
    pub fn is_this_machine(&self, request: &Request) -> bool {
        let relayed = RELAYED.iter().any(|name| request.headers().contains_key(*name));
        self.address.is_loopback() && !self.proxied && !relayed
    }

    fn refuse(&self, limit: Limit) -> ApiError {
        self.limits.count(limit);
        refusal(limit)
    }
}

/// What only those write who pass requests on.
const RELAYED: [&str; 6] =
    ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];

/// What somebody is told whom this limit stands against.
pub(super) fn refusal(limit: Limit) -> ApiError {
    let (code, detail) = match limit {
        Limit::Connections | Limit::NewConnections | Limit::Handshakes => {
            (ProblemCode::TooManyConnections, "This server has as many connections as it takes: try again later.")
        }
        Limit::ConnectionsPerAddress => {
            (ProblemCode::ConnectionLimit, "Your address has as many connections as it may: close one.")
        }
        Limit::ConnectionsPerUser => {
            (ProblemCode::ConnectionLimit, "You have as many connections as you may: close one.")
        }
        Limit::NewConnectionsPerAddress => {
            (ProblemCode::TooManyRequests, "Your address connects too often: wait, and keep connections open.")
        }
        Limit::Requests => (ProblemCode::TooManyRequests, "Your address asks too often: wait a second, then ask less."),
        Limit::Publishes => (ProblemCode::TooManyRequests, "You publish too often: wait a second, then publish less."),
        Limit::HeaderBytes => (ProblemCode::HeadersTooLarge, "Send fewer or shorter headers."),
        Limit::HeaderTime => (ProblemCode::TimedOut, "The request's headers did not come in time: send them at once."),
        Limit::WriteStall => (ProblemCode::TimedOut, "You read too slowly."),
    };
    ApiError::new(code, detail)
}

/// Where every hop is a proxy of ours: under what its left-most one is counted.
#[cfg(any(test, fuzzing))]
pub(super) fn client_through_anybody(
    peer: IpAddr,
    headers: &poem::http::HeaderMap,
    which: ForwardedHeader,
) -> Arc<str> {
    let all = ["0.0.0.0/0", "::/0"].map(|network| network.parse().expect("a network"));
    address::group(address::client(peer, headers, which, &all).0)
}
