//! The native dialect: JSON text frames, `docs/PROTOCOL.md`.

mod decode;
mod encode;

pub use decode::{Command, Id, Refusal, decode};
pub use encode::{
    Limits, error, event, heartbeat, pong, read_error, reset, snapshot, subscribed, time, unsubscribed, welcome,
};

use crate::domain::{Dialect, Message, ReadError};

/// Every `type` of a frame that a client may send.
pub const CLIENT_TYPES: [&str; 3] = ["subscribe", "unsubscribe", "ping"];
/// Every `type` of a frame that the server sends.
pub const SERVER_TYPES: [&str; 9] =
    ["welcome", "subscribed", "snapshot", "event", "reset", "unsubscribed", "heartbeat", "pong", "error"];

/// The native dialect on a WebSocket.
pub struct NativeWs;

impl Dialect for NativeWs {
    fn event(&self, channel: &str, message: &Message, cursor: Option<&str>, out: &mut Vec<u8>) -> bool {
        event(out, channel, message, cursor);
        true
    }

    fn heartbeat(&self, cursor: &str, at_us: i64, out: &mut Vec<u8>) -> bool {
        heartbeat(out, cursor, at_us);
        true
    }

    fn channel_error(&self, channel: &str, error: &ReadError, out: &mut Vec<u8>) -> bool {
        read_error(out, channel, error, None);
        true
    }
}
