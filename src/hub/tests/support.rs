//! A hub with a plain dialect, clients that note what they are told, and peers at the other end of the socket.

use std::collections::VecDeque;
use std::future::Future;
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

pub use tokio_tungstenite::tungstenite::Message as Ws;

pub use crate::domain::{
    Batch, ChannelName, Cursor, Dialect, Incarnation, Message, Outlet, Pattern, Position, ReadError, Snapshot, Stamp,
    Target,
};
pub use crate::hub::*;

pub const LIFE: Incarnation = Incarnation(7);

/// `channel|event|data|id of the cursor`.
struct Plain {
    end: &'static str,
    interval_ms: u64,
}

impl Plain {
    fn say(&self, out: &mut Vec<u8>, text: String) -> bool {
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(self.end.as_bytes());
        true
    }
}

impl Dialect for Plain {
    fn event(&self, channel: &str, message: &Message, cursor: Option<&str>, out: &mut Vec<u8>) -> bool {
        if &*message.event == "mute" {
            return false;
        }
        let data = String::from_utf8_lossy(&message.data);
        self.say(out, format!("{channel}|{}|{data}|{}", message.event, place(cursor)))
    }

    fn heartbeat(&self, cursor: &str, _at_us: i64, out: &mut Vec<u8>) -> bool {
        self.say(out, format!("heartbeat|{}", place(Some(cursor))))
    }

    fn interval_ms(&self) -> u64 {
        self.interval_ms
    }

    fn channel_error(&self, channel: &str, error: &ReadError, out: &mut Vec<u8>) -> bool {
        if channel.starts_with("mute") {
            return false;
        }
        self.say(out, format!("error|{channel}|{error}"))
    }
}

/// A cursor in short: its `cur`'s xmax and its id.
fn place(cursor: Option<&str>) -> String {
    let Some(cursor) = cursor else { return "-".into() };
    let cursor: Cursor = cursor.parse().expect("the hub made it");
    assert_eq!(cursor.incarnation, LIFE);
    format!("{}.{}", cursor.position.cur.xmax(), cursor.position.id)
}

pub fn hub(config: Config) -> Hub {
    let hub = hub_before_begin(config);
    hub.begin(LIFE, at(1));
    hub
}

pub fn hub_before_begin(config: Config) -> Hub {
    started(config, 0)
}

/// One that says a channel's states at most once in this time.
pub fn paced(config: Config, interval_ms: u64) -> Hub {
    let hub = started(config, interval_ms);
    hub.begin(LIFE, at(1));
    hub
}

fn started(config: Config, interval_ms: u64) -> Hub {
    let dialect = |end| Arc::new(Plain { end, interval_ms }) as Arc<dyn Dialect>;
    Hub::start(config, vec![dialect(""), dialect("\n\n")]).expect("threads and polls")
}

/// Two shards, and no heartbeat unless a test wants it.
pub fn small() -> Config {
    Config { shards: 2, heartbeat_ms: 3_600_000, ..Config::default() }
}

/// Everything below `n` has ended.
pub fn at(n: u64) -> Arc<Snapshot> {
    Arc::new(Snapshot::new(n, n, Vec::new()).expect("in order"))
}

pub fn name(text: &str) -> ChannelName {
    ChannelName::new(text).expect("a good name")
}

/// Event `n`, written by transaction `n`.
pub fn event(channel: &str, n: u64) -> Message {
    Message {
        target: Target::One(name(channel)),
        event: "e".into(),
        data: Bytes::from(n.to_string()),
        at_us: 0,
        conflate: None,
        stamp: Stamp::Log { xid: n, id: n as i64 },
        replay: true,
        failure: None,
    }
}

pub fn state(channel: &str, read_at: u64, data: &str) -> Message {
    let stamp = Stamp::Read(at(read_at));
    Message { stamp, replay: false, data: Bytes::copy_from_slice(data.as_bytes()), ..event(channel, 1) }
}

/// One drain that brings transaction `n`.
pub fn drain(hub: &Hub, n: u64, messages: Vec<Message>) {
    hub.dispatch(Batch { prev: at(n), cur: at(n + 1), messages, after: Position::at(at(n + 1)) });
}

pub fn emit(hub: &Hub, channel: &str, n: u64) {
    drain(hub, n, vec![event(channel, n)]);
}

pub fn cursor(n: u64) -> Cursor {
    Cursor { incarnation: LIFE, position: Position::at(at(n)) }
}

#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Text(String),
    Binary,
    Reset,
    Closed(Closed),
}

/// A `Client` that notes its calls, and pauses when told to.
pub struct Noter {
    said: mpsc::UnboundedSender<Said>,
    pub pause: AtomicBool,
}

impl Client for Noter {
    fn text(self: Arc<Self>, payload: &str) -> Intake {
        assert_ne!(payload, "panic", "as the test wants it");
        let _ = self.said.send(Said::Text(payload.into()));
        if self.pause.load(SeqCst) { Intake::Pause } else { Intake::More }
    }

    fn binary(self: Arc<Self>) -> Intake {
        let _ = self.said.send(Said::Binary);
        Intake::More
    }

    fn reset(self: Arc<Self>) {
        let _ = self.said.send(Said::Reset);
    }

    fn closed(self: Arc<Self>, why: Closed) {
        let _ = self.said.send(Said::Closed(why));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Tcp,
    Io,
    Stream,
}

pub const ALL: [Way; 3] = [Way::Tcp, Way::Io, Way::Stream];
pub const SOCKETS: [Way; 2] = [Way::Tcp, Way::Io];

/// Both ends of one connection.
pub struct Conn {
    pub id: ConnId,
    pub client: Arc<Noter>,
    said: mpsc::UnboundedReceiver<Said>,
    pub peer: Peer,
}

pub enum Peer {
    Ws(Box<WebSocketStream<Box<dyn AsyncReadWrite>>>),
    Events(Pin<Box<dyn Stream<Item = Bytes> + Send>>, VecDeque<String>),
    Gone,
}

pub fn noter() -> (Arc<Noter>, mpsc::UnboundedReceiver<Said>) {
    let (tx, rx) = mpsc::unbounded_channel();
    (Arc::new(Noter { said: tx, pause: AtomicBool::new(false) }), rx)
}

/// A socket pair over loopback: ours, and the peer's. Small kernel buffers, so that a reader who does not read shows.
pub fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    socket.connect(&listener.local_addr().expect("bound").into()).expect("loopback");
    let (ours, _) = listener.accept().expect("connected");
    Config { send_buffer_bytes: 8192, ..Config::default() }.prepare_socket(&ours).expect("a live socket");
    (ours, socket.into())
}

pub async fn connect(hub: &Hub, way: Way) -> Conn {
    let (client, said) = noter();
    let (id, peer) = match way {
        Way::Tcp => {
            let (ours, theirs) = pair();
            theirs.set_nonblocking(true).expect("a socket");
            let theirs = tokio::net::TcpStream::from_std(theirs).expect("a socket");
            (hub.adopt_tcp(ours, Vec::new(), 0, client.clone()), ws(theirs).await)
        }
        Way::Io => {
            let (ours, theirs) = tokio::io::duplex(8192);
            (hub.adopt_io(Box::new(ours), Vec::new(), 0, client.clone()), ws(theirs).await)
        }
        Way::Stream => {
            let (id, stream) = hub.adopt_stream(1, client.clone());
            (id, Peer::Events(Box::pin(stream), VecDeque::new()))
        }
    };
    Conn { id, client, said, peer }
}

async fn ws(io: impl AsyncReadWrite + 'static) -> Peer {
    let io: Box<dyn AsyncReadWrite> = Box::new(io);
    Peer::Ws(Box::new(WebSocketStream::from_raw_socket(io, Role::Client, None).await))
}

/// A bound for what must come: long enough never to matter.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it must come")
}

impl Conn {
    pub async fn said(&mut self) -> Said {
        soon(self.said.recv()).await.expect("the client lives")
    }

    pub fn said_now(&mut self) -> Option<Said> {
        self.said.try_recv().ok()
    }

    /// Waits for the end and makes sure that it is told once.
    pub async fn closed(&mut self) -> Closed {
        loop {
            if let Said::Closed(why) = self.said().await {
                return why;
            }
        }
    }

    /// Payload to the peer, past what the transport is called.
    pub fn payload(&self, text: &str) -> Bytes {
        match self.peer {
            Peer::Events(..) => Bytes::from(format!("{text}\n\n")),
            _ => Bytes::copy_from_slice(text.as_bytes()),
        }
    }

    pub fn send(&self, hub: &Hub, text: &str) {
        hub.send(self.id, &self.payload(text));
    }

    /// Subscribed and live from where the stream is.
    pub fn live(&self, hub: &Hub, channel: &str) {
        let channel = name(channel);
        let since = hub.join(self.id, &channel).expect("open");
        hub.go_live(self.id, &channel, &since, &[]).expect("joined");
    }

    pub async fn next(&mut self) -> Option<String> {
        soon(self.peer.next()).await
    }

    pub async fn text(&mut self) -> String {
        self.next().await.expect("a payload, not the end")
    }

    /// Everything up to `last`, included.
    pub async fn until(&mut self, last: &str) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            all.push(self.text().await);
            if all.last().is_some_and(|t| t == last) {
                return all;
            }
        }
    }

    pub async fn say(&mut self, message: Ws) {
        let Peer::Ws(ws) = &mut self.peer else { panic!("a stream does not speak") };
        soon(ws.send(message)).await.expect("an open socket");
    }

    /// The close frame that comes, past whatever comes before it; `None`: the end of the stream without one.
    pub async fn close_frame(&mut self) -> Option<CloseFrame> {
        let Peer::Ws(ws) = &mut self.peer else { panic!("a stream just ends") };
        loop {
            match soon(ws.next()).await {
                Some(Ok(Ws::Close(frame))) => return frame,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    pub async fn code(&mut self) -> Option<u16> {
        self.close_frame().await.map(|f| f.code.into())
    }

    /// The next frame of any kind.
    pub async fn frame(&mut self) -> Ws {
        let Peer::Ws(ws) = &mut self.peer else { panic!("a stream has no frames") };
        soon(ws.next()).await.expect("not the end").expect("a whole frame")
    }

    pub fn hang_up(&mut self) {
        self.peer = Peer::Gone;
    }
}

impl Peer {
    /// The next payload; `None`: the end.
    async fn next(&mut self) -> Option<String> {
        match self {
            Peer::Ws(ws) => loop {
                match ws.next().await {
                    Some(Ok(Ws::Text(text))) => return Some(text.to_string()),
                    Some(Ok(Ws::Close(_)) | Err(_)) | None => return None,
                    Some(Ok(_)) => {}
                }
            },
            Peer::Events(stream, blocks) => {
                while blocks.is_empty() {
                    let bytes = stream.next().await?;
                    let text = String::from_utf8(bytes.into()).expect("text");
                    let whole = text.strip_suffix("\n\n").expect("whole blocks");
                    blocks.extend(whole.split("\n\n").map(String::from));
                }
                blocks.pop_front()
            }
            Peer::Gone => None,
        }
    }
}

/// xorshift: the same run for the same seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Looks until `done`, letting others run in between.
pub async fn when(mut done: impl FnMut() -> bool) {
    soon(async {
        while !done() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
