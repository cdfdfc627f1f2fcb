//! What the hub costs beside the kernel: CPU of its shard threads per delivered frame, against one thread that does
//! nothing but `write(2)` the same frames to as many sockets, turn by turn in one run; and its memory per idle
//! connection with two subscriptions.
//!
//!     cargo bench --bench hub_fanout -- [connections, default 1000] [rounds, default 200]
//!
//! Linux only: it reads /proc. Needs four file descriptors per connection.

use std::error::Error;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::*};
use std::thread;

use bytes::Bytes;
use rowcast::domain::{
    Batch, ChannelName, Dialect, Incarnation, Message, Outlet, Position, ReadError, Snapshot, Stamp, Target,
};
use rowcast::hub::{Client, Closed, Config, Hub, Intake};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const PAYLOAD_BYTES: usize = 200;
const FRAME_BYTES: u64 = PAYLOAD_BYTES as u64 + 4;

struct Raw;

impl Dialect for Raw {
    fn event(&self, _: &str, message: &Message, _: Option<&str>, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(&message.data);
        true
    }
    fn heartbeat(&self, _: &str, _: i64, _: &mut Vec<u8>) -> bool {
        false
    }
    fn channel_error(&self, _: &str, _: &ReadError, _: &mut Vec<u8>) -> bool {
        false
    }
}

struct Deaf;

impl Client for Deaf {
    fn text(self: Arc<Self>, _: &str) -> Intake {
        Intake::More
    }
    fn binary(self: Arc<Self>) -> Intake {
        Intake::More
    }
    fn reset(self: Arc<Self>) {}
    fn closed(self: Arc<Self>, _: Closed) {}
}

fn main() -> Result<()> {
    let mut numbers = std::env::args().skip(1).filter_map(|a| a.parse::<usize>().ok());
    let (connections, rounds) = (numbers.next().unwrap_or(1000), numbers.next().unwrap_or(200));
    let config = Config { heartbeat_ms: 3_600_000, ..Config::default() };

    let (ours, theirs) = pairs(connections, &config)?;
    let read = Arc::new(AtomicU64::new(0));
    reader(theirs, read.clone())?;
    let (mut floor, theirs) = pairs(connections, &config)?;
    let floor_read = Arc::new(AtomicU64::new(0));
    reader(theirs, floor_read.clone())?;

    let hub = Hub::start(config, vec![Arc::new(Raw)])?;
    hub.begin(Incarnation(1), at(1));
    let before = resident_bytes()?;
    let client: Arc<dyn Client> = Arc::new(Deaf);
    let names = [ChannelName::new("a")?, ChannelName::new("b")?];
    for socket in ours {
        let conn = hub.adopt_tcp(socket, Vec::new(), 0, client.clone());
        for name in &names {
            let since = hub.join(conn, name)?;
            hub.go_live(conn, name, &since, &[])?;
        }
    }
    while hub.stats().fifo_items > 0 {
        thread::yield_now();
    }
    let memory = resident_bytes()?.saturating_sub(before) / connections as u64;
    println!("{connections} connections, two subscriptions each: {memory} bytes of ours per connection");

    let mut n = 0;
    for events in [1, 16] {
        let (mut ratios, mut hub_ns, mut floor_ns) = (Vec::new(), Vec::new(), Vec::new());
        let frames = (connections * events) as u64;
        for _ in 0..rounds {
            let (cpu, from) = (shards_ns()?, read.load(Relaxed));
            n += 1;
            hub.dispatch(batch(n, &names[0], events));
            wait_for(&read, from + frames * FRAME_BYTES);
            let ours = (shards_ns()? - cpu) / frames;

            let (cpu, from) = (own_ns()?, floor_read.load(Relaxed));
            let frame = vec![b'x'; FRAME_BYTES as usize * events];
            for socket in &mut floor {
                socket.write_all(&frame)?;
            }
            let least = (own_ns()? - cpu) / frames;
            wait_for(&floor_read, from + frames * FRAME_BYTES);
            hub_ns.push(ours);
            floor_ns.push(least);
            ratios.push(ours * 1000 / least.max(1));
        }
        let (ours, least, ratio) = (median(&mut hub_ns), median(&mut floor_ns), median(&mut ratios) as f64 / 1000.0);
        println!(
            "{events:>2} events at a time: {ours} ns of CPU per frame, write(2) alone {least} ns: {ratio:.2} x the floor"
        );
    }
    println!("{:?}", hub.stats());
    Ok(())
}

fn batch(n: u64, channel: &ChannelName, events: usize) -> Batch {
    let message = Message {
        target: Target::One(channel.clone()),
        event: "e".into(),
        data: Bytes::from(vec![b'x'; PAYLOAD_BYTES]),
        at_us: 0,
        conflate: None,
        stamp: Stamp::Log { xid: n, id: n as i64 },
        replay: true,
    };
    Batch { prev: at(n), cur: at(n + 1), messages: vec![message; events], after: Position::at(at(n + 1)) }
}

fn at(n: u64) -> Arc<Snapshot> {
    Arc::new(Snapshot::new(n, n, Vec::new()).expect("in order"))
}

fn pairs(count: usize, config: &Config) -> Result<(Vec<TcpStream>, Vec<TcpStream>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..count {
        theirs.push(TcpStream::connect(listener.local_addr()?)?);
        let (socket, _) = listener.accept()?;
        config.prepare_socket(&socket)?;
        ours.push(socket);
    }
    Ok((ours, theirs))
}

/// Reads everything from everybody, on a thread of its own.
fn reader(sockets: Vec<TcpStream>, read: Arc<AtomicU64>) -> Result<()> {
    let mut poll = mio::Poll::new()?;
    let mut streams = Vec::new();
    for (i, socket) in sockets.into_iter().enumerate() {
        socket.set_nonblocking(true)?;
        let mut stream = mio::net::TcpStream::from_std(socket);
        poll.registry().register(&mut stream, mio::Token(i), mio::Interest::READABLE)?;
        streams.push(stream);
    }
    thread::spawn(move || {
        let mut events = mio::Events::with_capacity(1024);
        let mut buffer = vec![0; 64 * 1024];
        while poll.poll(&mut events, None).is_ok() {
            for event in &events {
                loop {
                    match streams[event.token().0].read(&mut buffer) {
                        Ok(0) => break,
                        Ok(n) => drop(read.fetch_add(n as u64, Relaxed)),
                        Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                        Err(_) => break,
                    }
                }
            }
        }
    });
    Ok(())
}

fn wait_for(read: &AtomicU64, bytes: u64) {
    while read.load(Relaxed) < bytes {
        thread::yield_now();
    }
}

fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

/// Nanoseconds on a CPU of all shard threads.
fn shards_ns() -> Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        if fs::read_to_string(path.join("comm"))?.starts_with("hub-shard") {
            sum += on_cpu_ns(&fs::read_to_string(path.join("schedstat"))?)?;
        }
    }
    Ok(sum)
}

fn own_ns() -> Result<u64> {
    on_cpu_ns(&fs::read_to_string("/proc/thread-self/schedstat")?)
}

fn on_cpu_ns(schedstat: &str) -> Result<u64> {
    Ok(schedstat.split(' ').next().unwrap_or_default().parse()?)
}

fn resident_bytes() -> Result<u64> {
    let pages: u64 = fs::read_to_string("/proc/self/statm")?.split(' ').nth(1).unwrap_or_default().parse()?;
    Ok(pages * 4096)
}
