//! A poem acceptor whose sockets can be had back raw after an upgrade.
//!
//! poem boxes what its acceptor gives and hides hyper's `Upgraded`, so a WebSocket would write through two locks and
//! never vectored. Here the socket stays ours: the registry keeps it by a number, the number travels with each request
//! as its local address, and after the upgrade, when poem has dropped its half, the socket is taken out whole.
//!
//! poem also has no header timeout and no back-off when `accept` fails for want of file descriptors; both are here.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use poem::http::uri::Scheme;
use poem::listener::Acceptor;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Addr, Request};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep};

use crate::hub;

const BACK_OFF_MIN: Duration = Duration::from_millis(10);
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// The open HTTP connections.
#[derive(Default)]
pub(super) struct Registry {
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Socket>>>,
}

/// One TCP connection, shared by poem's half and the registry.
pub(super) struct Socket {
    pub tcp: TcpStream,
    /// Requests whose headers have come and whose response has not gone: the header clock stands still.
    busy: AtomicUsize,
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
    pub header_timeout: Duration,
    pub idle_timeout: Duration,
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
            if let Err(e) = self.prepare.prepare_socket(&tcp) {
                tracing::debug!(error = %e, "http.accept: the connection was gone at once");
                continue;
            }
            let number = self.registry.next.fetch_add(1, Ordering::Relaxed);
            let socket = Arc::new(Socket { tcp, busy: AtomicUsize::new(0) });
            self.registry.open().insert(number, socket.clone());
            let clock = Clock {
                sleep: Box::pin(tokio::time::sleep(self.header_timeout)),
                running: true,
                idle_timeout: self.idle_timeout,
            };
            let io = RawIo { socket, number, registry: self.registry.clone(), clock };
            let local = LocalAddr(Addr::custom(SCHEME, number.to_string()));
            return Ok((io, local, RemoteAddr(remote.into()), Scheme::HTTP));
        }
    }
}

/// poem's half of a connection.
pub(super) struct RawIo {
    socket: Arc<Socket>,
    number: u64,
    registry: Arc<Registry>,
    clock: Clock,
}

/// Runs while no request is being answered: a client that dribbles its headers, or says nothing more, is cut off.
struct Clock {
    sleep: Pin<Box<Sleep>>,
    running: bool,
    idle_timeout: Duration,
}

impl Clock {
    fn poll_expired(&mut self, busy: bool, cx: &mut Context<'_>) -> bool {
        if busy {
            self.running = false;
            return false;
        }
        if !self.running {
            self.running = true;
            self.sleep.as_mut().reset(Instant::now() + self.idle_timeout);
        }
        self.sleep.as_mut().poll(cx).is_ready()
    }
}

impl Drop for RawIo {
    fn drop(&mut self) {
        self.registry.open().remove(&self.number);
    }
}

impl AsyncRead for RawIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let busy = this.socket.busy.load(Ordering::Acquire) > 0;
        if this.clock.poll_expired(busy, cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        loop {
            ready!(this.socket.tcp.poll_read_ready(cx))?;
            match this.socket.tcp.try_read(buf.initialize_unfilled()) {
                Ok(n) => {
                    buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }
}

impl AsyncWrite for RawIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.tcp.poll_write_ready(cx))?;
            match self.socket.tcp.try_write(buf) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&self.socket.tcp).shutdown(std::net::Shutdown::Write))
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
