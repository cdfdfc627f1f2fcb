//! One connection: how it is made, what is asked of the server first, and the task that reads its socket.
//! That task waits for nobody but the drain in progress; rings are a number, foreign payloads a bounded queue.

use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Notification, Row, Statement};

use super::ListenerError;
use super::config::{Config, PG_CHANNEL};
use super::connect::{Wire, connect};
use super::error::explained;
use super::stats::{Stats, add};
use crate::domain::{DatabaseHost, DatabaseUrl, Feed};

/// What `check` saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// `server_version_num`, such as 150018.
    pub server_version: i32,
    pub role: String,
    pub database: String,
    pub encrypted: bool,
    /// From the call of `pg_notify` until the ring was here.
    pub ring: Duration,
}

/// Connects as the listener would and looks whether it could work: version, primary, schema, rights, and a ring that
/// comes back. For the start of `serve`, and for `doctor`.
pub async fn check(config: &Config, url: &DatabaseUrl) -> Result<Checked, ListenerError> {
    let (nowhere, _kept) = mpsc::channel(1);
    let session = Session::open(config, url, nowhere, Arc::default()).await?;
    // Its own pg channel, so that the listeners sleep on.
    session.wait(session.client.batch_execute("listen rowcast_check")).await?;
    let start = Instant::now();
    session.query(include_str!("../../sql/listener/ring_check.sql"), &[]).await?;
    let heard = async {
        while session.ears.checks.load(Ordering::Acquire) == 0 && !session.ears.ended() {
            session.ears.woken.notified().await;
        }
    };
    timeout(session.reply_timeout, heard).await.map_err(|_| ListenerError::NoRing)?;
    if let Some(end) = session.ears.end() {
        return Err(ListenerError::Ended(end));
    }
    let ring = start.elapsed();
    let Hello { version, ref role, ref database, encrypted, .. } = session.hello;
    let checked = Checked { server_version: version, role: role.clone(), database: database.clone(), encrypted, ring };
    session.close().await;
    Ok(checked)
}

pub(super) struct Session {
    pub client: Client,
    pub hello: Hello,
    pub statements: Statements,
    pub ears: Arc<Ears>,
    pub reply_timeout: Duration,
    reader: JoinHandle<()>,
}

#[derive(Debug)]
pub(super) struct Hello {
    pub version: i32,
    pub pid: i32,
    pub role: String,
    pub database: String,
    pub encrypted: bool,
}

pub(super) struct Statements {
    pub drain: Statement,
    pub finish: Statement,
    pub arm: Statement,
    pub disarm: Statement,
    pub ring: Statement,
    pub writers_wait: Statement,
}

/// What the reader of the socket hears.
#[derive(Default)]
pub(super) struct Ears {
    pub woken: Notify,
    /// Rings of others, since last taken.
    rings: AtomicU64,
    /// Another listener came or went.
    peers_changed: AtomicBool,
    checks: AtomicU64,
    /// Why the connection is over.
    end: Mutex<Option<String>>,
}

impl Ears {
    pub fn take_rings(&self) -> u64 {
        self.rings.swap(0, Ordering::AcqRel)
    }

    pub fn take_peers_changed(&self) -> bool {
        self.peers_changed.swap(false, Ordering::AcqRel)
    }

    pub fn end(&self) -> Option<String> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ended(&self) -> bool {
        self.end().is_some()
    }
}

impl Session {
    /// Connects to the first host that is a usable primary, says LISTEN and prepares what is used often.
    pub async fn open(
        config: &Config,
        url: &DatabaseUrl,
        feed: mpsc::Sender<Feed>,
        stats: Arc<Stats>,
    ) -> Result<Self, ListenerError> {
        let mut last = None;
        for host in &url.hosts {
            match Self::open_host(config, url, host, &feed, &stats).await {
                Ok(session) => return Ok(session),
                // With several errors the most telling is the one of the server that answered.
                Err(error) => match (&last, &error) {
                    (Some(_), ListenerError::Connect { .. }) => {}
                    _ => last = Some(error),
                },
            }
        }
        Err(last.expect("DatabaseUrl has at least one host"))
    }

    async fn open_host(
        config: &Config,
        url: &DatabaseUrl,
        host: &DatabaseHost,
        feed: &mpsc::Sender<Feed>,
        stats: &Arc<Stats>,
    ) -> Result<Self, ListenerError> {
        let (client, connection) = connect(config, url, host).await?;
        let ears = Arc::new(Ears::default());
        let (foreign, queue) = mpsc::channel(config.foreign_queue_max);
        tokio::spawn(pass_foreign(queue, feed.clone(), stats.clone()));
        let pid = Arc::new(AtomicU64::new(0));
        let reader = tokio::spawn(read_socket(connection, ears.clone(), pid.clone(), foreign, stats.clone()));
        let reply_timeout = Duration::from_millis(config.reply_timeout_ms);
        let asked = Asked { client: &client, reply_timeout, ears: &ears };
        let prepared = async {
            let hello = asked.hello().await?;
            pid.store(hello.pid as u64, Ordering::Release);
            asked.settings(config, hello.version).await?;
            asked.listen(&config.foreign_channels).await?;
            Ok::<_, ListenerError>((hello, asked.statements().await?))
        };
        match prepared.await {
            Ok((hello, statements)) => Ok(Self { client, hello, statements, ears, reply_timeout, reader }),
            Err(error) => {
                reader.abort();
                Err(error)
            }
        }
    }

    /// Waits for an answer of the server, for a bounded time.
    pub async fn wait<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, ListenerError> {
        self.asked().wait(answer).await
    }

    /// The same with a patience of its own.
    pub async fn wait_up_to<T>(
        &self,
        patience: Duration,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, ListenerError> {
        Asked { reply_timeout: patience, ..self.asked() }.wait(answer).await
    }

    /// A rare query, one row: prepared anew each time.
    pub async fn query(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Row, ListenerError> {
        self.wait(self.client.query_one(sql, parameters)).await
    }

    /// Leaves cleanly: when this returns the server has let go of our locks, or did not answer for a second.
    pub async fn close(self) {
        let Self { client, mut reader, .. } = self;
        drop(client);
        if timeout(Duration::from_secs(1), &mut reader).await.is_err() {
            reader.abort();
        }
    }

    fn asked(&self) -> Asked<'_> {
        Asked { client: &self.client, reply_timeout: self.reply_timeout, ears: &self.ears }
    }
}

struct Asked<'a> {
    client: &'a Client,
    reply_timeout: Duration,
    ears: &'a Ears,
}

impl Asked<'_> {
    async fn wait<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, ListenerError> {
        match timeout(self.reply_timeout, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            // "connection closed" is all that the client's half knows; the reader knows why.
            Ok(Err(error)) if error.is_closed() => {
                Err(ListenerError::Ended(self.ears.end().unwrap_or_else(|| "closed".into())))
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(ListenerError::NoReply { after_ms: self.reply_timeout.as_millis() as u64 }),
        }
    }

    async fn hello(&self) -> Result<Hello, ListenerError> {
        let row = self.wait(self.client.query_one(include_str!("../../sql/listener/version.sql"), &[])).await?;
        let (version, standby): (i32, bool) = (row.try_get(0)?, row.try_get(1)?);
        if version < 130_000 {
            return Err(ListenerError::TooOld { major: version / 10_000 });
        }
        if standby {
            return Err(ListenerError::Standby);
        }
        let row = self.wait(self.client.query_one(include_str!("../../sql/listener/hello.sql"), &[])).await?;
        let (pid, role, database, encrypted) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        let (missing, forbidden): (Vec<String>, Vec<String>) = (row.try_get(4)?, row.try_get(5)?);
        if !missing.is_empty() {
            return Err(ListenerError::NotInstalled { database, missing });
        }
        if !forbidden.is_empty() {
            return Err(ListenerError::Rights { role, missing: forbidden });
        }
        Ok(Hello { version, pid, role, database, encrypted })
    }

    async fn settings(&self, config: &Config, version: i32) -> Result<(), ListenerError> {
        let texts = [
            config.keepalive_idle_s,
            config.keepalive_interval_s,
            u64::from(config.keepalive_count),
            config.tcp_user_timeout_ms,
        ]
        .map(|n| n.to_string());
        let [idle, interval, count, user_timeout] = &texts;
        let sql = include_str!("../../sql/listener/settings.sql");
        self.wait(self.client.query_one(sql, &[idle, interval, count, user_timeout])).await?;
        if version >= 140_000 {
            let sql = include_str!("../../sql/listener/settings_14.sql");
            let server_check = config.server_check_ms.to_string();
            match self.wait(self.client.query_one(sql, &[&server_check])).await {
                Err(ListenerError::Query(error)) => {
                    tracing::debug!(error = explained(&error), "this server cannot watch its connections");
                }
                other => drop(other?),
            }
        }
        Ok(())
    }

    async fn listen(&self, foreign_channels: &[String]) -> Result<(), ListenerError> {
        self.wait(self.client.batch_execute(&format!("listen {PG_CHANNEL}"))).await?;
        for channel in foreign_channels {
            // LISTEN takes no parameters; a quoted identifier may hold anything, its quotes doubled.
            let identifier = channel.replace('"', "\"\"");
            self.wait(self.client.batch_execute(&format!("listen \"{identifier}\""))).await?;
        }
        Ok(())
    }

    async fn statements(&self) -> Result<Statements, ListenerError> {
        Ok(Statements {
            drain: self.wait(self.client.prepare(include_str!("../../sql/listener/drain.sql"))).await?,
            finish: self.wait(self.client.prepare(include_str!("../../sql/listener/finish.sql"))).await?,
            arm: self.wait(self.client.prepare(include_str!("../../sql/listener/arm.sql"))).await?,
            disarm: self.wait(self.client.prepare(include_str!("../../sql/listener/disarm.sql"))).await?,
            ring: self.wait(self.client.prepare(include_str!("../../sql/listener/ring.sql"))).await?,
            writers_wait: self.wait(self.client.prepare(include_str!("../../sql/listener/writers_wait.sql"))).await?,
        })
    }
}

/// Drives the connection until it ends.
async fn read_socket(
    mut connection: Wire,
    ears: Arc<Ears>,
    own_pid: Arc<AtomicU64>,
    foreign: mpsc::Sender<Notification>,
    stats: Arc<Stats>,
) {
    let end = loop {
        match poll_fn(|cx| connection.poll_message(cx)).await {
            Some(Ok(AsyncMessage::Notification(ring))) => match ring.channel() {
                PG_CHANNEL if ring.process_id() as u64 == own_pid.load(Ordering::Acquire) => continue,
                PG_CHANNEL => {
                    if ring.payload() == "instance" {
                        ears.peers_changed.store(true, Ordering::Release);
                    }
                    ears.rings.fetch_add(1, Ordering::AcqRel);
                    add(&stats.rings, 1);
                }
                "rowcast_check" => drop(ears.checks.fetch_add(1, Ordering::AcqRel)),
                _ => {
                    if foreign.try_send(ring).is_err() {
                        add(&stats.foreign_dropped, 1);
                    }
                    continue;
                }
            },
            Some(Ok(AsyncMessage::Notice(notice))) => {
                tracing::debug!(severity = notice.severity(), message = notice.message(), "listener.notice");
                continue;
            }
            Some(Ok(_)) => continue,
            Some(Err(error)) => break explained(&error),
            None => break "closed".to_owned(),
        }
        ears.woken.notify_one();
    };
    *ears.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    ears.woken.notify_one();
}

async fn pass_foreign(mut queue: mpsc::Receiver<Notification>, feed: mpsc::Sender<Feed>, stats: Arc<Stats>) {
    while let Some(ring) = queue.recv().await {
        let payload = Feed::Foreign { pg_channel: ring.channel().into(), payload: ring.payload().to_owned() };
        if feed.send(payload).await.is_err() {
            return;
        }
        add(&stats.foreign, 1);
    }
}
