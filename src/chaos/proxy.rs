//! Stands in front of Postgres or of the server and lets the network fail.
//!
//! ```text
//! client ──tcp──▶ 127.0.0.1:port ──two pumps per connection──▶ upstream (tcp or unix)
//!                       mode: pass (with a delay) | blackhole | refuse       cut: ends all connections now
//! ```

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Connections end when they are cut, and the port follows the mode: more than this is a bug.
const OBEYS_WITHIN: Duration = Duration::from_secs(10);

pub struct Proxy {
    addr: SocketAddr,
    state: Arc<State>,
    acceptor: JoinHandle<()>,
}

#[derive(Clone)]
enum Upstream {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Pass { delay: Duration },
    Blackhole,
    Refuse,
}

struct State {
    upstream: Mutex<Upstream>,
    mode: watch::Sender<Mode>,
    /// Counts what was asked to be corrupted: the next chunk towards the client is, once.
    corrupt: AtomicUsize,
    /// Counts the cuts; a connection that sees it change resets.
    cuts: watch::Sender<u64>,
    /// Does the port take connections?
    listening: watch::Sender<bool>,
    open: watch::Sender<usize>,
    accepted: AtomicUsize,
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
}

impl Proxy {
    pub async fn to_tcp(upstream: SocketAddr) -> Self {
        Self::start(Upstream::Tcp(upstream)).await
    }

    pub async fn to_unix(upstream: PathBuf) -> Self {
        Self::start(Upstream::Unix(upstream)).await
    }

    async fn start(upstream: Upstream) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(State {
            upstream: Mutex::new(upstream),
            mode: watch::Sender::new(Mode::Pass { delay: Duration::ZERO }),
            corrupt: AtomicUsize::new(0),
            cuts: watch::Sender::new(0),
            listening: watch::Sender::new(true),
            open: watch::Sender::new(0),
            accepted: AtomicUsize::new(0),
            bytes_up: AtomicU64::new(0),
            bytes_down: AtomicU64::new(0),
        });
        let acceptor = tokio::spawn(accept(listener, addr, state.clone()));
        Self { addr, state, acceptor }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Resets all connections (RST), now; new ones pass as the mode says. Returns when none is open, so not for peers
    /// that come back at once.
    pub async fn cut(&self) {
        self.cut_now();
        self.wait_open(0).await;
    }

    /// `cut`, without waiting.
    pub fn cut_now(&self) {
        self.state.cuts.send_modify(|n| *n += 1);
    }

    /// New connections go there: what a failover's address does.
    pub fn redirect_to_unix(&self, upstream: PathBuf) {
        *self.state.upstream.lock().unwrap_or_else(PoisonError::into_inner) = Upstream::Unix(upstream);
    }

    /// Half-open: connections stand, new ones are taken, nothing passes in either direction.
    pub fn blackhole(&self) {
        self.state.mode.send_replace(Mode::Blackhole);
    }

    /// Every chunk of bytes is held this long.
    pub fn delay(&self, ms: u64) {
        self.state.mode.send_replace(Mode::Pass { delay: Duration::from_millis(ms) });
    }

    /// The next chunk towards a client has a few bytes overwritten in its middle with what no text and no frame may
    /// hold; its connection is reset after it.
    pub fn corrupt(&self) {
        self.state.corrupt.store(1, Ordering::SeqCst);
    }

    /// No new connections: the port is closed. The ones that stand go on; `cut` them as well for a dead peer.
    pub async fn refuse(&self) {
        self.state.mode.send_replace(Mode::Refuse);
        self.wait_listening(false).await;
    }

    /// Everything passes at once; bytes that a blackhole held arrive.
    pub async fn restore(&self) {
        self.state.mode.send_replace(Mode::Pass { delay: Duration::ZERO });
        self.wait_listening(true).await;
    }

    /// Connections taken so far.
    pub fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }

    pub fn open(&self) -> usize {
        *self.state.open.borrow()
    }

    pub async fn wait_open(&self, n: usize) {
        let mut open = self.state.open.subscribe();
        let reached = tokio::time::timeout(OBEYS_WITHIN, open.wait_for(|&now| now == n)).await;
        reached.expect("the proxy's connections become so many").expect("the sender lives in self");
    }

    /// Bytes forwarded from clients to the upstream.
    pub fn bytes_up(&self) -> u64 {
        self.state.bytes_up.load(Ordering::SeqCst)
    }

    pub fn bytes_down(&self) -> u64 {
        self.state.bytes_down.load(Ordering::SeqCst)
    }

    async fn wait_listening(&self, wanted: bool) {
        let mut listening = self.state.listening.subscribe();
        let reached = tokio::time::timeout(OBEYS_WITHIN, listening.wait_for(|&now| now == wanted)).await;
        reached.expect("the proxy's port obeys").expect("the sender lives in self");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
        self.state.cuts.send_modify(|n| *n += 1);
    }
}

async fn accept(listener: TcpListener, addr: SocketAddr, state: Arc<State>) {
    let mut mode = state.mode.subscribe();
    let mut listener = Some(listener);
    loop {
        if *mode.borrow_and_update() == Mode::Refuse {
            listener = None;
        } else if listener.is_none() {
            listener = Some(TcpListener::bind(addr).await.expect("our port is still free"));
        }
        state.listening.send_replace(listener.is_some());
        let taken = async {
            match &listener {
                Some(l) => l.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Ok((client, _)) = taken => {
                state.accepted.fetch_add(1, Ordering::SeqCst);
                state.open.send_modify(|n| *n += 1);
                let state = state.clone();
                // Subscribed here: a cut right after this connect ends it, too.
                let cuts = state.cuts.subscribe();
                tokio::spawn(async move {
                    connection(client, &state, cuts).await;
                    state.open.send_modify(|n| *n -= 1);
                });
            }
            Ok(()) = mode.changed() => {}
            else => return,
        }
    }
}

async fn connection(client: TcpStream, state: &State, mut cuts: watch::Receiver<u64>) {
    let mut mode = state.mode.subscribe();
    let mut resets = vec![handle(&client)];
    let ended = tokio::select! {
        ended = async {
            passing(&mut mode).await;
            let upstream = state.upstream.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let upstream: Box<dyn Io> = match upstream {
                Upstream::Tcp(to) => {
                    let upstream = TcpStream::connect(to).await?;
                    resets.push(handle(&upstream));
                    Box::new(upstream)
                }
                Upstream::Unix(to) => Box::new(UnixStream::connect(to).await?),
            };
            // Not `into_split`, whose halves say goodbye (FIN) when dropped.
            let (client_out, client_in) = tokio::io::split(client);
            let (upstream_out, upstream_in) = tokio::io::split(upstream);
            tokio::try_join!(
                pump(client_out, upstream_in, mode.clone(), &state.bytes_up, None),
                pump(upstream_out, client_in, mode, &state.bytes_down, Some(&state.corrupt)),
            )
        } => ended.is_ok(),
        _ = cuts.changed() => false,
    };
    if !ended {
        for socket in resets {
            // Nothing lingers: the close that follows sends RST. A socket that is gone already needs none.
            let _ = socket.set_linger(Some(Duration::ZERO));
        }
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut mode: watch::Receiver<Mode>,
    bytes: &AtomicU64,
    corrupt: Option<&AtomicUsize>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        passing(&mut mode).await;
        let n = tokio::select! {
            n = from.read(&mut buffer) => n?,
            _ = mode.changed() => continue,
        };
        let delay = passing(&mut mode).await;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if n == 0 {
            return to.shutdown().await;
        }
        let spoilt = n >= 64 && corrupt.is_some_and(|c| c.swap(0, Ordering::SeqCst) == 1);
        if spoilt {
            buffer[n / 2..n / 2 + 16].fill(0xff);
        }
        to.write_all(&buffer[..n]).await?;
        if spoilt {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        bytes.fetch_add(n as u64, Ordering::SeqCst);
    }
}

/// Waits while nothing may pass; then how long to hold each chunk.
async fn passing(mode: &mut watch::Receiver<Mode>) -> Duration {
    let passing = mode.wait_for(|m| *m != Mode::Blackhole).await.map(|m| *m);
    match passing {
        Ok(Mode::Pass { delay }) => delay,
        Ok(_) => Duration::ZERO,
        Err(_) => std::future::pending().await, // the proxy is gone, and its cut is on the way
    }
}

/// A second hold on the socket, for its last moment.
fn handle(stream: &TcpStream) -> socket2::Socket {
    stream.set_nodelay(true).expect("a fresh socket");
    socket2::SockRef::from(stream).try_clone().expect("a descriptor is left")
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}
