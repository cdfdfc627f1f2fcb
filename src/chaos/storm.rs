//! Everybody is cut at once and comes back at once, without a pause: first the network's fault, then the server's, which has then
//! nothing in memory.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::ChaosError;
use super::follower::subscribe;
use super::gathering::{Gathering, metric, transactions};
use super::stage::Stage;
use crate::client::ws::Socket;

const ROOMS: usize = 50;
const MISSED: i64 = 20;
const JOINS_AT_ONCE: usize = 100;
/// Between two tries of one that was not let in.
const RETRY: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug)]
struct Wave {
    name: &'static str,
    /// From the cut (or the server's readiness) until this many had everything: half, 99 %, all.
    half: Duration,
    most: Duration,
    all: Duration,
    tries: usize,
    transactions: i64,
    idle_transactions: i64,
    resumed: u64,
}

#[derive(Debug)]
pub struct Storm {
    pub clients: usize,
    waves: Vec<Wave>,
    pub violations: Vec<String>,
}

struct Guest {
    room: usize,
    cursor: String,
    last: i64,
    socket: Option<Socket>,
}

pub async fn run(plan: &Gathering, mut tell: impl FnMut(&str)) -> Result<Storm, ChaosError> {
    let stage = plan.stage().await?;
    let server = stage.instances[0].address().to_string();
    tell("everybody joins");
    let mut guests = Vec::new();
    let mut joining = JoinSet::new();
    for n in 0..plan.clients {
        if joining.len() == JOINS_AT_ONCE {
            guests.push(first(joining.join_next().await)?);
        }
        joining.spawn(join(server.clone(), n % ROOMS));
    }
    while let Some(one) = joining.join_next().await {
        guests.push(first(Some(one))?);
    }
    let (mut waves, mut violations) = (Vec::new(), Vec::new());
    for (name, restarts) in [("connections cut", false), ("server killed and started", true)] {
        tell(name);
        let (wave, back) = wave(&stage, name, restarts, guests, &mut violations).await?;
        waves.push(wave);
        guests = back;
    }
    drop(guests);
    stage.stop().await;
    Ok(Storm { clients: plan.clients, waves, violations })
}

fn first(one: Option<Result<Result<Guest, String>, tokio::task::JoinError>>) -> Result<Guest, ChaosError> {
    one.expect("one is joining").expect("joining does not panic").map_err(ChaosError::Program)
}

async fn join(authority: String, room: usize) -> Result<Guest, String> {
    let mut socket = Socket::connect(&authority, "/ws").await.map_err(|e| e.to_string())?;
    socket.send(&subscribe(&format!("room:{room}"), None)).await.map_err(|e| e.to_string())?;
    loop {
        let frame = socket.next().await.map_err(|e| e.to_string())?;
        if frame["type"] == "snapshot" {
            let cursor = frame["cursor"].as_str().unwrap_or_default().to_owned();
            return Ok(Guest { room, cursor, last: 0, socket: Some(socket) });
        }
    }
}

async fn wave(
    stage: &Stage,
    name: &'static str,
    restarts: bool,
    mut guests: Vec<Guest>,
    violations: &mut Vec<String>,
) -> Result<(Wave, Vec<Guest>), ChaosError> {
    let instance = &stage.instances[0];
    // What the server asks while nothing happens, for as long as the storm will be measured at least.
    let quiet = transactions(stage).await?;
    let quiet_since = Instant::now();
    let idle = transactions(stage).await? - quiet;
    let idle_per_s = idle as f64 / quiet_since.elapsed().as_secs_f64();
    if restarts {
        instance.end(libc::SIGKILL).await;
    }
    for guest in &mut guests {
        guest.socket = None;
    }
    let from = guests.first().map_or(0, |g| g.last);
    let talk = include_str!("../../sql/chaos/talk.sql");
    let (rooms, low, high) = (ROOMS as i32, (from + 1) as i32, (from + MISSED) as i32);
    stage.connect().await?.execute(talk, &[&rooms, &low, &high]).await?;
    if restarts {
        instance.start().await?;
    }
    let address = instance.address();
    let resumed = metric(address, "rowcast_joins_total{how=\"resumed\"}").await?;
    let before = transactions(stage).await?;
    let began = Instant::now();
    let together = Arc::new(Barrier::new(guests.len()));
    let mut coming = JoinSet::new();
    for guest in guests {
        let (together, authority) = (together.clone(), address.to_string());
        coming.spawn(async move {
            together.wait().await;
            let came = Instant::now();
            let back = tokio::time::timeout(PATIENCE, resume(authority, guest)).await;
            (came, Instant::now(), back.unwrap_or_else(|_| Err("not back in time".into())))
        });
    }
    let (mut started, mut back, mut took, mut tries) = (None, Vec::new(), Vec::new(), 0);
    while let Some(one) = coming.join_next().await {
        let (came, there, result) = one.expect("a guest does not panic");
        started = Some(started.map_or(came, |s: Instant| s.min(came)));
        match result {
            Ok((guest, n)) => {
                back.push(guest);
                tries += n;
            }
            Err(why) => violations.push(format!("{name}: {why}")),
        }
        took.push(there);
    }
    let measured = began.elapsed();
    let started = started.unwrap_or(began);
    let mut took: Vec<Duration> = took.into_iter().map(|t| t.duration_since(started)).collect();
    took.sort_unstable();
    let at = |share: usize| took.get((took.len() * share / 100).min(took.len() - 1)).copied().unwrap_or_default();
    let asked = transactions(stage).await? - before;
    let wave = Wave {
        name,
        half: at(50),
        most: at(99),
        all: at(100),
        tries,
        transactions: asked,
        idle_transactions: (idle_per_s * (measured.as_secs_f64() + 1.5)) as i64,
        resumed: metric(address, "rowcast_joins_total{how=\"resumed\"}").await? - resumed,
    };
    Ok((wave, back))
}

/// Until it has everything it missed; with the number of tries.
async fn resume(authority: String, mut guest: Guest) -> Result<(Guest, usize), String> {
    let channel = format!("room:{}", guest.room);
    let until = guest.last + MISSED;
    for tries in 1.. {
        let Ok(mut socket) = Socket::connect(&authority, "/ws").await else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        if socket.send(&subscribe(&channel, Some(&guest.cursor))).await.is_err() {
            continue;
        }
        while let Ok(frame) = socket.next().await {
            match frame["type"].as_str() {
                Some("subscribed") if frame["resumed"] != true => return Err(format!("not resumed: {frame}")),
                Some("reset") => return Err(frame.to_string()),
                // Too much at once: it may try again, and has lost nothing.
                Some("error") => break,
                Some("event") => {
                    let n = frame["data"]["n"].as_i64();
                    if n != Some(guest.last + 1) {
                        return Err(format!("{n:?} after {}", guest.last));
                    }
                    guest.last += 1;
                    guest.cursor = frame["cursor"].as_str().unwrap_or_default().to_owned();
                }
                _ => {}
            }
            if guest.last == until {
                guest.socket = Some(socket);
                return Ok((guest, tries));
            }
        }
        tokio::time::sleep(RETRY).await;
    }
    unreachable!("tries have no end")
}

impl fmt::Display for Storm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} clients in {ROOMS} channels, each {MISSED} events behind, all at once and without a pause",
            self.clients
        )?;
        for wave in &self.waves {
            writeln!(
                f,
                "{:<26} back and caught up: half in {:.2} s, 99 % in {:.2} s, all in {:.2} s; {} resumed, {} connections; \
                 {} transactions, of which an idle server has about {}",
                wave.name,
                wave.half.as_secs_f64(),
                wave.most.as_secs_f64(),
                wave.all.as_secs_f64(),
                wave.resumed,
                wave.tries,
                wave.transactions,
                wave.idle_transactions
            )?;
        }
        self.violations.iter().take(10).try_for_each(|v| writeln!(f, "BROKEN: {v}"))
    }
}
