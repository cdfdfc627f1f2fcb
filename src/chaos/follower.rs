//! One subscriber, over as many connections as it takes: it resumes by its cursor on any instance, and tells the
//! oracle everything it is told.
//!
//! ```text
//! connect ─▶ subscribe (cursor) ─▶ [reset: excused?] ─▶ snapshot ─▶ event … ─▶ (lost, cut, left) ─▶ pause ─▶ connect
//!                                                                └─▶ `end`, and all is calm: done
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::timeout;

use super::known::Known;
use super::seeded::Seeded;
use super::stage::Stage;
use super::stream::Stream;

/// Heartbeats come far more often.
const SILENCE_MAX: Duration = Duration::from_secs(40);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Stays as long as it can.
    Steady,
    /// Leaves after some events, and stays away for up to this long.
    Flapping { away_ms_max: u64 },
    /// Stops reading for seconds, now and then.
    Slow,
}

#[derive(Clone, Debug)]
pub struct Role {
    pub channel: String,
    pub manner: Manner,
    pub sse: bool,
    pub seed: u64,
}

/// What a follower saw, and what was wrong with it.
#[derive(Debug, Default)]
pub struct Followed {
    pub events: u64,
    pub connections: u64,
    pub resumed: u64,
    pub fresh: u64,
    pub resets: u64,
    pub violation: Option<String>,
    /// What it knew in the end: rows by id, or the state's version.
    pub rows: Vec<(i64, i64)>,
}

struct Follower {
    stage: Arc<Stage>,
    role: Role,
    seed: Seeded,
    known: Known,
    state: Option<i64>,
    cursor: Option<String>,
    /// Excuses for a reset when it last began afresh.
    excuses: u64,
    /// The present connection's beginning, for a violation's sentence.
    joined: String,
    seen: Followed,
}

enum Turn {
    Again,
    Done,
}

pub async fn follow(stage: Arc<Stage>, role: Role) -> Followed {
    let mut follower = Follower {
        seed: Seeded::new(role.seed),
        excuses: stage.excuses(),
        stage,
        role,
        known: Known::default(),
        state: None,
        cursor: None,
        joined: String::new(),
        seen: Followed::default(),
    };
    loop {
        match follower.connection().await {
            Ok(Turn::Done) => break,
            Ok(Turn::Again) => follower.pause().await,
            Err(violation) => {
                let Role { channel, manner, sse, .. } = &follower.role;
                let kind = if *sse { "SSE" } else { "WebSocket" };
                follower.seen.violation =
                    Some(format!("{channel}, {manner:?} over {kind}: {violation}; joined: {}", follower.joined));
                break;
            }
        }
    }
    follower.seen.events = follower.known.events;
    follower.seen.rows = match follower.state {
        Some(v) => vec![(0, v)],
        None => follower.known.present(),
    };
    follower.seen
}

impl Follower {
    async fn connection(&mut self) -> Result<Turn, String> {
        let n = self.seed.pick(self.stage.instances.len() as u64) as usize;
        let authority = self.stage.instances[n].authority();
        let opened = Stream::open(&authority, &self.role.channel, self.cursor.as_deref(), self.role.sse);
        let Ok(Ok(mut stream)) = timeout(SILENCE_MAX, opened).await else { return Ok(Turn::Again) };
        self.seen.connections += 1;
        self.joined = format!("instance {n} with {:?}", self.cursor);
        let mut reset = false;
        // Some break off in the middle of what they missed; most catch up first, or they would fall behind for ever.
        let (mut left, stays) = match self.role.manner {
            Manner::Flapping { .. } if !self.calm() => match self.seed.one_in(3) {
                true => (1 + self.seed.pick(200), None),
                false => (u64::MAX, Some(Instant::now() + self.seed.ms(500, 10_000))),
            },
            _ => (u64::MAX, None),
        };
        while left > 0 && stays.is_none_or(|until| Instant::now() < until) {
            let Ok(Ok(frame)) = timeout(SILENCE_MAX, stream.next()).await else { return Ok(Turn::Again) };
            match frame["type"].as_str().unwrap_or_default() {
                "reset" => {
                    reset = true;
                    self.seen.resets += 1;
                    // Where tens of thousands of rows change at once, a replay may be more than its bounds allow.
                    let too_many = frame["code"] == "too_many_events" && self.role.channel == "wide";
                    if !too_many && !self.stage.excused(self.excuses) {
                        return Err(format!("a reset that nothing explains: {frame}"));
                    }
                }
                "subscribed" => self.subscribed(&frame, reset)?,
                "snapshot" => {
                    self.excuses = self.stage.excuses();
                    self.begin(&frame["data"], reset)?;
                    self.keep_cursor(&frame);
                    reset = false;
                }
                "event" if frame["event"] == "end" => {
                    self.keep_cursor(&frame);
                    if self.calm() {
                        return Ok(Turn::Done);
                    }
                }
                "event" => {
                    self.event(&frame)?;
                    self.keep_cursor(&frame);
                    left -= 1;
                }
                // Something that passes was away; what we have is still right.
                "error" => return Ok(Turn::Again),
                _ => self.keep_cursor(&frame),
            }
            if self.role.manner == Manner::Slow && !self.calm() && self.seed.one_in(200) {
                tokio::time::sleep(self.seed.ms(500, 3_000)).await;
            }
            if self.is_state() && self.calm() && self.stage.settled(&self.role.channel, self.state) {
                return Ok(Turn::Done);
            }
        }
        Ok(Turn::Again)
    }

    fn subscribed(&mut self, frame: &Value, reset: bool) -> Result<(), String> {
        self.joined.push_str(&format!(" got {frame}"));
        if frame["resumed"] == true {
            self.seen.resumed += 1;
        } else {
            self.seen.fresh += 1;
            // An event channel that cannot go on must say so; a state channel always begins with its state.
            if self.cursor.is_some() && !reset && !self.is_state() {
                return Err("a cursor was not honoured, and no reset said so".into());
            }
        }
        Ok(())
    }

    fn begin(&mut self, data: &Value, reset: bool) -> Result<(), String> {
        if self.is_state() { self.state(data, reset) } else { self.known.snapshot(data) }
    }

    fn event(&mut self, frame: &Value) -> Result<(), String> {
        if self.is_state() {
            self.known.events += 1;
            return self.state(&frame["data"], false);
        }
        let (event, data) = (frame["event"].as_str().unwrap_or_default(), &frame["data"]);
        self.known.event(event, data).map_err(|why| format!("{why}: {frame}"))
    }

    /// A state never goes back, but for a database that did.
    fn state(&mut self, data: &Value, reset: bool) -> Result<(), String> {
        let v = data["v"].as_i64().ok_or_else(|| format!("not a state: {data}"))?;
        if let Some(before) = self.state.filter(|&before| v < before && !reset) {
            return Err(format!("the state went back from {before} to {v}"));
        }
        self.state = Some(v);
        Ok(())
    }

    fn keep_cursor(&mut self, frame: &Value) {
        if let Some(cursor) = frame["cursor"].as_str() {
            self.cursor = Some(cursor.to_owned());
        }
    }

    fn is_state(&self) -> bool {
        self.role.channel.contains(':')
    }

    fn calm(&self) -> bool {
        self.stage.calm.load(Ordering::Acquire)
    }

    async fn pause(&mut self) {
        let away = match self.role.manner {
            Manner::Flapping { away_ms_max } if !self.calm() => self.seed.ms(10, 11 + away_ms_max),
            _ => self.seed.ms(50, 400),
        };
        tokio::time::sleep(away).await;
    }
}

/// `{"type":"subscribe", …}`
pub fn subscribe(channel: &str, cursor: Option<&str>) -> Value {
    json!({"type": "subscribe", "channel": channel, "cursor": cursor})
}
