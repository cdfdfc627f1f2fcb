//! The listener against a real Postgres: what was committed comes out of the feed, once, in order, whatever happens.

mod barrier;
mod bell;
mod cursor;
mod leader;
mod measure;
mod passing;
mod queue;
mod recovery;
mod tls;
mod usable;

use std::sync::Arc;

use rowcast::domain::{DatabaseUrl, Feed, Incarnation, LogRow, Snapshot};
use rowcast::listener::{Config, Listener, ListenerHandle, Live, StatsSnapshot, Status};
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::sync::mpsc;

use crate::kit::{TestDb, patiently};

const NEVER_MS: u64 = 3_600_000;

/// No belt: what the doorbell and the drains do not bring never comes.
fn beltless() -> Config {
    Config { safety_poll_ms: NEVER_MS, ping_interval_ms: NEVER_MS, ..Config::default() }
}

fn url(text: &str) -> DatabaseUrl {
    DatabaseUrl::parse(text, "app").expect("the kit's URLs are good")
}

/// The listener, and what came out of it.
struct Tap {
    handle: ListenerHandle,
    feed: mpsc::Receiver<Feed>,
    stream: Stream,
}

impl Tap {
    fn start(config: Config, address: &str) -> Self {
        Self::with_room(config, address, 64)
    }

    fn with_room(config: Config, address: &str, messages: usize) -> Self {
        let (tx, feed) = mpsc::channel(messages);
        let handle = Listener::start(config, url(address), tx).expect("the test's configuration is valid");
        Self { handle, feed, stream: Stream::default() }
    }

    /// Started, connected, and told where the stream begins.
    async fn live(config: Config, address: &str) -> Self {
        let mut tap = Self::start(config, address);
        tap.until("the stream to begin", |stream| !stream.begins.is_empty()).await;
        tap.status("live", |_| true).await;
        tap
    }

    /// Takes from the feed until the stream is as wanted.
    async fn until(&mut self, what: &str, enough: impl Fn(&Stream) -> bool) {
        let all = async {
            while !enough(&self.stream) {
                self.stream.take(self.feed.recv().await.expect("the listener runs"));
            }
        };
        patiently(what, all).await;
    }

    /// All rows that were visible when this was called have come, if any were to come.
    async fn caught_up(&mut self) {
        use rowcast::domain::Drains;
        let handle = self.handle.clone();
        let mut barrier = handle.barrier(); // bounded by itself
        loop {
            tokio::select! {
                passed = &mut barrier => return assert!(passed, "the barrier passes"),
                feed = self.feed.recv() => self.stream.take(feed.expect("the listener runs")),
            }
        }
    }

    /// Waits, taking from the feed all the while.
    async fn status(&mut self, what: &str, wanted: impl Fn(&Live) -> bool) -> Live {
        let mut status = self.handle.status();
        let reached = async {
            loop {
                if let Status::Live(live) = *status.borrow_and_update()
                    && wanted(&live)
                {
                    return live;
                }
                tokio::select! {
                    changed = status.changed() => changed.expect("the listener runs"),
                    feed = self.feed.recv() => self.stream.take(feed.expect("the listener runs")),
                }
            }
        };
        patiently(what, reached).await
    }

    async fn armed(&mut self) -> Live {
        self.status("to fall asleep", |live| live.asleep).await
    }

    fn stats(&self) -> StatsSnapshot {
        self.handle.stats().snapshot()
    }
}

/// What the feed told, checked as it came.
#[derive(Default)]
struct Stream {
    begins: Vec<Incarnation>,
    rows: Vec<LogRow>,
    /// Rows and `last` of each piece.
    pieces: Vec<(usize, bool)>,
    foreign: Vec<(String, String)>,
    at: Option<Arc<Snapshot>>,
    /// The drain in progress: its snapshots, and the last id.
    within: Option<(Arc<Snapshot>, Arc<Snapshot>, i64)>,
}

impl Stream {
    fn take(&mut self, feed: Feed) {
        match feed {
            Feed::Begin { incarnation, start } => {
                self.begins.push(incarnation);
                (self.at, self.within) = (Some(start), None);
            }
            Feed::Rows { prev, cur, rows, last } => {
                let at = self.at.as_ref().expect("the stream begins before its rows");
                assert!(cur.covers(&prev) && prev.covers(at), "snapshots only advance: {at}, {prev} to {cur}");
                let mut id = 0;
                if let Some((within_prev, within_cur, within_id)) = &self.within {
                    assert!(*within_prev == prev && *within_cur == cur, "a drain keeps its snapshots to its end");
                    id = *within_id;
                }
                for row in &rows {
                    assert!(row.id > id, "in the order of ids: {} after {id}", row.id);
                    assert!(cur.sees(row.xid) && !prev.sees(row.xid), "{row:?} does not belong to {prev} to {cur}");
                    id = row.id;
                }
                assert!(last || !rows.is_empty(), "only the last piece may be empty");
                self.pieces.push((rows.len(), last));
                self.rows.extend(rows);
                self.within = (!last).then(|| (prev, cur.clone(), id));
                if last {
                    self.at = Some(cur);
                }
            }
            Feed::Foreign { pg_channel, payload } => self.foreign.push((pg_channel.into(), payload)),
            Feed::Barrier(passed) => drop(passed.send(())),
        }
    }

    fn ids(&self) -> Vec<i64> {
        self.rows.iter().map(|row| row.id).collect()
    }

    fn news(&self) -> Vec<String> {
        let text = |row: &LogRow| String::from_utf8_lossy(row.new.as_deref().unwrap_or(b"null")).into_owned();
        self.rows.iter().map(text).collect()
    }

    fn has(&self, new: &str) -> bool {
        self.news().iter().any(|text| text == new)
    }
}

async fn run(connection: &mut PgConnection, sql: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await;
    done.unwrap_or_else(|e| panic!("{e}\nin: {sql}"));
}

async fn ask(connection: &mut PgConnection, sql: &str) -> String {
    let answer = sqlx::query_scalar::<_, Option<String>>(AssertSqlSafe(sql)).fetch_one(connection).await;
    answer.unwrap_or_else(|e| panic!("{e}\nin: {sql}")).unwrap_or_default()
}

/// A database with a table `note (body text)`, whose inserts are logged as rowcast's own triggers would.
async fn notes() -> TestDb<'static> {
    let db = TestDb::new().await;
    make_notes(&db).await;
    db
}

async fn make_notes(db: &TestDb<'_>) {
    db.exec(include_str!("notes.sql")).await;
}
