//! Channel -> subscribers: fan-out, per-connection queues, slow consumers, recent events in memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::domain::{
    Batch, Boxed, ChannelName, Cursor, Dialect, Incarnation, Message, Outlet, Pattern, Position, ReadError, Snapshot,
};

pub type DialectId = u16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intake {
    More,
    Pause,
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The client closed it or went away.
    Peer,
    /// We closed it with this code.
    Ours(u16),
}

pub trait Client: Send + Sync {
    fn text(self: Arc<Self>, payload: &str) -> Intake;
    fn binary(self: Arc<Self>) -> Intake;
    fn reset(self: Arc<Self>);
    fn closed(self: Arc<Self>, why: Closed);
}

pub trait AsyncReadWrite: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> AsyncReadWrite for T {}

#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum JoinError {
    #[error("already subscribed")]
    AlreadyJoined,
    #[error("the connection is gone")]
    Gone,
    #[error("too much happened while the snapshot was read")]
    Overflow,
    #[error("the stream has not begun")]
    NotReady,
}

#[derive(Clone, Debug, serde::Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Config {}

#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error("cannot start a shard: {0}")]
    Shard(#[from] std::io::Error),
}

#[derive(Clone)]
pub struct Hub {}

impl Hub {
    pub fn start(_config: Config, _dialects: Vec<Arc<dyn Dialect>>) -> Result<Hub, HubError> {
        unimplemented!()
    }
    pub fn adopt_tcp(
        &self,
        _tcp: std::net::TcpStream,
        _early: Vec<u8>,
        _dialect: DialectId,
        _client: Arc<dyn Client>,
    ) -> ConnId {
        unimplemented!()
    }
    pub fn adopt_io(
        &self,
        _io: Box<dyn AsyncReadWrite>,
        _early: Vec<u8>,
        _dialect: DialectId,
        _client: Arc<dyn Client>,
    ) -> ConnId {
        unimplemented!()
    }
    pub fn adopt_stream(
        &self,
        _dialect: DialectId,
        _client: Arc<dyn Client>,
    ) -> (ConnId, impl Stream<Item = Bytes> + Send + use<>) {
        (ConnId(0), futures_util::stream::empty())
    }
    pub fn send(&self, _conn: ConnId, _payload: &[u8]) {
        unimplemented!()
    }
    pub fn close(&self, _conn: ConnId, _code: u16, _reason: &str) {
        unimplemented!()
    }
    pub fn resume_reading(&self, _conn: ConnId) {
        unimplemented!()
    }
    pub fn join(&self, _conn: ConnId, _channel: &ChannelName) -> Result<Position, JoinError> {
        unimplemented!()
    }
    pub fn go_live(
        &self,
        _conn: ConnId,
        _channel: &ChannelName,
        _since: &Position,
        _lead: &[Bytes],
    ) -> Result<(), JoinError> {
        unimplemented!()
    }
    pub fn leave(&self, _conn: ConnId, _channel: &ChannelName) -> bool {
        unimplemented!()
    }
    pub fn position(&self) -> Option<(Incarnation, Position)> {
        unimplemented!()
    }
    pub fn recent(&self, _channel: &ChannelName, _from: &Cursor) -> Option<Vec<(Arc<Message>, Position)>> {
        unimplemented!()
    }
    pub fn channels(&self) -> Vec<(ChannelName, usize)> {
        unimplemented!()
    }
    pub fn connections(&self) -> usize {
        unimplemented!()
    }
    pub async fn shutdown(&self, _code: u16, _reason: &str, _grace: Duration) {
        unimplemented!()
    }
}

impl Outlet for Hub {
    fn begin(&self, _incarnation: Incarnation, _start: Arc<Snapshot>) {
        unimplemented!()
    }
    fn dispatch(&self, _batch: Batch) {
        unimplemented!()
    }
    fn publish(&self, _message: Message) {
        unimplemented!()
    }
    fn channel_error(&self, _channel: &ChannelName, _error: &ReadError) {
        unimplemented!()
    }
    fn room(&self) -> Boxed<'_, ()> {
        unimplemented!()
    }
    fn has_audience(&self, _channel: &ChannelName) -> bool {
        unimplemented!()
    }
    fn audience_of(&self, _family: &Pattern) -> Vec<ChannelName> {
        unimplemented!()
    }
}
