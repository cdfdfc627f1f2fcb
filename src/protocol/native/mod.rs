//! The native dialect: JSON text frames, `docs/PROTOCOL.md`.

mod decode;
mod encode;

pub use decode::{Command, Id, Refusal, Token, decode};
pub use encode::{
    Limits, authenticated, error, event, expelled, heartbeat, message, pong, read_error, reset, snapshot, subscribed,
    time, token_expiring, unsubscribed, welcome,
};

use crate::domain::{Dialect, Message, ReadError};

/// Every `type` of a frame that a client may send.
pub const CLIENT_TYPES: [&str; 4] = ["subscribe", "unsubscribe", "auth", "ping"];
/// Every `type` of a frame that the server sends.
pub const SERVER_TYPES: [&str; 11] = [
    "welcome",
    "subscribed",
    "snapshot",
    "event",
    "reset",
    "unsubscribed",
    "heartbeat",
    "pong",
    "error",
    "authenticated",
    "token_expiring",
];

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
