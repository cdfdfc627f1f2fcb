//! A hub with nothing in front of it: sockets that the bench accepted itself, events that nobody wrote.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use bytes::Bytes;
use rowcast::domain::{
    Batch, ChannelName, Cursor, Dialect as _, Incarnation, Message, Outlet as _, Position, Snapshot, Stamp, Target,
};
use rowcast::hub::{Client, Closed, Config, ConnId, Hub, Intake};
use rowcast::protocol::native::NativeWs;
use rowcast::protocol::{Dialects, NATIVE_WS};

use super::Result;
use super::clients::Clients;

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

/// A row as Postgres writes it: 200 bytes.
pub const DATA: &str = r#"{"id":4711,"order_number":"BX-2026-004711","status":"in_progress","price":"149.90","customer_id":90210,"booster_id":1138,"game":"valorant","from_rank":"Gold 2","to_rank":"Diamond 1","note":"duo queue"}"#;

const FIRST: u64 = 1_000_000_000;

pub struct Bare {
    /// Dropped first: see `Clients::end`.
    pub clients: Clients,
    pub hub: Hub,
    pub conns: Vec<ConnId>,
    next: u64,
}

impl Bare {
    /// `connections` connections, subscribed to nothing.
    pub fn start(connections: usize, shards: usize) -> Result<Self> {
        let config = Config { heartbeat_ms: 3_600_000, shards, recent_items_max: 1000, ..Config::default() };
        let (clients, sockets) = pairs(connections, &config)?;
        let hub = Hub::start(config, Dialects::native().into_vec())?;
        hub.begin(Incarnation(1), at(FIRST));
        let client: Arc<dyn Client> = Arc::new(Deaf);
        let conns = sockets.into_iter().map(|s| hub.adopt_tcp(s, Vec::new(), NATIVE_WS, client.clone())).collect();
        Ok(Self { clients, hub, conns, next: FIRST })
    }

    pub fn subscribe(&self, conn: ConnId, channel: &ChannelName) -> Result<()> {
        let since = self.hub.join(conn, channel)?;
        Ok(self.hub.go_live(conn, channel, &since, &[])?)
    }

    /// All that was asked for has been done.
    pub fn settle(&self) {
        while self.hub.stats().fifo_items > 0 {
            std::thread::yield_now();
        }
    }

    /// One drain with a message on each of `channels`.
    pub fn dispatch<'a>(&mut self, channels: impl Iterator<Item = &'a ChannelName>) {
        let (prev, cur) = (at(self.next), at(self.next + 1));
        let messages = channels.map(|channel| message(channel, self.next)).collect();
        self.next += 1;
        self.hub.dispatch(Batch { prev, cur: cur.clone(), messages, after: Position::at(cur) });
    }
}

/// Bytes on the wire of each frame that `dispatch` sends on a channel with a name like this one.
pub fn frame_bytes(channel: &ChannelName) -> usize {
    let position = Position { prev: at(FIRST), cur: at(FIRST + 1), id: FIRST as i64 };
    let cursor = Cursor { incarnation: Incarnation(1), position }.to_string();
    let mut payload = Vec::new();
    NativeWs.event(channel.as_str(), &message(channel, FIRST), Some(&cursor), &mut payload);
    assert!((126..65536).contains(&payload.len()), "the head has four bytes");
    payload.len() + 4
}

pub fn pairs(count: usize, config: &Config) -> Result<(Clients, Vec<TcpStream>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let clients = Clients::start(listener.local_addr()?.port(), count, None)?;
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let (socket, _) = listener.accept()?;
        config.prepare_socket(&socket)?;
        sockets.push(socket);
    }
    Ok((clients, sockets))
}

fn message(channel: &ChannelName, n: u64) -> Message {
    Message {
        target: Target::One(channel.clone()),
        event: "order_update".into(),
        data: Bytes::from_static(DATA.as_bytes()),
        at_us: 1_790_000_000_123_456,
        conflate: None,
        stamp: Stamp::Log { xid: n, id: n as i64 },
        replay: true,
        failure: None,
    }
}

fn at(n: u64) -> Arc<Snapshot> {
    Arc::new(Snapshot::new(n, n, Vec::new()).expect("in order"))
}
