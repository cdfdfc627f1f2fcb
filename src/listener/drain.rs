//! From one snapshot to the next: the drain, its pieces, and where the stream stands.
//!
//! ```text
//!   settle ──▶ at P ──drain──▶ rows visible in C, not in P, by id ──all passed on──▶ at C (the next P)
//!     ▲          │                      │ connection lost, or no room for feed_stall_ms
//!     │          │                      ▼
//!   Begin ◀──────┴─ token differs,   cut at (P, C, i) ──finish: rows visible in C, not in P, id > i──▶ at C
//!                   rows rotated away
//! ```
//!
//! A cut drain is finished with its own C. Going from P to a newer C' and leaving out what was sent would be wrong:
//! an event visible in C' only can have an id below i, and the cursors (P, C', id) sent with it would say of the events
//! between that id and i that they were not delivered.

use std::mem::take;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_postgres::types::{BorrowToSql, ToSql};
use tokio_postgres::{Row, RowStream, Statement};

use super::ListenerError;
use super::config::Config;
use super::rows::{AsParameter, HEADER_AT, Header, Slots, Token, json_bytes, log_rows};
use super::session::Session;
use super::stats::{Stats, add};
use crate::domain::{Feed, Incarnation, LogRow, Snapshot, Xid};

/// Empty drains are passed on to advance the cursor, but not more often than this.
const EMPTY_PASS: Duration = Duration::from_millis(50);
/// Pieces that a drain fetches at a time after the consumer had no room.
const PIECES_AFTER_STALL: usize = 32;
const PATIENCE_MAX: Duration = Duration::from_secs(600);

pub(super) struct Drainer {
    feed: mpsc::Sender<Feed>,
    stats: Arc<Stats>,
    rows_max: usize,
    bytes_max: usize,
    stall: Duration,
    place: Option<Place>,
    /// This connection has not yet looked whether the incarnation is still ours.
    unsettled: bool,
    /// Rows that `finish` may fetch; `None`: all.
    page: Option<i64>,
    /// How long a drain may be silent. Grows after timeouts: a slow but honest server is no dead one.
    patience: Duration,
    patience_min: Duration,
    passed_at: Option<Instant>,
}

struct Place {
    incarnation: Incarnation,
    token: Option<Token>,
    slots: Slots,
    prev: Arc<Snapshot>,
    cut: Option<Cut>,
}

#[derive(Clone)]
struct Cut {
    cur: Arc<Snapshot>,
    id: i64,
}

#[derive(Debug, PartialEq)]
pub(super) enum Drained {
    /// Everything up to the new snapshot was passed on.
    Done { rows: u64 },
    /// The consumer has no room. Wait for it, then drain again.
    Stalled,
}

impl Drainer {
    pub fn new(config: &Config, feed: mpsc::Sender<Feed>, stats: Arc<Stats>) -> Self {
        let patience = Duration::from_millis(config.reply_timeout_ms);
        Self {
            feed,
            stats,
            rows_max: config.drain_rows_max,
            bytes_max: config.drain_bytes_max,
            stall: Duration::from_millis(config.feed_stall_ms),
            place: None,
            unsettled: true,
            page: None,
            patience,
            patience_min: patience,
            passed_at: None,
        }
    }

    /// To be called for each new connection.
    pub fn unsettle(&mut self) {
        self.unsettled = true;
    }

    /// Reads what was committed since the last drain and passes it on. `pass_empty`: also tell the consumer that there
    /// was nothing. After an error or a stall the next call goes on exactly where this one stopped.
    pub async fn drain(&mut self, session: &Session, pass_empty: bool) -> Result<Drained, ListenerError> {
        let start = Instant::now();
        let result = self.drain_all(session, pass_empty).await;
        match &result {
            Ok(Drained::Done { rows }) => {
                add(&self.stats.drains, 1);
                add(&self.stats.drains_empty, u64::from(*rows == 0));
                add(&self.stats.drain_us, start.elapsed().as_micros() as u64);
                self.patience = self.patience_min;
                self.page = None;
            }
            Ok(Drained::Stalled) => {
                add(&self.stats.feed_stalls, 1);
                self.page = Some((self.rows_max * PIECES_AFTER_STALL) as i64);
            }
            Err(ListenerError::NoReply { .. }) => self.patience = (self.patience * 2).min(PATIENCE_MAX),
            Err(_) => {}
        }
        result
    }

    async fn drain_all(&mut self, session: &Session, pass_empty: bool) -> Result<Drained, ListenerError> {
        if self.unsettled && !self.settle(session).await? {
            return Ok(Drained::Stalled);
        }
        let mut rows_passed = 0;
        loop {
            let place = self.place.as_mut().expect("settled: the stream has begun");
            let cut = place.cut.clone();
            let mut rows = match &cut {
                None => {
                    let parameters = [AsParameter(&place.prev)];
                    Rows::open(session, self.patience, &session.statements.drain, parameters).await?
                }
                Some(cut) => {
                    add(&self.stats.drains_resumed, 1);
                    let parameters: [&(dyn ToSql + Sync); 4] =
                        [&AsParameter(&place.prev), &AsParameter(&cut.cur), &cut.id, &self.page];
                    Rows::open(session, self.patience, &session.statements.finish, parameters).await?
                }
            };
            let header = Header::read(&rows.next(session).await?.ok_or(ListenerError::NoState)?, HEADER_AT)?;
            if header.token != place.token {
                drop(rows);
                let incarnation = incarnation(session).await?;
                if incarnation == place.incarnation {
                    place.token = header.token;
                } else if !self.begin(incarnation, header).await? {
                    return Ok(Drained::Stalled);
                }
                continue;
            }
            if header.slots != place.slots {
                if lost(&place.prev, &header.snapshot, header.horizon) {
                    let incarnation = place.incarnation;
                    tracing::warn!(horizon = header.horizon, "listener.lost: the log was rotated past our place");
                    drop(rows);
                    if !self.begin(incarnation, header).await? {
                        return Ok(Drained::Stalled);
                    }
                    continue;
                }
                place.slots = header.slots;
            }
            let cur = cut.as_ref().map_or_else(|| Arc::new(header.snapshot), |cut| cut.cur.clone());
            let (mut piece, mut piece_bytes, mut fetched) = (Vec::new(), 0, 0);
            // What a row of the log holds stays in one piece: a drain is resumed behind a row, not within it.
            while let Some(row) = rows.next(session).await? {
                if piece.len() >= self.rows_max || piece_bytes >= self.bytes_max {
                    piece_bytes = 0;
                    rows_passed += piece.len() as u64;
                    if !self.pass(take(&mut piece), &cur, false).await? {
                        return Ok(Drained::Stalled);
                    }
                }
                let held = piece.len();
                fetched += i64::from(log_rows(&row, &mut piece)?);
                piece_bytes += piece[held..].iter().map(|row| size_of::<LogRow>() + json_bytes(row)).sum::<usize>();
            }
            rows_passed += piece.len() as u64;
            let last = cut.is_none() || self.page != Some(fetched);
            let silent = fetched == 0 && cut.is_none() && !pass_empty && !self.empty_is_due(&cur);
            if silent {
                self.arrive(cur);
            } else if !self.pass(piece, &cur, last).await? {
                return Ok(Drained::Stalled);
            }
            if last && cut.is_none() {
                return Ok(Drained::Done { rows: rows_passed });
            }
            // The rest of an old drain is done, or a page of it: what was committed since comes next.
        }
    }

    /// Finds out which life of the stream this is; at the very first, and in another one, it begins here and now.
    async fn settle(&mut self, session: &Session) -> Result<bool, ListenerError> {
        loop {
            let before = here(session).await?;
            let incarnation = incarnation(session).await?;
            if let Some(place) = self.place.as_mut().filter(|place| place.incarnation == incarnation) {
                // Should it have changed between the two, this is the older token, and the next drain asks again.
                place.token = before.token;
            } else {
                let header = here(session).await?;
                if header.token != before.token {
                    continue; // it was made just now, or changed: look again
                }
                if !self.begin(incarnation, header).await? {
                    return Ok(false);
                }
            }
            self.unsettled = false;
            return Ok(true);
        }
    }

    /// False: no room.
    async fn begin(&mut self, incarnation: Incarnation, header: Header) -> Result<bool, ListenerError> {
        let Some(room) = room(&self.feed, self.stall).await? else { return Ok(false) };
        let Header { snapshot, token, slots, .. } = header;
        let prev = Arc::new(snapshot);
        room.send(Feed::Begin { incarnation, start: prev.clone() });
        add(&self.stats.begins, 1);
        self.place = Some(Place { incarnation, token, slots, prev, cut: None });
        Ok(true)
    }

    /// Passes a piece on and remembers that it did; nothing can come between the two. False: no room.
    async fn pass(&mut self, rows: Vec<LogRow>, cur: &Arc<Snapshot>, last: bool) -> Result<bool, ListenerError> {
        if rows.is_empty() && !last {
            return Ok(true);
        }
        let Some(room) = room(&self.feed, self.stall).await? else { return Ok(false) };
        let place = self.place.as_mut().expect("settled: the stream has begun");
        add(&self.stats.rows, rows.len() as u64);
        add(&self.stats.bytes, rows.iter().map(|row| json_bytes(row) as u64).sum());
        let id = rows.last().map(|row| row.id);
        room.send(Feed::Rows { prev: place.prev.clone(), cur: cur.clone(), rows, last });
        self.passed_at = Some(Instant::now());
        match id {
            _ if last => self.arrive(cur.clone()),
            Some(id) => place.cut = Some(Cut { cur: cur.clone(), id }),
            None => {}
        }
        Ok(true)
    }

    fn arrive(&mut self, cur: Arc<Snapshot>) {
        let place = self.place.as_mut().expect("settled: the stream has begun");
        (place.prev, place.cut) = (cur, None);
    }

    /// Is it time to tell the consumer that the cursor advanced?
    fn empty_is_due(&self, cur: &Snapshot) -> bool {
        let moved = self.place.as_ref().is_none_or(|place| *place.prev != *cur);
        moved && self.passed_at.is_none_or(|at| at.elapsed() >= EMPTY_PASS)
    }
}

/// Room for one message, unless it takes longer than `stall`.
pub(super) async fn room(
    feed: &mpsc::Sender<Feed>,
    stall: Duration,
) -> Result<Option<mpsc::Permit<'_, Feed>>, ListenerError> {
    match timeout(stall, feed.reserve()).await {
        Ok(Ok(permit)) => Ok(Some(permit)),
        Ok(Err(_)) => Err(ListenerError::FeedClosed),
        Err(_) => Ok(None),
    }
}

/// The rows of one statement. Dropped early, the reader of the socket throws the rest away.
struct Rows {
    stream: Pin<Box<RowStream>>,
    patience: Duration,
}

impl Rows {
    async fn open<P: BorrowToSql, const N: usize>(
        session: &Session,
        patience: Duration,
        statement: &Statement,
        parameters: [P; N],
    ) -> Result<Self, ListenerError> {
        let open = session.client.query_raw(statement, parameters);
        Ok(Self { stream: Box::pin(session.wait_up_to(patience, open).await?), patience })
    }

    async fn next(&mut self, session: &Session) -> Result<Option<Row>, ListenerError> {
        // Most rows are here already: no timer for those.
        let ready = self.stream.next().now_or_never();
        if let Some(Some(Ok(row))) = ready {
            return Ok(Some(row));
        }
        let next = async {
            match ready {
                Some(end) => end.transpose(),
                None => self.stream.next().await.transpose(),
            }
        };
        session.wait_up_to(self.patience, next).await
    }
}

async fn here(session: &Session) -> Result<Header, ListenerError> {
    let place = session.client.query_opt(include_str!("../../sql/listener/place.sql"), &[]);
    Header::read(&session.wait(place).await?.ok_or(ListenerError::NoState)?, 0)
}

async fn incarnation(session: &Session) -> Result<Incarnation, ListenerError> {
    let hex: String = session.query(include_str!("../../sql/listener/incarnation.sql"), &[]).await?.try_get(0)?;
    match u64::from_str_radix(&hex, 16) {
        Ok(number) if hex.len() == 16 => Ok(Incarnation(number)),
        _ => Err(ListenerError::Incarnation(hex)),
    }
}

/// Did rotation drop, or may it have dropped, rows that are not visible in `prev`? Such a row's transaction is at or
/// below the horizon, and either began after `prev` or ran then and has ended by `now`. (One that still runs holds
/// its slots against rotation.)
fn lost(prev: &Snapshot, now: &Snapshot, horizon: Xid) -> bool {
    horizon >= prev.xmax() || prev.xip().iter().any(|&xid| xid <= horizon && now.sees(xid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_loses_what_ended_unseen_at_or_below_the_horizon() {
        let cases = [
            ("10:20:10,14", "10:30:10,14", 9, false),
            ("10:20:10,14", "10:30:10,14", 19, false), // both still run
            ("10:20:10,14", "14:30:14", 9, false),
            ("10:20:10,14", "14:30:14", 10, true), // 10 has ended, and may have been dropped
            ("10:20:10,14", "10:30:10", 10, false),
            ("10:20:10,14", "10:30:10", 14, true),
            ("10:20:", "30:30:", 19, false),
            ("10:20:", "30:30:", 20, true),
        ];
        for (prev, now, horizon, expected) in cases {
            let (prev, now): (Snapshot, Snapshot) = (prev.parse().expect(prev), now.parse().expect(now));
            assert_eq!(lost(&prev, &now, horizon), expected, "{prev} {now} {horizon}");
        }
    }
}
