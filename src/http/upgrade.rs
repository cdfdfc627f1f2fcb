//! From an HTTP request to a raw socket.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt as _;
use poem::{Endpoint, OnUpgrade, Request, Response};
use tokio::io::AsyncReadExt as _;

use crate::connection::Visit;
use crate::connection::native::Transport;
use crate::domain::Boxed;
use crate::hub::Early;

use super::acceptor::{Registry, Socket};
use super::handshake::{Handshake, refusal};
use super::limits::{Caller, Held};
use super::problem::{ApiError, ProblemCode};

/// What hyper had read ahead is at most its own buffer; a client that sends more than this before it has our answer is
/// no client.
const EARLY_BYTES_MAX: usize = 512 * 1024;

/// Receives the socket of a WebSocket after its handshake, and who is behind it.
pub type Adopt = Arc<dyn Fn(Transport, Visit) + Send + Sync>;
/// Asked before the upgrade; may refuse it.
pub type Admit = Arc<dyn for<'a> Fn(&'a Visit) -> Boxed<'a, Result<(), ApiError>> + Send + Sync>;

/// A path that is a WebSocket, in whatever dialect `adopt` speaks.
#[derive(Clone)]
pub struct SocketRoute {
    /// As poem writes it: `/ws/orders/:id`.
    pub path: String,
    pub protocols: &'static [&'static str],
    pub admit: Option<Admit>,
    pub adopt: Adopt,
}

pub(super) struct Upgrade {
    pub route: SocketRoute,
    pub registry: Arc<Registry>,
    pub timeout: Duration,
}

impl Endpoint for Upgrade {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        Ok(self.answer(&request).await.unwrap_or_else(refusal))
    }
}

impl Upgrade {
    async fn answer(&self, request: &Request) -> Result<Response, ApiError> {
        let handshake = Handshake::check(request.headers(), self.route.protocols)?;
        let visit = visit(request);
        if let Some(admit) = &self.route.admit {
            admit(&visit).await?;
        }
        let user = visit.identity.user.as_deref();
        let held = Caller::of(request).map(|caller| caller.admit(request, user)).transpose()?.unwrap_or_default();
        // HTTP/2 connections have no upgrade, and a socket that is not ours cannot be taken.
        let unsuitable = || ApiError::new(ProblemCode::UpgradeRequired, "Connect with HTTP/1.1.");
        let upgrade = request.take_upgrade().map_err(|_| unsuitable())?;
        let socket = self.registry.of(request).ok_or_else(unsuitable)?;
        // From here on its bytes are no headers.
        socket.upgraded.store(true, Ordering::Release);
        let (adopt, timeout) = (self.route.adopt.clone(), self.timeout);
        tokio::spawn(async move {
            match tokio::time::timeout(timeout, taken(upgrade, socket, held)).await {
                Ok(Some(transport)) => adopt(transport, visit),
                Ok(None) => tracing::debug!("http.upgrade: the client has gone"),
                Err(_) => tracing::debug!("http.upgrade: the client did not take our answer"),
            }
        });
        Ok(handshake.into_response())
    }
}

fn visit(request: &Request) -> Visit {
    Visit {
        identity: Default::default(),
        params: request.path_params().unwrap_or_default(),
        query: request.params().unwrap_or_default(),
    }
}

/// The socket, and with it the places that it takes.
async fn taken(upgrade: OnUpgrade, socket: Arc<Socket>, held: Vec<Held>) -> Option<Transport> {
    let places = |socket: &Socket| -> Option<Box<dyn Any + Send + Sync>> { Some(Box::new((socket.take_held(), held))) };
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
