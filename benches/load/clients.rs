//! The clients: this very program, started again, with one thread and one `mio::Poll` for all sockets. It speaks in lines.
//!
//! ```text
//!  parent                         clients
//!  clients PORT N [HELLO TEXTS] ─▶ connects; with HELLO: each line's request, then (after the 101) its frames
//!                   ready ◀──────  all connected (and each has had TEXTS text frames)
//!  bytes B ────────────────────▶   done, once B more bytes have come in all
//!  changes K ──────────────────▶   a `Report`, once K more text frames have come on each connection, or on `enough`
//! ```

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use serde::{Deserialize, Serialize};

use super::{Result, measure};

/// What a client says first, and what it says once it is upgraded. One JSON line of a file each.
#[derive(Serialize, Deserialize)]
pub struct Hello {
    pub request: String,
    pub frames: Vec<String>,
}

/// Of changes that travelled to everybody. Milliseconds from the stamp `sent_us` in the row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Deliveries, and how many are missing.
    pub delivered: u64,
    pub missing: u64,
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    /// Until the last subscriber has the change: its 95th percentile over the changes.
    pub all_p95_ms: f64,
}

pub struct Clients {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Clients {
    pub fn start(port: u16, count: usize, hello: Option<(&Path, u32)>) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["clients", &port.to_string(), &count.to_string()]);
        if let Some((file, texts)) = hello {
            command.arg(file).arg(texts.to_string());
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let to = child.stdin.take().ok_or("no stdin")?;
        let from = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        Ok(Self { child, to, from })
    }

    pub fn ready(&mut self) -> Result<()> {
        if self.answer()? == "ready" { Ok(()) } else { Err("the clients did not come in".into()) }
    }

    pub fn expect_bytes(&mut self, bytes: usize) -> Result<()> {
        Ok(writeln!(self.to, "bytes {bytes}")?)
    }

    pub fn expect_changes(&mut self, count: usize) -> Result<()> {
        Ok(writeln!(self.to, "changes {count}")?)
    }

    pub fn enough(&mut self) -> Result<()> {
        Ok(writeln!(self.to, "enough")?)
    }

    /// The next line of theirs.
    pub fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        if line.is_empty() { Err("the clients have ended".into()) } else { Ok(line.trim_end().to_owned()) }
    }
}

impl Clients {
    /// Before their server: else each says that it was closed, which hides why.
    pub fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.end();
    }
}

struct Socket {
    tcp: TcpStream,
    /// What it says once it is upgraded.
    then: Vec<u8>,
    upgraded: bool,
    held: Vec<u8>,
    texts: u32,
}

#[derive(Default)]
struct Count {
    bytes: u64,
    bytes_wanted: Option<u64>,
    /// Text frames that each connection has had before the changes.
    base: u32,
    changes_wanted: u32,
    /// Text frames after which a connection is in.
    first: u32,
    /// Of each change: its stamp, and when the last had it.
    changes: Vec<(u64, u64)>,
    /// Deliveries by tenths of a millisecond.
    histogram: Vec<u64>,
    delivered: u64,
    /// Connections that have had what they wait for first.
    in_already: usize,
}

const WAKE: Token = Token(usize::MAX);
const HISTOGRAM: usize = 200_000;
const ON_THE_WAY_MAX: usize = 50;

pub fn run(args: &[String]) -> Result<()> {
    let [port, count, rest @ ..] = args else { return Err("clients PORT COUNT [HELLO TEXTS]".into()) };
    let address: SocketAddr = ([127, 0, 0, 1], port.parse()?).into();
    let count: usize = count.parse()?;
    let hello = match rest {
        [file, texts] => Some((fs::read_to_string(file)?, texts.parse::<u32>()?)),
        _ => None,
    };
    // Beside the server, not on top of it.
    measure::pin(1);
    let mut poll = Poll::new()?;
    let commands = commands(Waker::new(poll.registry(), WAKE)?);
    let mut sockets = Vec::with_capacity(count);
    let mut lines = hello.as_ref().map(|(text, _)| text.lines());
    let texts_first = hello.as_ref().map_or(0, |(_, texts)| *texts);
    let mut state = Count { histogram: vec![0; HISTOGRAM], base: texts_first, first: texts_first, ..Count::default() };
    let mut buffer = vec![0; 256 * 1024];
    let mut events = Events::with_capacity(1024);
    for n in 0..count {
        let mut tcp = std::net::TcpStream::connect(address)?;
        tcp.set_nodelay(true)?;
        let mut then = Vec::new();
        if let Some(lines) = &mut lines {
            let hello: Hello = serde_json::from_str(lines.next().ok_or("too few lines")?)?;
            tcp.write_all(hello.request.as_bytes())?;
            hello.frames.iter().for_each(|text| masked(1, text.as_bytes(), &mut then));
        }
        tcp.set_nonblocking(true)?;
        let mut tcp = TcpStream::from_std(tcp);
        poll.registry().register(&mut tcp, Token(n), Interest::READABLE)?;
        sockets.push(Socket { tcp, then, upgraded: hello.is_none(), held: Vec::new(), texts: 0 });
        // Not all at once: a bounded number is on the way in, their subscriptions included.
        while hello.is_some() && sockets.len() - state.in_already > ON_THE_WAY_MAX {
            turn(&mut poll, &mut events, &mut sockets, &mut state, &mut buffer, hello.is_some(), None)?;
        }
    }
    while hello.is_some() && sockets.iter().any(|s| s.texts < texts_first) {
        turn(&mut poll, &mut events, &mut sockets, &mut state, &mut buffer, true, None)?;
    }
    // What came until now, a handshake's answer say, is nobody's frame.
    state.bytes = 0;
    println!("ready");
    loop {
        for command in commands.try_iter() {
            match command.split_once(' ').unwrap_or((&command, "")) {
                ("bytes", n) => state.bytes_wanted = Some(state.bytes_wanted.unwrap_or(0) + n.parse::<u64>()?),
                ("changes", n) => {
                    state.changes_wanted = n.parse()?;
                    state.changes = vec![(0, 0); state.changes_wanted as usize];
                    state.histogram.fill(0);
                    state.delivered = 0;
                    state.base = sockets.iter().map(|s| s.texts).max().unwrap_or(0);
                }
                ("enough", _) if state.changes_wanted > 0 => state.report(&mut sockets)?,
                ("enough", _) => {}
                _ => return Ok(()),
            }
        }
        if let Some(wanted) = state.bytes_wanted.filter(|wanted| state.bytes >= *wanted) {
            (state.bytes, state.bytes_wanted) = (state.bytes - wanted, None);
            println!("done");
        }
        if state.changes_wanted > 0 && state.delivered == u64::from(state.changes_wanted) * count as u64 {
            state.report(&mut sockets)?;
        }
        turn(&mut poll, &mut events, &mut sockets, &mut state, &mut buffer, hello.is_some(), None)?;
    }
}

/// The parent's lines; the end of them ends us.
fn commands(waker: Waker) -> Receiver<String> {
    let (tx, rx) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(std::result::Result::ok) {
            let _ = tx.send(line);
            let _ = waker.wake();
        }
        let _ = tx.send("end".into());
        let _ = waker.wake();
    });
    rx
}

fn turn(
    poll: &mut Poll,
    events: &mut Events,
    sockets: &mut [Socket],
    state: &mut Count,
    buffer: &mut [u8],
    frames: bool,
    wait: Option<Duration>,
) -> Result<()> {
    match poll.poll(events, wait) {
        Err(e) if e.kind() == ErrorKind::Interrupted => return Ok(()),
        other => other?,
    }
    for event in events.iter().filter(|e| e.token() != WAKE) {
        let socket = &mut sockets[event.token().0];
        loop {
            match socket.tcp.read(buffer) {
                Ok(0) => {
                    return Err(format!("a connection was closed: {}", String::from_utf8_lossy(&socket.held)).into());
                }
                Ok(n) => {
                    state.bytes += n as u64;
                    if frames {
                        socket.take(&buffer[..n], state)?;
                    }
                    // Less than there was room for: nothing is left.
                    if n < buffer.len() {
                        break;
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e.into()),
            }
        }
    }
    Ok(())
}

impl Socket {
    fn take(&mut self, new: &[u8], state: &mut Count) -> Result<()> {
        let now_us = now_us();
        let mut held = std::mem::take(&mut self.held);
        let data = if held.is_empty() {
            new
        } else {
            held.extend_from_slice(new);
            &held
        };
        let mut at = 0;
        if !self.upgraded {
            let Some(end) = data.windows(4).position(|w| w == b"\r\n\r\n") else {
                self.held = data.to_vec();
                return Ok(());
            };
            if !data.starts_with(b"HTTP/1.1 101") {
                return Err(String::from_utf8_lossy(data).into_owned().into());
            }
            (self.upgraded, at) = (true, end + 4);
            self.tcp.write_all(&std::mem::take(&mut self.then))?;
        }
        while let Some((opcode, from, to)) = frame(&data[at..]) {
            let payload = &data[at + from..at + to];
            match opcode {
                1 => self.text(payload, now_us, state)?,
                9 => {
                    let mut pong = Vec::new();
                    masked(10, payload, &mut pong);
                    self.tcp.write_all(&pong)?;
                }
                _ => return Err(format!("closed: {}", String::from_utf8_lossy(payload)).into()),
            }
            at += to;
        }
        if at < data.len() {
            self.held = data[at..].to_vec();
        }
        Ok(())
    }

    fn text(&mut self, payload: &[u8], now_us: u64, state: &mut Count) -> Result<()> {
        if payload.starts_with(br#"{"type":"error"#) || payload.starts_with(br#"{"type":"reset"#) {
            return Err(String::from_utf8_lossy(payload).into_owned().into());
        }
        if payload.starts_with(br#"{"type":"heartbeat"#) {
            return Ok(());
        }
        let n = self.texts;
        self.texts += 1;
        state.in_already += usize::from(self.texts == state.first);
        if n < state.base || state.changes_wanted == 0 {
            return Ok(());
        }
        // All subscribers of a channel see one order: the stamp needs to be found once for each change.
        let Some((sent_us, last_us)) = state.changes.get_mut((n - state.base) as usize) else { return Ok(()) };
        if *sent_us == 0 {
            *sent_us = stamp(payload).ok_or_else(|| format!("no sent_us: {}", String::from_utf8_lossy(payload)))?;
        }
        *last_us = now_us;
        let tenths = now_us.saturating_sub(*sent_us) / 100;
        state.histogram[(tenths as usize).min(HISTOGRAM - 1)] += 1;
        state.delivered += 1;
        Ok(())
    }
}

impl Count {
    fn report(&mut self, sockets: &mut [Socket]) -> Result<()> {
        let at = |part: f64| {
            let wanted = (self.delivered as f64 * part) as u64;
            let mut seen = 0;
            let place = self.histogram.iter().position(|n| {
                seen += n;
                seen > wanted
            });
            place.map_or(f64::NAN, |tenths| tenths as f64 / 10.0)
        };
        let mut all: VecDeque<f64> = self.changes.iter().map(|(s, l)| l.saturating_sub(*s) as f64 / 1000.0).collect();
        all.make_contiguous().sort_by(f64::total_cmp);
        let report = Report {
            delivered: self.delivered,
            missing: u64::from(self.changes_wanted) * sockets.len() as u64 - self.delivered,
            p50_ms: at(0.5),
            p95_ms: at(0.95),
            p99_ms: at(0.99),
            all_p95_ms: all.get(all.len() * 95 / 100).copied().unwrap_or(f64::NAN),
        };
        println!("{}", serde_json::to_string(&report)?);
        self.changes_wanted = 0;
        Ok(())
    }
}

/// Opcode, payload's begin and end of the first complete frame.
fn frame(data: &[u8]) -> Option<(u8, usize, usize)> {
    let (from, len) = match *data.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(data.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(data.get(2..10)?.try_into().ok()?) as usize),
        short => (2, usize::from(short)),
    };
    (data.len() >= from + len).then_some((data[0] & 15, from, from + len))
}

/// A client's frame, under a mask that changes nothing.
fn masked(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match u8::try_from(payload.len()) {
        Ok(short) if short < 126 => out.push(0x80 | short),
        _ => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

fn stamp(payload: &[u8]) -> Option<u64> {
    let mark = br#""sent_us":"#;
    let at = payload.windows(mark.len()).position(|w| w == mark)? + mark.len();
    let digits = payload[at..].iter().take_while(|b| b.is_ascii_digit());
    Some(digits.fold(0, |n, b| n * 10 + u64::from(b - b'0')))
}

#[expect(clippy::disallowed_methods, reason = "latency between two processes is a difference of wall clocks")]
pub fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64)
}

/// For what has no event to wait for: that a server has been idle for a while.
#[expect(clippy::disallowed_methods, reason = "idleness is the absence of an event")]
pub fn pause_ms(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}
