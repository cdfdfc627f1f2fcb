//! A poem acceptor whose sockets can be had back raw after an upgrade.
//!
//! poem boxes what its acceptor gives and hides hyper's `Upgraded`, so a WebSocket would write through two locks and
//! never vectored. Here the socket stays ours: the registry keeps it by a number, the number travels with each request
//! as its local address, and after the upgrade, when poem has dropped its half, the socket is taken out whole. (Not
//! under TLS: there the bytes go on through `RawIo`.)
//!
//! poem also has no header timeout, no bound on headers, and no back-off when `accept` fails for want of file
//! descriptors: the last is here, the others are `RawIo`'s.

use std::collections::HashMap;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use poem::http::uri::Scheme;
use poem::listener::Acceptor;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Addr, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};

use crate::connection::{Held, Limit};
use crate::hub;

use super::io::{Patience, RawIo};
use super::limits::{Limits, refusal};
use super::tls::Certificates;

const BACK_OFF_MIN: Duration = Duration::from_millis(10);
const BACK_OFF_MAX: Duration = Duration::from_secs(1);
/// How many that are refused hear why, at the same time, and how long they have to listen.
const REFUSED_MAX: usize = 256;
const REFUSED_TIMEOUT: Duration = Duration::from_secs(1);

/// The open HTTP connections.
#[derive(Default)]
pub(super) struct Registry {
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Socket>>>,
}

/// One TCP connection, shared by poem's half and the registry.
pub(super) struct Socket {
    pub tcp: TcpStream,
    pub encrypted: bool,
    /// Requests whose headers have come and whose response has not gone: the header clock stands still.
    busy: AtomicUsize,
    /// It is a WebSocket now, and the hub's clocks count.
    pub upgraded: AtomicBool,
    /// Its place in its address's count.
    held: Mutex<Option<Held>>,
    left: AtomicBool,
    leaving: Notify,
}

impl Socket {
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire) > 0 || self.upgraded.load(Ordering::Acquire)
    }

    /// The peer has said its last word, or cannot be heard.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Release);
        self.leaving.notify_waiters();
    }

    /// Ends when the peer leaves. poem goes on polling a connection whose end hyper has seen: a response that lasts must
    /// look for itself.
    pub async fn left(&self) {
        let mut leaving = pin!(self.leaving.notified());
        leaving.as_mut().enable();
        if !self.left.load(Ordering::Acquire) {
            leaving.await;
        }
    }

    /// Takes its place along, to where the connection goes on.
    pub fn take_held(&self) -> Option<Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// While it lives, the connection is busy.
pub(super) struct Busy(Arc<Socket>);

impl Registry {
    /// The socket that a request came on.
    pub fn of(&self, request: &Request) -> Option<Arc<Socket>> {
        match &request.local_addr().0 {
            Addr::Custom(SCHEME, number) => self.open().get(&number.parse().ok()?).cloned(),
            _ => None,
        }
    }

    pub fn busy(&self, request: &Request) -> Option<Busy> {
        let socket = self.of(request)?;
        socket.busy.fetch_add(1, Ordering::AcqRel);
        Some(Busy(socket))
    }

    pub fn forget(&self, number: u64) {
        self.open().remove(&number);
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<Socket>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

const SCHEME: &str = "conn";

pub(super) struct RawAcceptor {
    pub listener: TcpListener,
    pub registry: Arc<Registry>,
    /// No Nagle, and a bounded send buffer.
    pub prepare: hub::Config,
    pub patience: Patience,
    pub limits: Arc<Limits>,
    pub certificates: Option<Arc<Certificates>>,
    pub refused: Arc<Semaphore>,
}

impl RawAcceptor {
    pub fn refused() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(REFUSED_MAX))
    }

    /// Says why, where that costs little; no request is waited for.
    fn turn_away(&self, mut tcp: TcpStream, limit: Limit) {
        let Ok(permit) = self.refused.clone().try_acquire_owned() else { return };
        if self.certificates.is_some() {
            return;
        }
        tokio::spawn(async move {
            let said = async {
                tcp.write_all(&refusal(limit).into_bytes()).await?;
                tcp.shutdown().await?;
                // Closed with something unread, it would be reset, and our words lost.
                let mut unread = [0u8; 1024];
                while tcp.read(&mut unread).await? > 0 {}
                io::Result::Ok(())
            };
            let _ = tokio::time::timeout(REFUSED_TIMEOUT, said).await;
            drop(permit);
        });
    }
}

impl Acceptor for RawAcceptor {
    type Io = RawIo;

    fn local_addr(&self) -> Vec<LocalAddr> {
        self.listener.local_addr().map(|a| LocalAddr(a.into())).into_iter().collect()
    }

    async fn accept(&mut self) -> io::Result<(RawIo, LocalAddr, RemoteAddr, Scheme)> {
        let mut wait = BACK_OFF_MIN;
        loop {
            let (tcp, remote) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                // The client has gone again: its own affair.
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(e) => {
                    // Out of descriptors or memory: the next try would fail at once, and spin.
                    tracing::warn!(error = %e, wait_ms = wait.as_millis() as u64, "http.accept failed");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(BACK_OFF_MAX);
                    continue;
                }
            };
            wait = BACK_OFF_MIN;
            let welcome = match self.limits.welcome(remote.ip()) {
                Ok(welcome) => welcome,
                Err(limit) => {
                    tracing::debug!(peer = %remote.ip(), limit = limit.as_str(), "http.accept refused");
                    self.turn_away(tcp, limit);
                    continue;
                }
            };
            if let Err(e) = self.prepare.prepare_socket(&tcp) {
                tracing::debug!(error = %e, "http.accept: the connection was gone at once");
                continue;
            }
            let number = self.registry.next.fetch_add(1, Ordering::Relaxed);
            let socket = Arc::new(Socket {
                tcp,
                encrypted: self.certificates.is_some(),
                busy: AtomicUsize::new(0),
                upgraded: AtomicBool::new(false),
                held: Mutex::new(welcome.address),
                left: AtomicBool::new(false),
                leaving: Notify::new(),
            });
            self.registry.open().insert(number, socket.clone());
            let tls = self.certificates.as_ref().map(|certificates| certificates.acceptor());
            let scheme = if tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
            let guest = (self.limits.clone(), welcome.handshake);
            let io = RawIo::new(socket, number, self.registry.clone(), tls, self.patience, guest);
            let local = LocalAddr(Addr::custom(SCHEME, number.to_string()));
            return Ok((io, local, RemoteAddr(remote.into()), scheme));
        }
    }
}

/// Binds with a long backlog: after a restart everybody comes back at once.
pub(super) async fn bind(address: &str, backlog: i32) -> io::Result<TcpListener> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in tokio::net::lookup_host(address).await? {
        match bind_one(address, backlog) {
            Ok(listener) => return Ok(listener),
            Err(e) => failed = e,
        }
    }
    Err(failed)
}

fn bind_one(address: std::net::SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    // A port that our own last run has left in TIME_WAIT is free.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    TcpListener::from_std(socket.into())
}
