//! CPU of the server per delivered frame: the hub, against one thread that does nothing but `write(2)` the same bytes to
//! as many sockets, and against peers. Turn by turn in one run, everything of a server on CPU 0, its clients on CPU 1.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use rowcast::domain::ChannelName;
use rowcast::hub::Config;

use super::Result;
use super::bare::{Bare, DATA, frame_bytes, pairs};
use super::clients::{Clients, Hello};
use super::measure::{cpu_ns, middle, own_cpu_ns, pin};

/// The frames of all connections in one measurement: the more connections, the fewer rounds.
const FRAMES: usize = 200_000;
const QUEUED: usize = 16;
pub const TARGET: f64 = 1.10;
/// Built by itself, so that rowcast does not depend on what it is compared with.
const PEERS: &str = "benches/peers/target/release/peers";

pub fn run(args: &[String]) -> Result<()> {
    let mut sizes = args.iter().map(|a| a.parse()).collect::<std::result::Result<Vec<usize>, _>>()?;
    if sizes.is_empty() {
        sizes = vec![1000, 5000];
    }
    println!("server on CPU 0, clients on CPU 1: {}", if pin(0) { "yes" } else { "no, one CPU only" });
    println!("CPU ns per delivered frame; ratio to the floor of the same round: median (middle half)\n");
    println!("| connections | queued | server | ns | x the floor | target |");
    println!("|---|---|---|---|---|---|");
    for n in sizes {
        one(n)?;
    }
    Ok(())
}

fn one(connections: usize) -> Result<()> {
    let channel = ChannelName::new("orders:4711")?;
    let bytes = frame_bytes(&channel);
    let config = Config::default();
    let (clients, sockets) = pairs(connections, &config)?;
    let mut floor = Floor { clients, sockets, frame: vec![b'x'; bytes] };
    let ours = Bare::start(connections, 1)?;
    for conn in &ours.conns {
        ours.subscribe(*conn, &channel)?;
    }
    ours.settle();
    let mut ours = Ours { bare: ours, channel, bytes };
    let mut peers = Vec::new();
    for name in ["tungstenite", "poem", "poem-tuned"] {
        peers.extend(Peer::start(name, connections)?);
    }
    let mut all: Vec<&mut dyn Server> = vec![&mut floor, &mut ours];
    all.extend(peers.iter_mut().map(|p| p as &mut dyn Server));
    for server in &mut all {
        server.clients().ready()?;
    }
    for queued in [1, QUEUED] {
        let rounds = (FRAMES / connections / queued).clamp(15, 400);
        let mut costs = vec![Vec::with_capacity(rounds); all.len()];
        for round in 0..rounds + 3 {
            for (server, costs) in all.iter_mut().zip(&mut costs) {
                let total = connections * queued * server.frame_bytes();
                server.clients().expect_bytes(total)?;
                let before = server.cpu_ns()?;
                server.publish(queued)?;
                server.clients().answer()?;
                let cost = (server.cpu_ns()? - before) as f64 / (connections * queued) as f64;
                // The first rounds warm up.
                if round >= 3 {
                    costs.push(cost);
                }
            }
        }
        for (server, own) in all.iter().zip(&costs) {
            let ratios: Vec<f64> = own.iter().zip(&costs[0]).map(|(a, b)| a / b).collect();
            let target = if server.name() == "rowcast" { format!("{TARGET:.2}") } else { String::new() };
            let (ns, name) = (middle(own).median, server.name());
            println!("| {connections} | {queued} | {name} | {ns:.0} | {} | {target} |", middle(&ratios));
        }
    }
    Ok(())
}

trait Server {
    fn name(&self) -> &str;
    fn clients(&mut self) -> &mut Clients;
    fn frame_bytes(&self) -> usize;
    fn cpu_ns(&self) -> Result<u64>;
    /// This many events, at once.
    fn publish(&mut self, events: usize) -> Result<()>;
}

struct Floor {
    clients: Clients,
    sockets: Vec<TcpStream>,
    frame: Vec<u8>,
}

impl Server for Floor {
    fn name(&self) -> &str {
        "write(2)"
    }
    fn clients(&mut self) -> &mut Clients {
        &mut self.clients
    }
    fn frame_bytes(&self) -> usize {
        self.frame.len()
    }
    fn cpu_ns(&self) -> Result<u64> {
        own_cpu_ns()
    }
    fn publish(&mut self, events: usize) -> Result<()> {
        let frames = self.frame.repeat(events);
        for socket in &mut self.sockets {
            socket.write_all(&frames)?;
        }
        Ok(())
    }
}

struct Ours {
    bare: Bare,
    channel: ChannelName,
    bytes: usize,
}

impl Server for Ours {
    fn name(&self) -> &str {
        "rowcast"
    }
    fn clients(&mut self) -> &mut Clients {
        &mut self.bare.clients
    }
    fn frame_bytes(&self) -> usize {
        self.bytes
    }
    fn cpu_ns(&self) -> Result<u64> {
        own_cpu_ns()
    }
    fn publish(&mut self, events: usize) -> Result<()> {
        self.bare.dispatch(std::iter::repeat_n(&self.channel, events));
        Ok(())
    }
}

/// A server of another kind in a process of its own: it takes WebSockets and, from its stdin, how many messages to send.
struct Peer {
    name: &'static str,
    clients: Clients,
    child: Child,
    to: ChildStdin,
    hello: PathBuf,
}

impl Peer {
    fn start(name: &'static str, connections: usize) -> Result<Option<Self>> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(PEERS);
        if !program.exists() {
            return Ok(None);
        }
        let mut child =
            Command::new(program).args([name, DATA]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let to = child.stdin.take().ok_or("no stdin")?;
        let mut port = String::new();
        let out = child.stdout.take().ok_or("no stdout")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut port)?;
        let hello = Hello { request: request("/ws", ""), frames: Vec::new() };
        // A file of its own: its clients read it while the next peer is started.
        let file = std::env::temp_dir().join(format!("rowcast-hello-{}-{name}", std::process::id()));
        std::fs::write(&file, format!("{}\n", serde_json::to_string(&hello)?).repeat(connections))?;
        let clients = Clients::start(port.trim().parse()?, connections, Some((&file, 1)))?;
        Ok(Some(Self { name, clients, child, to, hello: file }))
    }
}

/// A WebSocket's handshake.
pub fn request(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
    )
}

impl Server for Peer {
    fn name(&self) -> &str {
        self.name
    }
    fn clients(&mut self) -> &mut Clients {
        &mut self.clients
    }
    fn frame_bytes(&self) -> usize {
        DATA.len() + 4
    }
    fn cpu_ns(&self) -> Result<u64> {
        cpu_ns(self.child.id())
    }
    fn publish(&mut self, events: usize) -> Result<()> {
        Ok(writeln!(self.to, "{events}")?)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.clients.end();
        let _ = std::fs::remove_file(&self.hello);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
