//! Server frames. The text is written directly around the bytes of `data`, which are never parsed: numbers keep
//! the digits that Postgres gave them. `type` comes first in every frame.

use chrono::{DateTime, SecondsFormat};

use crate::domain::{Message, ReadError};
use crate::protocol::Code;

use super::decode::Id;

/// What `welcome` tells a client about itself.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub subscriptions_max: usize,
    pub channel_bytes_max: usize,
    pub frame_bytes_max: usize,
}

pub fn welcome(out: &mut Vec<u8>, connection: &str, heartbeat_ms: u64, limits: &Limits) {
    out.extend_from_slice(b"{\"type\":\"welcome\",\"connection\":");
    string(out, connection);
    out.extend_from_slice(
        format!(
            ",\"heartbeat_ms\":{heartbeat_ms},\"limits\":{{\"subscriptions_max\":{},\"channel_bytes_max\":{},\
             \"frame_bytes_max\":{}}}}}",
            limits.subscriptions_max, limits.channel_bytes_max, limits.frame_bytes_max
        )
        .as_bytes(),
    );
}

/// `cursor` is the place where the subscription stands: what it had seen (resumed), or what its snapshot shows.
pub fn subscribed(out: &mut Vec<u8>, channel: &str, state: bool, resumed: bool, cursor: &str, id: Option<&Id>) {
    open(out, "subscribed", Some(channel));
    out.extend_from_slice(if state { b",\"kind\":\"state\"" } else { b",\"kind\":\"event\"" });
    out.extend_from_slice(if resumed { b",\"resumed\":true" } else { b",\"resumed\":false" });
    field(out, "cursor", cursor);
    close(out, id);
}

pub fn snapshot(out: &mut Vec<u8>, channel: &str, data: &[u8], cursor: &str) {
    open(out, "snapshot", Some(channel));
    raw(out, "data", data);
    field(out, "cursor", cursor);
    close(out, None);
}

/// `event`, or `read_error` where there is no content.
pub fn message(out: &mut Vec<u8>, channel: &str, message: &Message, cursor: Option<&str>) {
    match &message.failure {
        None => event(out, channel, message, cursor),
        Some(error) => read_error(out, channel, error, None),
    }
}

/// `cursor` is absent where there is nothing to resume from (a foreign payload, a state).
pub fn event(out: &mut Vec<u8>, channel: &str, message: &Message, cursor: Option<&str>) {
    out.reserve(message.data.len() + channel.len() + 160);
    open(out, "event", Some(channel));
    field(out, "event", &message.event);
    raw(out, "data", &message.data);
    at(out, message.at_us);
    if let Some(cursor) = cursor {
        plain(out, "cursor", cursor);
    }
    close(out, None);
}

pub fn reset(out: &mut Vec<u8>, channel: &str, code: Code) {
    open(out, "reset", Some(channel));
    field(out, "code", code.as_str());
    field(out, "message", code.message());
    close(out, None);
}

pub fn unsubscribed(out: &mut Vec<u8>, channel: &str, id: Option<&Id>) {
    open(out, "unsubscribed", Some(channel));
    close(out, id);
}

/// The server has ended a subscription.
pub fn expelled(out: &mut Vec<u8>, channel: &str, code: Code) {
    open(out, "unsubscribed", Some(channel));
    field(out, "code", code.as_str());
    field(out, "message", code.message());
    close(out, None);
}

/// `user` is absent for a server's key, `expires_at` where there is none.
pub fn authenticated(out: &mut Vec<u8>, user: Option<&str>, expires_at_us: Option<i64>, id: Option<&Id>) {
    open(out, "authenticated", None);
    if let Some(user) = user {
        field(out, "user", user);
    }
    if let Some(at_us) = expires_at_us {
        field(out, "expires_at", &time(at_us));
    }
    close(out, id);
}

pub fn token_expiring(out: &mut Vec<u8>, expires_at_us: i64) {
    open(out, "token_expiring", None);
    field(out, "expires_at", &time(expires_at_us));
    close(out, None);
}

pub fn heartbeat(out: &mut Vec<u8>, cursor: &str, at_us: i64) {
    open(out, "heartbeat", None);
    at(out, at_us);
    field(out, "cursor", cursor);
    close(out, None);
}

pub fn pong(out: &mut Vec<u8>, id: Option<&Id>) {
    open(out, "pong", None);
    close(out, id);
}

pub fn error(out: &mut Vec<u8>, code: Code, message: &str, channel: Option<&str>, id: Option<&Id>) {
    open(out, "error", None);
    field(out, "code", code.as_str());
    field(out, "message", message);
    if let Some(channel) = channel {
        field(out, "channel", channel);
    }
    close(out, id);
}

/// An `error` whose message is the reading's own.
pub fn read_error(out: &mut Vec<u8>, channel: &str, read: &ReadError, id: Option<&Id>) {
    error(out, Code::from(read), &read.to_string(), Some(channel), id);
}

fn open(out: &mut Vec<u8>, kind: &str, channel: Option<&str>) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.push(b'"');
    if let Some(channel) = channel {
        field(out, "channel", channel);
    }
}

fn close(out: &mut Vec<u8>, id: Option<&Id>) {
    if let Some(id) = id {
        raw(out, "id", id.get().as_bytes());
    }
    out.push(b'}');
}

fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    key(out, name);
    string(out, value);
}

/// Of a text that is base64, or the like.
fn plain(out: &mut Vec<u8>, name: &str, value: &str) {
    key(out, name);
    out.push(b'"');
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

fn raw(out: &mut Vec<u8>, name: &str, json: &[u8]) {
    key(out, name);
    // A frame stays JSON whatever a writer of messages gave.
    out.extend_from_slice(if json.is_empty() { b"null" } else { json });
}

/// Microseconds since 1970 as RFC 3339, UTC, always with six digits.
pub fn time(at_us: i64) -> String {
    DateTime::from_timestamp_micros(at_us).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn at(out: &mut Vec<u8>, at_us: i64) {
    key(out, "at");
    out.push(b'"');
    match quick_time(at_us) {
        Some(text) => out.extend_from_slice(&text),
        None => out.extend_from_slice(time(at_us).as_bytes()),
    }
    out.push(b'"');
}

/// `time` of the years 1970 to 9999, in a tenth of the instructions: every event has one. Dates by Howard Hinnant's
/// `civil_from_days` (howardhinnant.github.io/date_algorithms.html).
fn quick_time(at_us: i64) -> Option<[u8; 27]> {
    const DAY_S: u64 = 86_400;
    const YEAR_10000_S: u64 = 253_402_300_800;
    let at_us = u64::try_from(at_us).ok()?;
    let (at_s, micros) = (at_us / 1_000_000, at_us % 1_000_000);
    if at_s >= YEAR_10000_S {
        return None;
    }
    let days = at_s / DAY_S + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let second = at_s % DAY_S;
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    let mut put = |mut end: usize, mut value: u64| {
        while value > 0 {
            end -= 1;
            text[end] = b'0' + (value % 10) as u8;
            value /= 10;
        }
    };
    for (end, value) in
        [(4, year), (7, month), (10, day), (13, second / 3600), (16, second / 60 % 60), (19, second % 60), (26, micros)]
    {
        put(end, value);
    }
    Some(text)
}

fn key(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn string(out: &mut Vec<u8>, text: &str) {
    // Names hardly ever need escaping, and looking is cheap (to the end: without a branch, it is done in vectors).
    if !text.bytes().fold(false, |found, b| found | (b < b' ') | (b == b'"') | (b == b'\\')) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        return out.push(b'"');
    }
    serde_json::to_writer(out, text).expect("a string is written to memory");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use serde_json::value::RawValue;

    use super::*;
    use crate::domain::{ChannelName, Stamp, Target};

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        let text = String::from_utf8(out).expect("UTF-8");
        serde_json::from_str::<serde_json::Value>(&text).expect(&text);
        text
    }

    fn message(data: &str) -> Message {
        Message {
            target: Target::One(ChannelName::new("o:1").expect("valid")),
            event: Arc::from("update"),
            data: Bytes::copy_from_slice(data.as_bytes()),
            at_us: 1_700_000_000_000_001,
            conflate: None,
            stamp: Stamp::Log { xid: 1, id: 1 },
            replay: true,
            failure: None,
        }
    }

    #[test]
    fn the_quick_time_is_the_time() {
        let second = 1_000_000;
        let leaps =
            [0, 951_782_399, 951_782_400, 951_868_800, 1_709_164_800, 4_107_542_400, 253_402_300_799, -1, -86_401];
        let steps = (0..4000).map(|n| n * 63_113_851 + n * n);
        for at_s in leaps.into_iter().chain(steps) {
            for us in [0, 1, 999_999, 120_000] {
                let at_us = at_s * second + us;
                let mut out = Vec::new();
                at(&mut out, at_us);
                assert_eq!(String::from_utf8_lossy(&out), format!(",\"at\":\"{}\"", time(at_us)), "{at_us}");
            }
        }
    }

    #[test]
    fn texts_are_escaped_where_they_must_be() {
        for want in ["", "orders:1", "a\"b", "a\\b", "a\nb", "\u{0}", "\u{7f}", "zażółć \u{2028} 🦀"] {
            let mut out = Vec::new();
            string(&mut out, want);
            assert_eq!(out, serde_json::to_vec(want).expect("text"), "{want:?}");
        }
    }

    #[test]
    fn frames_are_exact() {
        let id = RawValue::from_string("7".into()).expect("JSON");
        let limits = Limits { subscriptions_max: 100, channel_bytes_max: 255, frame_bytes_max: 65536 };
        let cases = [
            (
                text(|o| welcome(o, "c1", 15000, &limits)),
                r#"{"type":"welcome","connection":"c1","heartbeat_ms":15000,"limits":{"subscriptions_max":100,"channel_bytes_max":255,"frame_bytes_max":65536}}"#,
            ),
            (
                text(|o| subscribed(o, "o:\"1\"", true, false, "C", Some(&id))),
                r#"{"type":"subscribed","channel":"o:\"1\"","kind":"state","resumed":false,"cursor":"C","id":7}"#,
            ),
            (
                text(|o| snapshot(o, "o:1", b"[10.50, 9007199254740993]", "C")),
                r#"{"type":"snapshot","channel":"o:1","data":[10.50, 9007199254740993],"cursor":"C"}"#,
            ),
            (
                text(|o| event(o, "o:1", &message(r#"{"n":1.0}"#), Some("C"))),
                r#"{"type":"event","channel":"o:1","event":"update","data":{"n":1.0},"at":"2023-11-14T22:13:20.000001Z","cursor":"C"}"#,
            ),
            (
                text(|o| event(o, "o:1", &message(""), None)),
                r#"{"type":"event","channel":"o:1","event":"update","data":null,"at":"2023-11-14T22:13:20.000001Z"}"#,
            ),
            (text(|o| heartbeat(o, "C", 0)), r#"{"type":"heartbeat","at":"1970-01-01T00:00:00.000000Z","cursor":"C"}"#),
            (text(|o| pong(o, Some(&id))), r#"{"type":"pong","id":7}"#),
            (text(|o| pong(o, None)), r#"{"type":"pong"}"#),
            (text(|o| unsubscribed(o, "a", None)), r#"{"type":"unsubscribed","channel":"a"}"#),
            (
                text(|o| error(o, Code::BadChannel, "no\nno", Some("a"), None)),
                r#"{"type":"error","code":"bad_channel","message":"no\nno","channel":"a"}"#,
            ),
            (
                text(|o| read_error(o, "a", &ReadError::Timeout { limit_ms: 5 }, None)),
                r#"{"type":"error","code":"view_timeout","message":"the view of this channel took longer than 5 ms","channel":"a"}"#,
            ),
        ];
        for (got, want) in cases {
            assert_eq!(got, want);
        }
    }
}
