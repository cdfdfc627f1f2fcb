//! One in ten never reads. Do the others notice? The same measurement without them and with them, in turn.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::ChaosError;
use super::follower::subscribe;
use super::gathering::{Gathering, metric, p50_p99, waiting_in_kernel};
use super::stage::Stage;
use crate::client::ws::Socket;

const ROUNDS: usize = 4;
const ROUND: Duration = Duration::from_secs(15);
const BEAT: Duration = Duration::from_millis(200);
/// How long the last of a round may be under way.
const TRAILS: Duration = Duration::from_secs(3);
const JOINS_AT_ONCE: usize = 50;

/// When each change was sent to Postgres, and how long it took to each reader.
#[derive(Default)]
struct Times {
    sent: HashMap<i64, Instant>,
    taken: Vec<Duration>,
    gaps: u64,
}

type Shared = Arc<Mutex<Times>>;

#[derive(Debug)]
pub struct DeadReaders {
    pub clients: usize,
    dead: usize,
    /// p50 and p99 in ms: without them, with them.
    rounds: Vec<((f64, f64), (f64, f64))>,
    resident_kib: (u64, u64, u64),
    kernel_most: u64,
    kernel_all: u64,
    conflated: u64,
    closed: u64,
    received: usize,
    pub violations: Vec<String>,
}

pub async fn run(plan: &Gathering, mut tell: impl FnMut(&str)) -> Result<DeadReaders, ChaosError> {
    let stage = plan.stage().await?;
    let server = stage.instances[0].address();
    let dead = plan.clients / 10;
    let times = Shared::default();
    let mut readers = JoinSet::new();
    tell("the readers join");
    let mut joining = JoinSet::new();
    for n in 0..plan.clients - dead {
        if joining.len() == JOINS_AT_ONCE {
            readers.spawn(read(joined(joining.join_next().await)?, times.clone()));
        }
        joining.spawn(join(server.to_string(), if n % 2 == 0 { "news" } else { "live:1" }));
    }
    while let Some(one) = joining.join_next().await {
        readers.spawn(read(joined(Some(one))?, times.clone()));
    }
    let before = stage.instances[0].resident_kib().await;
    let mut rounds = Vec::new();
    let (mut most_resident, mut kernel_most, mut kernel_all) = (0, 0, 0);
    let mut beat = 0;
    let mut received = 0;
    for round in 0..ROUNDS {
        tell(&format!("round {} of {ROUNDS}", round + 1));
        let alone = measured(&stage, &times, &mut beat, &mut received).await?;
        let mut stalled = Vec::new();
        for n in 0..dead {
            let own = if n % 2 == 0 { ["news", "flood"] } else { ["live:1", "surge:1"] };
            stalled.push(never_reads(server, own).await.map_err(|e| ChaosError::Program(e.to_string()))?);
        }
        let beside = measured(&stage, &times, &mut beat, &mut received).await?;
        let (most, all) = waiting_in_kernel(server);
        kernel_most = kernel_most.max(most);
        kernel_all = kernel_all.max(all);
        most_resident = most_resident.max(stage.instances[0].resident_kib().await);
        rounds.push((alone, beside));
    }
    let after = stage.instances[0].resident_kib().await;
    let conflated = metric(server, "rowcast_hub_conflated_total").await?;
    let closed = metric(server, "rowcast_hub_slow_closed_total").await?;
    let mut violations = Vec::new();
    if readers.len() + dead < plan.clients || readers.try_join_next().is_some() {
        violations.push("somebody who reads was closed".to_owned());
    }
    let gaps = times.lock().unwrap_or_else(PoisonError::into_inner).gaps;
    if gaps > 0 {
        violations.push(format!("{gaps} events were missing"));
    }
    if conflated == 0 || closed < (dead / 2) as u64 {
        violations.push(format!("the dead were not noticed: {conflated} conflated, {closed} closed"));
    }
    readers.abort_all();
    stage.stop().await;
    let resident_kib = (before, most_resident, after);
    Ok(DeadReaders {
        clients: plan.clients,
        dead,
        rounds,
        resident_kib,
        kernel_most,
        kernel_all,
        conflated,
        closed,
        received,
        violations,
    })
}

fn joined(one: Option<Result<Result<Socket, String>, tokio::task::JoinError>>) -> Result<Socket, ChaosError> {
    one.expect("one is joining").expect("joining does not panic").map_err(ChaosError::Program)
}

async fn join(authority: String, channel: &'static str) -> Result<Socket, String> {
    let mut socket = Socket::connect(&authority, "/ws").await.map_err(|e| e.to_string())?;
    socket.send(&subscribe(channel, None)).await.map_err(|e| e.to_string())?;
    while socket.next().await.map_err(|e| e.to_string())?["type"] != "snapshot" {}
    Ok(socket)
}

/// Ends only with its connection.
async fn read(mut socket: Socket, times: Shared) {
    let mut last = None;
    while let Ok(frame) = socket.next().await {
        let now = Instant::now();
        let event = frame["channel"] == "news";
        let Some(n) = frame["data"][if event { "id" } else { "n" }].as_i64().filter(|_| frame["type"] == "event")
        else {
            continue;
        };
        let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
        if event && last.is_some_and(|last| n != last + 1) {
            times.gaps += 1;
        }
        last = Some(n);
        if let Some(taken) = times.sent.get(&n).map(|sent| now.duration_since(*sent)) {
            times.taken.push(taken);
        }
    }
}

/// One round: changes at a steady pace; what the dead get comes in between.
async fn measured(
    stage: &Stage,
    times: &Shared,
    beat: &mut i64,
    received: &mut usize,
) -> Result<(f64, f64), ChaosError> {
    let client = stage.connect().await?;
    let until = Instant::now() + ROUND;
    let mut ticks = tokio::time::interval(BEAT);
    while Instant::now() < until {
        ticks.tick().await;
        *beat += 1;
        times.lock().unwrap_or_else(PoisonError::into_inner).sent.insert(*beat, Instant::now());
        client.execute(include_str!("../../sql/chaos/beat.sql"), &[&*beat]).await?;
        client.batch_execute(include_str!("../../sql/chaos/flood.sql")).await?;
    }
    tokio::time::sleep(TRAILS).await;
    let taken = std::mem::take(&mut times.lock().unwrap_or_else(PoisonError::into_inner).taken);
    *received += taken.len();
    Ok(p50_p99(taken))
}

/// With a small window, and neither reads nor answers once it is subscribed.
async fn never_reads(server: std::net::SocketAddr, channels: [&str; 2]) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    let mut stream = socket.connect(server).await?;
    let ask = "GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
               sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(ask.as_bytes()).await?;
    for channel in channels {
        let payload = format!(r#"{{"type":"subscribe","channel":"{channel}"}}"#);
        // Masked with zeros: the payload stays as it is.
        let mut frame = vec![0x81, 0x80 | payload.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(payload.as_bytes());
        stream.write_all(&frame).await?;
    }
    let mut seen = [0; 256];
    let _ = stream.read(&mut seen).await?; // it is there
    Ok(stream)
}

impl fmt::Display for DeadReaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clients, dead, rounds, resident_kib: (before, most, after), .. } = self;
        writeln!(
            f,
            "{clients} clients, of which {dead} never read; {} messages received by the others",
            self.received
        )?;
        writeln!(f, "sent to Postgres → client, ms      without the dead     with them     ratio")?;
        let mut ratios = Vec::new();
        for ((p50, p99), (p50_dead, p99_dead)) in rounds {
            writeln!(
                f,
                "  p50  {p50:>8.1} {p50_dead:>8.1} {:>6.2}    p99  {p99:>8.1} {p99_dead:>8.1} {:>6.2}",
                p50_dead / p50,
                p99_dead / p99
            )?;
            ratios.push((p50_dead / p50, p99_dead / p99));
        }
        let median = |of: fn(&(f64, f64)) -> f64| {
            let mut all: Vec<f64> = ratios.iter().map(of).collect();
            all.sort_unstable_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
        };
        writeln!(f, "median ratio  p50 {:.2}, p99 {:.2}", median(|r| r.0), median(|r| r.1))?;
        let mib = |kib: &u64| *kib as f64 / 1024.0;
        writeln!(
            f,
            "server        {:.1} MiB with the readers, {:.1} MiB at most, {:.1} MiB at the end; the dead may cost {dead} × 1 MiB \
             (hub.backlog_bytes_max)",
            mib(before),
            mib(most),
            mib(after)
        )?;
        writeln!(
            f,
            "kernel        {} KiB waiting at most for one client, {} KiB for all (hub.send_buffer_bytes 64 KiB, doubled by Linux)",
            self.kernel_most / 1024,
            self.kernel_all / 1024
        )?;
        writeln!(f, "dead          {} states left out, {} closed with 4008", self.conflated, self.closed)?;
        self.violations.iter().try_for_each(|v| writeln!(f, "BROKEN: {v}"))
    }
}
