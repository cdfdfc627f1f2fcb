//! What the run happens on: one Postgres, some instances of the server, and a proxy in front of each of their ends.
//!
//! ```text
//! writers ──socket──▶ Postgres ◀── proxy ◀── instance ◀── proxy ◀── followers
//! ```

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio_postgres::NoTls;

use super::truth::Truth;
use super::{ChaosError, Proxy};
use crate::embedded::{self, Embedded, Mode, Options};

const SCHEMA: &str = include_str!("../../sql/chaos/schema.sql");
const DATABASE: &str = "postgres";
/// A crash reaches a follower this late at most, by way of an instance that had not noticed it yet.
const RESET_TRAVELS: Duration = Duration::from_secs(30);
/// Up, or ended: an instance that is neither for so long hangs, and that is a fault of ours.
const DECIDES_WITHIN: Duration = Duration::from_secs(120);
/// As patient as a supervisor, while Postgres comes and goes.
const READY_WITHIN: Duration = Duration::from_secs(600);
const STARTS_MAX: u32 = 60;
const SETTINGS: &[(&str, &str)] = &[
    ("max_connections", "100"),
    ("shared_buffers", "32MB"),
    // What was committed outlives the death of the process.
    ("synchronous_commit", "on"),
];

pub struct Stage {
    pub postgres: Arc<Embedded>,
    pub instances: Vec<Instance>,
    excuses: Excuses,
    /// The writers have stopped and everything is whole again.
    pub calm: AtomicBool,
    truth: OnceLock<Truth>,
}

pub struct Instance {
    pub to_postgres: Proxy,
    pub to_clients: Proxy,
    program: PathBuf,
    address: SocketAddr,
    log: PathBuf,
    recent_items_max: u32,
    child: Mutex<Option<Child>>,
}

/// What may have made the stream begin anew, or the log forget: a reset without one of these is a fault of ours.
struct Excuses {
    count: AtomicU64,
    began: Instant,
    last_ms: AtomicU64,
}

impl Stage {
    pub async fn set(program: &Path, root: &Path, instances: usize) -> Result<Arc<Self>, ChaosError> {
        let settings = SETTINGS.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let place = root.join("postgres");
        let postgres = tokio::task::spawn_blocking(move || {
            Embedded::discard(&place)?;
            Embedded::start(Options { root: place, durable: false, settings })
        })
        .await
        .expect("starting does not panic")?;
        let postgres = Arc::new(postgres);
        let migrated = Command::new(program).arg("migrate").env("DATABASE_URL", postgres.url(DATABASE)).output().await;
        let migrated = migrated.map_err(|e| ChaosError::Program(e.to_string()))?;
        if !migrated.status.success() {
            return Err(ChaosError::Program(String::from_utf8_lossy(&migrated.stderr).into_owned()));
        }
        connect(&postgres).await?.batch_execute(SCHEMA).await?;
        let mut all = Vec::new();
        for n in 0..instances {
            let address = free_address().await;
            let instance = Instance {
                to_postgres: Proxy::to_unix(postgres.socket_dir().join(".s.PGSQL.5432")).await,
                to_clients: Proxy::to_tcp(address).await,
                program: program.to_owned(),
                address,
                // Every second one forgets so soon that most who resume there need the log.
                recent_items_max: if n % 2 == 1 { 300 } else { 100_000 },
                log: root.join(format!("instance-{n}.log")),
                child: Mutex::new(None),
            };
            instance.start().await?;
            all.push(instance);
        }
        let excuses = Excuses { count: AtomicU64::new(0), began: Instant::now(), last_ms: AtomicU64::new(0) };
        Ok(Arc::new(Self { postgres, instances: all, excuses, calm: AtomicBool::new(false), truth: OnceLock::new() }))
    }

    pub async fn connect(&self) -> Result<tokio_postgres::Client, ChaosError> {
        connect(&self.postgres).await
    }

    /// A statement in a session of its own.
    pub async fn execute(&self, sql: &str) -> Result<(), ChaosError> {
        Ok(self.connect().await?.batch_execute(sql).await?)
    }

    /// What everybody must know in the end.
    pub fn settle(&self, truth: Truth) {
        let _ = self.truth.set(truth); // said once
    }

    /// Has a state channel come to what is true?
    pub fn settled(&self, channel: &str, state: Option<i64>) -> bool {
        let truth = self.truth.get().and_then(|t| t.get(channel));
        truth.and_then(|rows| rows.first()).is_some_and(|(_, v)| Some(*v) == state)
    }

    /// To be said before the deed.
    pub fn excuse_resets(&self) {
        let at = self.excuses.began.elapsed().as_millis() as u64;
        self.excuses.last_ms.store(at, Ordering::SeqCst);
        self.excuses.count.fetch_add(1, Ordering::SeqCst);
    }

    pub fn excuses(&self) -> u64 {
        self.excuses.count.load(Ordering::SeqCst)
    }

    /// May a follower that last began afresh when there were `seen` excuses be told to do so again?
    pub fn excused(&self, seen: u64) -> bool {
        let now = self.excuses.began.elapsed();
        let last = Duration::from_millis(self.excuses.last_ms.load(Ordering::SeqCst));
        self.excuses() > seen || (seen > 0 && now < last + RESET_TRAVELS)
    }

    /// Ends Postgres in this way and starts it again, `pause` later.
    pub async fn restart_postgres(&self, mode: Mode, pause: Duration) -> Result<(), ChaosError> {
        let postgres = self.postgres.clone();
        tokio::task::spawn_blocking(move || postgres.stop(mode)).await.expect("stopping does not panic");
        tokio::time::sleep(pause).await;
        for tries in 1.. {
            let postgres = self.postgres.clone();
            match tokio::task::spawn_blocking(move || postgres.restart(mode)).await.expect("starting does not panic") {
                // After a kill -9 its children hold the shared memory until they notice.
                Err(why) if tries < STARTS_MAX => tracing::info!("chaos: Postgres does not start yet: {why}"),
                done => return Ok(done?),
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        unreachable!("tries have no end")
    }

    pub async fn stop(&self) {
        for instance in &self.instances {
            instance.end(libc::SIGTERM).await;
        }
        let postgres = self.postgres.clone();
        let removed = tokio::task::spawn_blocking(move || postgres.remove()).await;
        if let Ok(Err(why)) = removed {
            tracing::warn!("chaos.stop: the cluster stays behind: {why}");
        }
    }
}

impl Instance {
    pub fn authority(&self) -> String {
        self.to_clients.addr().to_string()
    }

    /// Past the proxy.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// 0 where there is no /proc, or no server.
    pub async fn resident_kib(&self) -> u64 {
        let Some(pid) = self.pid().await else { return 0 };
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
        line.unwrap_or(0)
    }

    /// Bytes of its log.
    pub fn log_bytes(&self) -> u64 {
        std::fs::metadata(&self.log).map_or(0, |m| m.len())
    }

    pub async fn pid(&self) -> Option<u32> {
        self.child.lock().await.as_ref().and_then(Child::id)
    }

    pub async fn start(&self) -> Result<(), ChaosError> {
        let url = format!("postgres://{}@{}/{DATABASE}?sslmode=disable", embedded::USER, self.to_postgres.addr());
        let failed = |e: std::io::Error| ChaosError::Program(e.to_string());
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log).map_err(failed)?;
        let until = Instant::now() + READY_WITHIN;
        loop {
            let mut child = Command::new(&self.program)
                .args(["serve", "--listen", &self.address.to_string()])
                .env("DATABASE_URL", &url)
                .env("ROWCAST_CONNECTION_OPEN", "true")
                .env("ROWCAST_HUB_RECENT_ITEMS_MAX", self.recent_items_max.to_string())
                // A replay that takes longer is told as a reset: that a machine is slow shall explain none.
                .env("ROWCAST_STORE_STATEMENT_TIMEOUT_MS", "60000")
                // Who is away for a minute and a half misses a hundred thousand rows, and must still get each.
                .env("ROWCAST_CONNECTION_REPLAY_EVENTS_MAX", "1000000")
                .env("ROWCAST_CONNECTION_REPLAY_BYTES_MAX", (64 << 20).to_string())
                .env("ROWCAST_HUB_LEAD_BYTES_MAX", (128 << 20).to_string())
                .env("ROWCAST_ROUTER_REPLAY_ROWS_MAX", "2000000")
                .env_remove("LISTEN_DATABASE_URL")
                .current_dir(self.log.parent().expect("below the root"))
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(log.try_clone().map_err(failed)?)
                .kill_on_drop(true)
                .spawn()
                .map_err(failed)?;
            let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
            // Its database may be away at this moment: then it ends, and a supervisor would start it again.
            let decided = async {
                while let Ok(Some(line)) = lines.next_line().await {
                    if line.starts_with("rowcast listening on") {
                        return true;
                    }
                }
                false
            };
            let Ok(ready) = tokio::time::timeout(DECIDES_WITHIN, decided).await else {
                let why =
                    format!("an instance is neither up nor down after {DECIDES_WITHIN:?}: see {}", self.log.display());
                return Err(ChaosError::Program(why));
            };
            if ready {
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                *self.child.lock().await = Some(child);
                return Ok(());
            }
            let _ = child.wait().await; // it said nothing more
            if Instant::now() > until {
                return Err(ChaosError::Program(format!("an instance does not start: see {}", self.log.display())));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// By a signal, and waits for its end.
    pub async fn end(&self, signal: libc::c_int) {
        let Some(mut child) = self.child.lock().await.take() else { return };
        if let Some(pid) = child.id().and_then(|pid| libc::pid_t::try_from(pid).ok()) {
            // SAFETY: two integers; the child has not been waited for, so the pid is its own.
            unsafe { libc::kill(pid, signal) };
        }
        let _ = child.wait().await; // a child of ours
    }
}

async fn connect(postgres: &Embedded) -> Result<tokio_postgres::Client, ChaosError> {
    let (client, connection) = tokio_postgres::connect(&postgres.url(DATABASE), NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address")
}
