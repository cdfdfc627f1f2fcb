//! One tick for all connections of a lane: pings, cursors, and who has fallen silent.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::backlog::{Frame, TOPIC_HEARTBEAT};
use super::config::add;
use super::fanout::{Fanout, Port};
use super::lane::{Form, Heartbeat};
use super::{Framing, close, codec};

impl<P: Port> Fanout<P> {
    #[expect(clippy::disallowed_methods, reason = "shown to people, decides nothing")]
    pub fn beat(&mut self, heartbeat: &Heartbeat) {
        let now = self.now_ms();
        let at_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64);
        let idle_ms = self.core.config.idle_timeout_ms;
        let mut ping = None;
        let mut encoded: Vec<(Form, Option<u32>)> = Vec::new();
        for slot in (heartbeat.turn..self.members.len() as u32).step_by(heartbeat.of as usize) {
            let Some(member) = &self.members[slot as usize] else { continue };
            if member.client.is_none() {
                continue;
            }
            let (id, form) = (member.id, member.form);
            if member.port.heard_ms().is_some_and(|heard| now.saturating_sub(heard) > idle_ms) {
                add(&self.core.stats.idle_closed, 1);
                self.close(id, close::IDLE, close::IDLE_REASON, None);
                continue;
            }
            if form.framing == Framing::WebSocket {
                let n = *ping.get_or_insert_with(|| {
                    self.frames.push(heartbeat_frame(codec::frame(codec::PING, b""), "ping"));
                    self.frames.len() as u32 - 1
                });
                self.link(slot, n);
            }
            let Some(cursor) = &heartbeat.cursor else { continue };
            if heartbeat.joining.binary_search(&slot).is_ok() {
                continue;
            }
            let n = match encoded.iter().find(|(f, _)| *f == form) {
                Some((_, n)) => *n,
                None => {
                    let bytes = self.core.encode_heartbeat(form, cursor, at_us);
                    let n = bytes.map(|bytes| self.add_frame(heartbeat_frame(bytes, "heartbeat")));
                    encoded.push((form, n));
                    n
                }
            };
            if let Some(n) = n {
                self.link(slot, n);
            }
        }
    }
}

/// A newer one of the same kind takes its place for a client that does not read.
fn heartbeat_frame(bytes: Bytes, kind: &str) -> Frame {
    Frame { topic: TOPIC_HEARTBEAT, key: Some(kind.into()), ..Frame::plain(bytes) }
}
