//! From a commit to its frame in the clients: listener, router and hub, 100 WebSockets on one
//! channel, 100 durable commits a second
//! from four connections, one clock. The commit itself (sent to answered) is told apart from what comes after it
//! (answered to frame); a frame may be there before the writer has its answer. The floor, turn by turn in the same run:
//! the same commits with the message in a NOTIFY's payload, and one thread that LISTENs and writes it to as many sockets.
//!
//!     cargo bench --bench latency -- [commits a second, default 100] [clients, default 100] [seconds, default 5] [rounds, default 5]
#![allow(clippy::disallowed_methods, reason = "a bench is the surroundings")]

mod spine;

use std::collections::HashMap;
use std::future::poll_fn;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rowcast::listener::Config;
use tokio_postgres::{AsyncMessage, NoTls};

use spine::{Postgres, Result, Stage, median, percentile, read_all};

const WRITERS: u64 = 4;
const OURS: &str = "update quote set n = $1 where w = $2";
const FLOOR: &str = "with done as (update bare set n = $1 where w = $2 returning *) \
                     select pg_notify('floor', row_to_json(done)::text) from done";

fn main() -> Result<()> {
    let mut numbers = std::env::args().skip(1).filter_map(|a| a.parse::<u64>().ok());
    let mut number = |default| numbers.next().unwrap_or(default);
    let (per_s, clients, seconds, rounds) = (number(100), number(100), number(5), number(5));
    let control = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    // As the program makes it.
    let ours = tokio::runtime::Builder::new_multi_thread().thread_name("ours").enable_all().build()?;
    let postgres = control.block_on(Postgres::start("bench-latency", true))?;
    let sql = control.block_on(postgres.connect())?;
    let tables = [("quote", true), ("bare", false)].map(|(name, watched)| {
        let watch = if watched { "select rowcast.watch('quote', 'quotes');" } else { "" };
        format!(
            "create table {name} (w int primary key, n bigint, symbol text, price numeric);
             insert into {name} select w, -1, 'EURUSD', 1.0842 from generate_series(0, {WRITERS}) w; {watch}"
        )
    });
    control.block_on(sql.batch_execute(&tables.concat()))?;

    let url = postgres.server.url("postgres");
    let (listener_url, store) = (postgres.listener_url()?, postgres.store.clone());
    let stage = ours.block_on(async { ours.spawn(Stage::start(Config::default(), listener_url, store)).await })??;
    let heard = Heard::default();
    listen(stage.subscribe((0..clients).map(|_| "quotes".into()))?, heard.clone())?;
    floor(&url, clients, heard.clone())?;

    println!("{per_s} commits a second, {clients} clients, {rounds} rounds of {seconds} s of each; ms\n");
    println!("{:<8} {:>24} {:>24} {:>24}", "", "commit", "answered to frame", "sent to frame");
    println!("{:<8} {}", "", "     p50     p95     p99".repeat(3));
    let mut all: HashMap<&str, Vec<Figures>> = HashMap::new();
    for _ in 0..rounds {
        for (name, statement) in [("ours", OURS), ("floor", FLOOR)] {
            let before = stage.listener.stats().snapshot();
            let figures = round(&url, statement, per_s, seconds, clients, &heard)?;
            if name == "ours" {
                let after = stage.listener.stats().snapshot();
                let (rings, drains) = (after.rings - before.rings, after.drains - before.drains);
                let drain_us = (after.drain_us - before.drain_us) / drains.max(1);
                println!("{name:<8} {figures}   {rings} rings, {drains} drains of {drain_us} us");
            } else {
                println!("{name:<8} {figures}");
            }
            all.entry(name).or_default().push(figures);
        }
    }
    println!("\nmedians");
    for name in ["ours", "floor"] {
        println!("{name:<8} {}", Figures::medians(&all[name]));
    }
    ours.block_on(stage.stop());
    drop(sql);
    postgres.remove()
}

/// p50, p95, p99 of the commit, from its answer to a frame, and from sending it to a frame.
struct Figures([[f64; 3]; 3]);

impl Figures {
    fn medians(of: &[Self]) -> Self {
        let at = |i: usize, j: usize| median(&of.iter().map(|f| f.0[i][j]).collect::<Vec<_>>());
        Self([0, 1, 2].map(|i| [0, 1, 2].map(|j| at(i, j))))
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|[p50, p95, p99]| write!(f, "{p50:>8.2}{p95:>8.2}{p99:>8.2}"))
    }
}

/// When the frame of each commit came, once for each client.
#[derive(Clone, Default)]
struct Heard {
    frames: Arc<Mutex<Vec<(u64, Instant)>>>,
    count: Arc<AtomicU64>,
}

fn round(url: &str, statement: &str, per_s: u64, seconds: u64, clients: u64, heard: &Heard) -> Result<Figures> {
    heard.frames.lock().expect("no panic").clear();
    heard.count.store(0, Relaxed);
    let commits = per_s * seconds;
    let begin = Instant::now() + Duration::from_millis(200);
    let writers = (0..WRITERS).map(|w| {
        let (url, statement) = (url.to_owned(), statement.to_owned());
        thread::spawn(move || write(&url, &statement, w, commits, per_s, begin))
    });
    let writers: Vec<_> = writers.collect();
    let mut written = HashMap::new();
    for writer in writers {
        written.extend(writer.join().map_err(|_| "a writer panicked")??);
    }
    let patience = Instant::now();
    while heard.count.load(Relaxed) < commits * clients {
        if patience.elapsed() > Duration::from_secs(10) {
            return Err(format!("{} of {} frames", heard.count.load(Relaxed), commits * clients).into());
        }
        thread::sleep(Duration::from_millis(5));
    }
    let ms = |from: Instant, to: Instant| match to.checked_duration_since(from) {
        Some(after) => after.as_secs_f64() * 1e3,
        None => -(from - to).as_secs_f64() * 1e3,
    };
    let commit: Vec<f64> = written.values().map(|(sent, answered)| ms(*sent, *answered)).collect();
    let frames = heard.frames.lock().expect("no panic");
    let after = |of: fn(&(Instant, Instant)) -> Instant| -> Vec<f64> {
        frames.iter().filter_map(|(n, at)| Some(ms(of(written.get(n)?), *at))).collect()
    };
    let three = |of: &[f64]| [50.0, 95.0, 99.0].map(|p| percentile(of, p));
    Ok(Figures([three(&commit), three(&after(|w| w.1)), three(&after(|w| w.0))]))
}

/// Each `WRITERS`th commit, at its time.
fn write(
    url: &str,
    statement: &str,
    w: u64,
    commits: u64,
    per_s: u64,
    begin: Instant,
) -> Result<Vec<(u64, (Instant, Instant))>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = spine::connect(url).await?;
        let statement = client.prepare(statement).await?;
        let mut written = Vec::new();
        for n in (w..commits).step_by(WRITERS as usize) {
            // The thread's own clock: tokio's has milliseconds, in step with those of the server under test.
            thread::sleep((begin + Duration::from_secs_f64(n as f64 / per_s as f64)).duration_since(Instant::now()));
            let sent = Instant::now();
            client.query(&statement, &[&(n as i64), &(w as i32)]).await?;
            written.push((n, (sent, Instant::now())));
        }
        Ok(written)
    })
}

/// Notes when which number comes to whom.
fn listen(sockets: Vec<TcpStream>, heard: Heard) -> Result<()> {
    read_all(sockets, move |bytes| {
        let now = Instant::now();
        let mut frames = heard.frames.lock().expect("no panic");
        frames.extend(numbers(bytes).map(|n| (n, now)));
        heard.count.store(frames.len() as u64, Relaxed);
    })
}

/// The `"n":…` of all frames in `bytes`: at these rates no frame comes in pieces.
fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let found = bytes.windows(4).enumerate().filter(|(_, w)| w == br#""n":"#);
    found.map(|(at, _)| {
        let digits = bytes[at + 4..].iter().take_while(|b| b.is_ascii_digit());
        digits.fold(0, |n, b| n * 10 + u64::from(b - b'0'))
    })
}

/// LISTEN and write(2), nothing else. Its thread ends with its connection.
fn floor(url: &str, clients: u64, heard: Heard) -> Result<()> {
    let acceptor = TcpListener::bind("127.0.0.1:0")?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..clients {
        theirs.push(TcpStream::connect(acceptor.local_addr()?)?);
        let socket = acceptor.accept()?.0;
        socket.set_nodelay(true)?;
        ours.push(socket);
    }
    listen(theirs, heard)?;
    let url = url.to_owned();
    let (ready, is_ready) = std::sync::mpsc::channel();
    thread::spawn(move || -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (client, mut connection) = tokio_postgres::connect(&url, NoTls).await?;
            let listening = client.batch_execute("listen floor");
            let mut listening = std::pin::pin!(listening);
            let mut told = false;
            loop {
                tokio::select! {
                    done = &mut listening, if !told => {
                        done?;
                        told = true;
                        ready.send(())?;
                    }
                    message = poll_fn(|cx| connection.poll_message(cx)) => match message {
                        Some(Ok(AsyncMessage::Notification(ring))) => {
                            let payload = ring.payload().as_bytes();
                            let frame = [&[0x81, payload.len() as u8][..], payload].concat();
                            for socket in &mut ours {
                                socket.write_all(&frame)?;
                            }
                        }
                        Some(Ok(_)) => {}
                        _ => return Ok(()),
                    }
                }
            }
        })
    });
    Ok(is_ready.recv()?)
}
