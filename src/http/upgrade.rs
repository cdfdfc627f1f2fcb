//! From an HTTP request to a raw socket.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt as _;
use poem::{Endpoint, OnUpgrade, Request, Response};
use tokio::io::AsyncReadExt as _;

use crate::auth::Auth;
use crate::connection::Visit;
use crate::connection::native::Transport;
use crate::domain::{Boxed, Caller};
use crate::hub::{Early, close};

use super::acceptor::{Registry, Socket};
use super::handshake::{Handshake, refusal};
use super::identify::{check_origin, identify, without_secrets};
use super::limits::{Admitted, Arrival, Kept};
use super::problem::{ApiError, ProblemCode};

/// What hyper had read ahead is at most its own buffer; a client that sends more than this before it has our answer is
/// no client.
const EARLY_BYTES_MAX: usize = 512 * 1024;

/// Receives the socket of a WebSocket after its handshake, and who is behind it.
pub type Adopt = Arc<dyn Fn(Transport, Visit) + Send + Sync>;
/// Asked before the upgrade; may refuse it, or note in the visit what it found.
pub type Admit = Arc<dyn for<'a> Fn(&'a mut Visit) -> Boxed<'a, Result<(), ApiError>> + Send + Sync>;

/// A path that is a WebSocket, in whatever dialect `adopt` speaks.
#[derive(Clone)]
pub struct SocketRoute {
    /// As poem writes it: `/ws/orders/:id`.
    pub path: String,
    pub protocols: &'static [&'static str],
    pub credentials: Credentials,
    pub admit: Option<Admit>,
    pub adopt: Adopt,
}

/// What becomes of what a client offers to say who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// It is not looked at: everybody is anonymous here.
    Ignored,
    /// What is not accepted is refused before the upgrade.
    Checked,
    /// What is not accepted is told by a close code after it.
    CheckedInside,
}

pub(super) struct Upgrade {
    pub route: SocketRoute,
    pub registry: Arc<Registry>,
    pub timeout: Duration,
    pub auth: Arc<Auth>,
}

impl Endpoint for Upgrade {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        Ok(self.answer(&request).await.unwrap_or_else(refusal))
    }
}

impl Upgrade {
    async fn visit(&self, request: &Request) -> Result<Visit, ApiError> {
        if self.route.credentials == Credentials::Ignored {
            return Ok(visit(request, Caller::default()));
        }
        match identify(&self.auth, request).await {
            Ok(caller) => Ok(visit(request, caller)),
            Err(error) if self.route.credentials == Credentials::CheckedInside => {
                let refused = match error.code.status().is_client_error() {
                    true => (close::UNAUTHORIZED, "Your credentials are not accepted."),
                    false => (close::TRY_LATER, "Who you are cannot be found out now: come again later."),
                };
                Ok(Visit { refused: Some(refused), ..visit(request, Caller::default()) })
            }
            Err(error) => Err(error),
        }
    }

    async fn answer(&self, request: &Request) -> Result<Response, ApiError> {
        let handshake = Handshake::check(request.headers(), self.route.protocols)?;
        let arrival = Arrival::of(request);
        // Before anything that costs a query.
        check_origin(&self.auth, None, request.headers())?;
        arrival.map_or(Ok(()), Arrival::room)?;
        let mut visit = self.visit(request).await?;
        let user = visit.identity.user.as_deref();
        let Admitted { kept, user } =
            arrival.map(|arrival| arrival.admit(request, user)).transpose()?.unwrap_or_default();
        visit.place = user;
        if let (Some(admit), None) = (&self.route.admit, visit.refused) {
            admit(&mut visit).await?;
        }
        // HTTP/2 connections have no upgrade, and a socket that is not ours cannot be taken.
        let unsuitable = || ApiError::new(ProblemCode::UpgradeRequired, "Connect with HTTP/1.1.");
        let upgrade = request.take_upgrade().map_err(|_| unsuitable())?;
        let socket = self.registry.of(request).ok_or_else(unsuitable)?;
        // From here on its bytes are no headers.
        socket.upgraded.store(true, Ordering::Release);
        let (adopt, timeout) = (self.route.adopt.clone(), self.timeout);
        tokio::spawn(async move {
            match tokio::time::timeout(timeout, taken(upgrade, socket, kept)).await {
                Ok(Some(transport)) => adopt(transport, visit),
                Ok(None) => tracing::debug!("http.upgrade: the client has gone"),
                Err(_) => tracing::debug!("http.upgrade: the client did not take our answer"),
            }
        });
        Ok(handshake.into_response())
    }
}

fn visit(request: &Request, caller: Caller) -> Visit {
    Visit {
        identity: caller.identity,
        credential: caller.credential,
        mark: caller.mark,
        // As pairs, poem would not give them.
        params: request.path_params::<BTreeMap<String, String>>().unwrap_or_default().into_iter().collect(),
        query: without_secrets(request.params().unwrap_or_default()),
        ..Visit::default()
    }
}

/// The socket, and with it the places that it takes.
async fn taken(upgrade: OnUpgrade, socket: Arc<Socket>, kept: Kept) -> Option<Transport> {
    let places = |socket: &Socket| -> Option<Box<dyn Any + Send + Sync>> {
        Some(Box::new((socket.take_held().map(Box::new), kept)))
    };
    if socket.encrypted {
        let early = Early { bytes: Vec::new(), held: places(&socket) };
        return Some(Transport::Io(Box::new(upgrade.await.ok()?), early));
    }
    let held = places(&socket);
    let (tcp, bytes) = take_raw(upgrade, socket).await?;
    Some(Transport::Tcp(tcp, Early { bytes, held }))
}

/// Waits until the `101` is written, takes what hyper had read ahead, and gives the raw socket.
async fn take_raw(upgrade: OnUpgrade, socket: Arc<Socket>) -> Option<(std::net::TcpStream, Vec<u8>)> {
    let mut upgraded = upgrade.await.ok()?;
    let mut early = Vec::new();
    let mut piece = [0u8; 4096];
    // First hyper's left-over, then what the socket has at once; half a frame is as good as any.
    loop {
        match upgraded.read(&mut piece).now_or_never() {
            Some(Ok(0)) | None => break,
            Some(Ok(n)) => early.extend_from_slice(&piece[..n]),
            Some(Err(_)) => return None,
        }
        if early.len() > EARLY_BYTES_MAX {
            tracing::debug!("http.upgrade: too much was sent ahead");
            return None;
        }
    }
    // poem's half goes, and with it the registry's: ours is the only one left.
    drop(upgraded);
    let socket = Arc::try_unwrap(socket).ok()?;
    let tcp = socket.tcp.into_std().ok()?;
    early.shrink_to_fit();
    Some((tcp, early))
}
