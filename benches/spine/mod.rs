//! What the benches of the spine have in common: a Postgres of their own, and whose CPU time it was.

#![allow(dead_code, reason = "each bench uses its part")]

use std::error::Error;
use std::fs;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rowcast::domain::{ChannelName, DatabaseUrl, Drains as _};
use rowcast::embedded::{Embedded, Options};
use rowcast::hub::{Client as HubClient, Closed, Hub, Intake};
use rowcast::listener::{Config, Listener, ListenerHandle};
use rowcast::protocol::Dialects;
use rowcast::router::Router;
use rowcast::store::{MigrationSet, Store};
use tokio::sync::mpsc;
use tokio_postgres::{Client, NoTls};

/// As the program has it.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Of the listener under test: it is locked out while the log fills.
pub const LISTENER: &str = "bench_listener";

pub struct Postgres {
    pub server: Embedded,
    pub store: Store,
}

impl Postgres {
    /// Fresh, with rowcast installed. `durable`: commits wait for the disk.
    pub async fn start(name: &str, durable: bool) -> Result<Self> {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let mut settings = vec![("max_wal_size", "8GB"), ("checkpoint_timeout", "1h"), ("shared_buffers", "512MB")];
        settings.push(("max_connections", "200"));
        let settings = settings.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let server = tokio::task::spawn_blocking(move || {
            Embedded::discard(&root)?;
            Embedded::start(Options { root, durable, settings })
        });
        let server = server.await??;
        let store = Store::new(&DatabaseUrl::parse(&server.url("postgres"), "postgres")?, Default::default());
        store.migrate(MigrationSet::Core).await?;
        let postgres = Self { server, store };
        postgres.connect().await?.batch_execute(&format!("create role {LISTENER} login superuser")).await?;
        Ok(postgres)
    }

    pub async fn connect(&self) -> Result<Client> {
        connect(&self.server.url("postgres")).await
    }

    pub fn listener_url(&self) -> Result<DatabaseUrl> {
        Ok(DatabaseUrl::parse(&self.server.url_as(LISTENER, "postgres"), LISTENER)?)
    }

    /// To be called at the end: the cluster goes with all its data.
    pub fn remove(self) -> Result<()> {
        Ok(self.server.remove()?)
    }
}

/// Listener, router and hub, joined as `app` joins them.
pub struct Stage {
    pub listener: ListenerHandle,
    pub router: Arc<Router>,
    pub hub: Hub,
}

impl Stage {
    pub async fn start(config: Config, url: DatabaseUrl, store: Store) -> Result<Self> {
        /// Of `app`.
        const FEED_PIECES_MAX: usize = 16;
        let hub = Hub::start(rowcast::hub::Config::default(), Dialects::native().into_vec())?;
        let (feed, fed) = mpsc::channel(FEED_PIECES_MAX);
        let (router, _) = Router::start(Default::default(), store, Arc::new(hub.clone()), Arc::new(|| 0), fed);
        let listener = Listener::start(config, url, feed)?;
        if !listener.barrier().await {
            return Err("the listener does not come up".into());
        }
        Ok(Self { listener, router: Arc::new(router), hub })
    }

    /// The other ends of native WebSockets that have just gone live, one on each of `channels`.
    pub fn subscribe(&self, channels: impl Iterator<Item = String>) -> Result<Vec<TcpStream>> {
        let acceptor = TcpListener::bind("127.0.0.1:0")?;
        let mut sockets = Vec::new();
        for channel in channels {
            sockets.push(TcpStream::connect(acceptor.local_addr()?)?);
            let conn = self.hub.adopt_tcp(acceptor.accept()?.0, Vec::new(), 0, Arc::new(Deaf));
            let channel = ChannelName::new(&channel)?;
            let since = self.hub.join(conn, &channel)?;
            self.hub.go_live(conn, &channel, &since, &[])?;
        }
        Ok(sockets)
    }

    pub async fn stop(self) {
        self.listener.shutdown().await;
        self.hub.shutdown(1012, "", Duration::from_secs(5)).await;
    }
}

struct Deaf;

impl HubClient for Deaf {
    fn text(self: Arc<Self>, _: &str) -> Intake {
        Intake::More
    }
    fn binary(self: Arc<Self>) -> Intake {
        Intake::More
    }
    fn reset(self: Arc<Self>) {}
    fn closed(self: Arc<Self>, _: Closed) {}
}

/// Shows `heard` what comes from each, on a thread of its own, until all are closed.
pub fn read_all(sockets: Vec<TcpStream>, mut heard: impl FnMut(&[u8]) + Send + 'static) -> Result<()> {
    let mut poll = mio::Poll::new()?;
    let mut streams = Vec::new();
    for (i, socket) in sockets.into_iter().enumerate() {
        socket.set_nonblocking(true)?;
        let mut stream = mio::net::TcpStream::from_std(socket);
        poll.registry().register(&mut stream, mio::Token(i), mio::Interest::READABLE)?;
        streams.push(stream);
    }
    thread::Builder::new().name("clients".into()).spawn(move || {
        let mut events = mio::Events::with_capacity(1024);
        let mut buffer = vec![0; 64 * 1024];
        let mut open = streams.len();
        while open > 0 && poll.poll(&mut events, None).is_ok() {
            for event in &events {
                loop {
                    match streams[event.token().0].read(&mut buffer) {
                        Ok(0) => {
                            open -= 1;
                            break;
                        }
                        Ok(n) => heard(&buffer[..n]),
                        Err(_) => break,
                    }
                }
            }
        }
    })?;
    Ok(())
}

/// Driven by the current runtime.
pub async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Nanoseconds on a CPU of this process's threads whose names begin so.
pub fn threads_ns(name: &str) -> Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        // A thread may end between the two.
        let comm = fs::read_to_string(path.join("comm")).unwrap_or_default();
        if comm.starts_with(name) {
            sum += on_cpu_ns(&fs::read_to_string(path.join("schedstat")).unwrap_or_default());
        }
    }
    Ok(sum)
}

/// Of another process, such as a backend. 0 once it has ended.
pub fn process_ns(pid: i32) -> u64 {
    on_cpu_ns(&fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default())
}

fn on_cpu_ns(schedstat: &str) -> u64 {
    schedstat.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

pub fn median(values: &[f64]) -> f64 {
    percentile(values, 50.0)
}

pub fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len().saturating_sub(1)) as f64 * percent / 100.0;
    sorted.get(at.round() as usize).copied().unwrap_or(f64::NAN)
}
