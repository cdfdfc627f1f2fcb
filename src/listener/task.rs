//! The listener's task.
//!
//! ```text
//!   Connecting ──session opened, heartbeat, leader or follower──▶ Live ──ring, pause over, barrier, safety poll──▶ drain
//!       ▲                                                          │ ▲                                             │
//!       └──── connection ended, no answer; pause with jitter ──────┘ └─────────────────────────────────────────────┘
//!                                                                             no room: Stalled, heartbeats go on
//! ```
//!
//! What survives a connection is the drainer's place in the stream; everything else (locks, role, heartbeat row)
//! belongs to the session and ends with it. A statement is never left open while waiting for something else, except
//! within a drain, and there for at most `feed_stall_ms`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_postgres::error::SqlState;

use super::backoff::Backoff;
use super::bell::{Bell, Rung};
use super::config::Config;
use super::drain::{Drained, Drainer, room};
use super::error::explained;
use super::session::Session;
use super::stats::{Stats, add};
use super::{ListenerError, Live, Status};
use crate::domain::{DatabaseUrl, Feed};

pub(super) async fn run(
    config: Config,
    url: DatabaseUrl,
    feed: mpsc::Sender<Feed>,
    stats: Arc<Stats>,
    status: watch::Sender<Status>,
    mut stop: watch::Receiver<bool>,
    barriers: mpsc::Receiver<oneshot::Sender<()>>,
) {
    let drainer = Drainer::new(&config, feed.clone(), stats.clone());
    let mut task = Task { config, url, feed, stats, status, drainer, barriers, waiting: Vec::new() };
    let mut backoff = Backoff::new(&task.config);
    loop {
        // Dropping either future is safe at any point: the drainer remembers what it passed on.
        let mut session = None;
        let error = tokio::select! {
            biased;
            () = stopped(&mut stop) => {
                if let Some(session) = session {
                    farewell(session).await;
                }
                break;
            }
            error = task.connect_and_live(&mut session, &mut backoff) => error,
        };
        drop(session);
        if matches!(error, ListenerError::FeedClosed) {
            break;
        }
        add(&task.stats.failures, 1);
        let since = match &*task.status.borrow() {
            Status::Connecting { since, .. } => *since,
            _ => Instant::now(),
        };
        let pause = backoff.next();
        let text: Arc<str> = error.to_string().into();
        tracing::warn!(error = &*text, retry_ms = pause.as_millis() as u64, "listener.connect");
        task.status.send_replace(Status::Connecting { since, last_error: Some(text) });
        tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            () = task.feed.closed() => break,
            () = sleep(pause) => {}
        }
    }
    task.status.send_replace(Status::Stopped);
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        // Every handle is gone: nobody can stop us any more but the feed's receiver.
        std::future::pending().await
    }
}

/// Lets go of the locks, which the server would only do some time after our goodbye, and takes our heartbeat away, so
/// that no one counts us.
async fn farewell(session: Session) {
    let last_words = async {
        session.query(include_str!("../../sql/listener/step_down.sql"), &[]).await?;
        session.wait(session.client.execute(include_str!("../../sql/listener/farewell.sql"), &[])).await
    };
    match tokio::time::timeout(Duration::from_secs(1), last_words).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(%error, "listener.farewell"),
        Err(_) => tracing::debug!("listener.farewell: no answer"),
    }
    session.close().await;
}

/// Wakes the others. Where the NOTIFY queue has no room, they find what there is at their safety poll.
async fn ring(session: &Session, word: &str) -> Result<(), ListenerError> {
    match session.wait(session.client.query_one(&session.statements.ring, &[&word])).await {
        Err(ListenerError::Query(error)) if error.code() == Some(&SqlState::PROGRAM_LIMIT_EXCEEDED) => {
            tracing::warn!("listener.ring: {}", explained(&error));
            Ok(())
        }
        other => other.map(drop),
    }
}

struct Task {
    config: Config,
    url: DatabaseUrl,
    feed: mpsc::Sender<Feed>,
    stats: Arc<Stats>,
    status: watch::Sender<Status>,
    drainer: Drainer,
    barriers: mpsc::Receiver<oneshot::Sender<()>>,
    /// Barriers that no drain has begun for.
    waiting: Vec<oneshot::Sender<()>>,
}

/// What belongs to one session.
struct Duty {
    bell: Bell,
    peers: u32,
    since: Instant,
    /// When the next drain is due by itself: `None` while asleep or following.
    drain_at: Option<Instant>,
    safety_at: Instant,
    lead_at: Instant,
    heartbeat_at: Instant,
    ping_at: Instant,
    /// Rows that the safety poll found, and until when their ring may still come.
    suspects: Option<(u64, Instant)>,
    /// Whether writers wait for each other is to be looked at.
    look: bool,
}

/// A ring that comes this long after the safety poll found its rows was only overtaken, not lost.
const SUSPECT: Duration = Duration::from_millis(100);

impl Task {
    async fn connect_and_live(&mut self, session: &mut Option<Session>, backoff: &mut Backoff) -> ListenerError {
        self.drainer.unsettle();
        match Session::open(&self.config, &self.url, self.feed.clone(), self.stats.clone()).await {
            Ok(opened) => {
                let session = &*session.insert(opened);
                match self.live(session, backoff).await {
                    Ok(never) => match never {},
                    Err(error) => error,
                }
            }
            Err(error) => error,
        }
    }

    async fn live(
        &mut self,
        session: &Session,
        backoff: &mut Backoff,
    ) -> Result<std::convert::Infallible, ListenerError> {
        let now = Instant::now();
        let mut duty = Duty {
            bell: Bell::new(&self.config),
            peers: 0,
            since: now,
            drain_at: Some(now),
            safety_at: now + self.ms(self.config.safety_poll_ms),
            lead_at: now + self.ms(self.config.safety_poll_ms),
            heartbeat_at: now + self.ms(self.config.heartbeat_ms),
            ping_at: now + self.ms(self.config.ping_interval_ms),
            suspects: None,
            look: false,
        };
        self.heartbeat(session, &mut duty).await?;
        ring(session, "instance").await?;
        self.try_to_lead(session, &mut duty).await?;
        // Live is who has caught up: what was committed while we were away comes first.
        self.drain(session, &mut duty).await?;
        add(&self.stats.connects, 1);
        tracing::info!(pid = session.hello.pid, leader = duty.bell.is_leader(), "listener.live");
        backoff.reset();
        loop {
            self.show(session, &duty);
            let mut wake_at = duty.safety_at.min(duty.lead_at).min(duty.heartbeat_at).min(duty.ping_at);
            wake_at = duty.drain_at.map_or(wake_at, |at| at.min(wake_at));
            wake_at = duty.suspects.map_or(wake_at, |(_, until)| until.min(wake_at));
            if !self.waiting.is_empty() {
                wake_at = Instant::now(); // their drain was done, but there was no room for the answer
            }
            tokio::select! {
                () = session.ears.woken.notified() => {}
                Some(barrier) = self.barriers.recv() => self.waiting.push(barrier),
                () = sleep_until(wake_at) => {}
                () = self.feed.closed() => return Err(ListenerError::FeedClosed),
            }
            while let Ok(barrier) = self.barriers.try_recv() {
                self.waiting.push(barrier);
            }
            self.tend(session, &mut duty).await?;
        }
    }

    /// Does what is due now.
    async fn tend(&mut self, session: &Session, duty: &mut Duty) -> Result<(), ListenerError> {
        if let Some(end) = session.ears.end() {
            return Err(ListenerError::Ended(end));
        }
        let now = Instant::now();
        let rings = session.ears.take_rings();
        if rings > 0 {
            duty.suspects = None;
            match duty.bell.rung(rings, now) {
                Rung::Calm => {}
                // After the drain that was rung for.
                Rung::Look => duty.look = true,
                Rung::TooOften => self.let_go(session, duty).await?,
            }
        }
        if let Some((rows, _)) = duty.suspects.take_if(|(_, until)| *until <= now) {
            add(&self.stats.rows_found_by_safety_poll, rows);
        }
        if now >= duty.heartbeat_at || session.ears.take_peers_changed() {
            self.heartbeat(session, duty).await?;
        }
        let safety = now >= duty.safety_at;
        // On a clock of its own, which drains do not move: a follower that drains often must succeed a dead leader too.
        if now >= duty.lead_at {
            duty.lead_at = now + self.ms(self.config.safety_poll_ms);
            if !duty.bell.is_leader() {
                self.try_to_lead(session, duty).await?;
            }
        }
        if safety && duty.bell.is_armed() && self.queue_fills(session).await? {
            // A ring that finds no room would fail its writer. Awake, nobody rings.
            self.let_go(session, duty).await?;
        }
        let due = rings > 0 || !self.waiting.is_empty() || duty.drain_at.is_some_and(|at| at <= now);
        if due {
            self.drain(session, duty).await?;
        } else if safety {
            let rows = self.drain(session, duty).await?;
            if rows > 0 && duty.drain_at.is_none() {
                duty.suspects = Some((rows, Instant::now() + SUSPECT));
            }
        } else if now >= duty.ping_at {
            session.wait(session.client.check_connection()).await?;
            duty.ping_at = Instant::now() + self.ms(self.config.ping_interval_ms);
        }
        if std::mem::take(&mut duty.look) && duty.bell.is_armed() && self.writers_wait(session).await? {
            self.let_go(session, duty).await?;
            duty.drain_at = Some(Instant::now());
        }
        Ok(())
    }

    /// Drains, answers the barriers that waited for it, wakes the others, and sees whether it is time to sleep.
    async fn drain(&mut self, session: &Session, duty: &mut Duty) -> Result<u64, ListenerError> {
        let mut rows_total = 0;
        loop {
            let asked = std::mem::take(&mut self.waiting);
            let drained = match self.drainer.drain(session, !asked.is_empty()).await {
                Ok(Drained::Done { rows }) => rows,
                Ok(Drained::Stalled) => {
                    self.waiting.extend(asked);
                    self.wait_for_room(session, duty).await?;
                    continue;
                }
                Err(error) => {
                    // They may still be answered after a reconnect, within their own time.
                    self.waiting.extend(asked);
                    return Err(error);
                }
            };
            rows_total += drained;
            self.answer(asked).await?;
            if drained > 0 && duty.bell.is_leader() && duty.peers > 0 {
                ring(session, "").await?;
            }
            if !(duty.bell.drained(drained) && self.arm(session, duty).await?) {
                break;
            }
            // K is ours: drain once more, then sleep.
        }
        let now = Instant::now();
        duty.drain_at = duty.bell.pause().map(|pause| now + pause);
        duty.safety_at = now + self.ms(self.config.safety_poll_ms);
        duty.ping_at = now + self.ms(self.config.ping_interval_ms);
        Ok(rows_total)
    }

    /// One message through the feed answers them all.
    async fn answer(&mut self, asked: Vec<oneshot::Sender<()>>) -> Result<(), ListenerError> {
        if asked.is_empty() {
            return Ok(());
        }
        let (passed, behind_its_rows) = oneshot::channel();
        let Some(room) = room(&self.feed, self.ms(self.config.feed_stall_ms)).await? else {
            self.waiting.extend(asked);
            return Ok(());
        };
        room.send(Feed::Barrier(passed));
        add(&self.stats.barriers, asked.len() as u64);
        tokio::spawn(async move {
            if behind_its_rows.await.is_ok() {
                for barrier in asked {
                    let _ = barrier.send(()); // who gave up waiting needs no answer
                }
            }
        });
        Ok(())
    }

    /// The consumer is slow. Others shall not wait for it: a leader with peers steps down first.
    async fn wait_for_room(&mut self, session: &Session, duty: &mut Duty) -> Result<(), ListenerError> {
        tracing::warn!("listener.stalled: the router has no room; the rest of the drain is read again later");
        if duty.bell.is_leader() && duty.peers > 0 {
            session.query(include_str!("../../sql/listener/step_down.sql"), &[]).await?;
            duty.bell.follow();
            self.show(session, duty);
        }
        loop {
            if let Some(end) = session.ears.end() {
                return Err(ListenerError::Ended(end));
            }
            let pause = duty.heartbeat_at.saturating_duration_since(Instant::now());
            if room(&self.feed, pause).await?.is_some() {
                return Ok(());
            }
            self.heartbeat(session, duty).await?;
        }
    }

    async fn arm(&mut self, session: &Session, duty: &mut Duty) -> Result<bool, ListenerError> {
        let granted: bool = session.wait(session.client.query_one(&session.statements.arm, &[])).await?.try_get(0)?;
        if granted {
            add(&self.stats.arms, 1);
            duty.bell.armed(Instant::now());
        } else {
            add(&self.stats.arms_refused, 1);
            duty.bell.refused();
        }
        Ok(granted)
    }

    /// Is the cluster's NOTIFY queue half full? Somebody LISTENs, of whichever application, and has been in one transaction for long.
    async fn queue_fills(&self, session: &Session) -> Result<bool, ListenerError> {
        let fills: bool = session.query(include_str!("../../sql/listener/queue_fills.sql"), &[]).await?.try_get(0)?;
        if fills {
            tracing::warn!(
                "listener.queue: the NOTIFY queue is half full: polling, so that no writer has to ring; `rowcast doctor` says \
                 how to find the session that holds it up"
            );
        }
        Ok(fills)
    }

    async fn writers_wait(&self, session: &Session) -> Result<bool, ListenerError> {
        Ok(session.wait(session.client.query_one(&session.statements.writers_wait, &[])).await?.try_get(0)?)
    }

    async fn let_go(&mut self, session: &Session, duty: &mut Duty) -> Result<(), ListenerError> {
        session.wait(session.client.query_one(&session.statements.disarm, &[])).await?;
        add(&self.stats.bell_releases, 1);
        duty.bell.released();
        Ok(())
    }

    /// Leads if nobody does, or if the one who does has stopped beating.
    async fn try_to_lead(&mut self, session: &Session, duty: &mut Duty) -> Result<(), ListenerError> {
        let lead = include_str!("../../sql/listener/lead.sql");
        let mut elected: bool = session.query(lead, &[]).await?.try_get(0)?;
        if !elected && self.end_stale_leader(session).await? {
            // Its backend lets go of its locks a moment later: a few tries, else at the next safety poll.
            for _ in 0..20 {
                sleep(Duration::from_millis(5)).await;
                elected = session.query(lead, &[]).await?.try_get(0)?;
                if elected {
                    break;
                }
            }
        }
        if elected {
            add(&self.stats.elections, 1);
            duty.bell.lead();
            duty.drain_at = Some(Instant::now());
            self.heartbeat(session, duty).await?;
        }
        Ok(())
    }

    async fn end_stale_leader(&mut self, session: &Session) -> Result<bool, ListenerError> {
        let stale_ms = self.config.leader_stale_ms as f64;
        let sql = include_str!("../../sql/listener/end_stale_leader.sql");
        match session.wait(session.client.query_opt(sql, &[&stale_ms])).await {
            Ok(None) => Ok(false),
            Ok(Some(row)) => {
                add(&self.stats.leaders_ended, 1);
                tracing::warn!(pid = row.try_get::<_, i32>(0)?, "listener.succeed: ended a leader without heartbeat");
                Ok(true)
            }
            // Another role's backend, say: then TCP has to notice.
            Err(ListenerError::Query(error)) if error.as_db_error().is_some() => {
                tracing::warn!(error = explained(&error), "listener.succeed: may not end the stale leader");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn heartbeat(&mut self, session: &Session, duty: &mut Duty) -> Result<(), ListenerError> {
        let stale_ms = self.config.leader_stale_ms as f64;
        let sql = include_str!("../../sql/listener/heartbeat.sql");
        let peers: i64 = session.query(sql, &[&stale_ms, &duty.bell.is_leader()]).await?.try_get(0)?;
        duty.peers = u32::try_from(peers).unwrap_or(u32::MAX);
        let now = Instant::now();
        duty.heartbeat_at = now + self.ms(self.config.heartbeat_ms);
        duty.ping_at = now + self.ms(self.config.ping_interval_ms);
        Ok(())
    }

    fn show(&self, session: &Session, duty: &Duty) {
        let live = Live {
            since: duty.since,
            backend_pid: session.hello.pid,
            leader: duty.bell.is_leader(),
            asleep: duty.bell.is_armed(),
            peers: duty.peers,
        };
        self.status.send_if_modified(|status| {
            let changed = *status != Status::Live(live);
            *status = Status::Live(live);
            changed
        });
    }

    fn ms(&self, ms: u64) -> Duration {
        Duration::from_millis(ms)
    }
}
