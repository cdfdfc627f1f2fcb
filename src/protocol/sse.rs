//! The native frames as server-sent events (WHATWG HTML, 9.2): `data:` is the JSON of the WebSocket's frames, `id:`
//! the cursor that a browser hands back as `Last-Event-ID`.

use crate::domain::{Dialect, Message, ReadError};

use super::native;

/// The native dialect as an event stream.
pub struct NativeSse;

impl Dialect for NativeSse {
    fn event(&self, channel: &str, message: &Message, cursor: Option<&str>, out: &mut Vec<u8>) -> bool {
        let mut json = Vec::new();
        native::event(&mut json, channel, message, cursor);
        block(out, cursor, &json);
        true
    }

    /// Only `id:`: an EventSource remembers it and fires nothing.
    fn heartbeat(&self, cursor: &str, _at_us: i64, out: &mut Vec<u8>) -> bool {
        id_only(out, cursor);
        true
    }

    fn channel_error(&self, channel: &str, error: &ReadError, out: &mut Vec<u8>) -> bool {
        let mut json = Vec::new();
        native::read_error(&mut json, channel, error, None);
        block(out, None, &json);
        true
    }
}

/// One event. Each line of `json` gets its own `data:`: column values may hold line breaks between tokens
/// (`row_to_json` keeps a json column's own text), and the reader joins the lines again.
pub fn block(out: &mut Vec<u8>, id: Option<&str>, json: &[u8]) {
    if let Some(id) = id {
        line(out, b"id: ", id.as_bytes());
    }
    let mut rest = json;
    loop {
        let end = rest.iter().position(|&b| b == b'\n' || b == b'\r').unwrap_or(rest.len());
        line(out, b"data: ", &rest[..end]);
        if end == rest.len() {
            break;
        }
        let crlf = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + 1 + usize::from(crlf)..];
    }
    out.push(b'\n');
}

pub fn id_only(out: &mut Vec<u8>, id: &str) {
    line(out, b"id: ", id.as_bytes());
    out.push(b'\n');
}

/// How long the reader waits before it connects again, in milliseconds.
pub fn retry(out: &mut Vec<u8>, retry_ms: u64) {
    line(out, b"retry: ", retry_ms.to_string().as_bytes());
    out.push(b'\n');
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_never_end_an_event_early() {
        let cases: [(&[u8], &str); 6] = [
            (b"{\"a\":1}", "data: {\"a\":1}\n\n"),
            (b"{\n \"a\":1}", "data: {\ndata:  \"a\":1}\n\n"),
            (b"{\r\n1}", "data: {\ndata: 1}\n\n"),
            (b"{\r1}", "data: {\ndata: 1}\n\n"),
            (b"{\n\n1}", "data: {\ndata: \ndata: 1}\n\n"),
            (b"1\n", "data: 1\ndata: \n\n"),
        ];
        for (json, want) in cases {
            let mut out = Vec::new();
            block(&mut out, None, json);
            assert_eq!(String::from_utf8_lossy(&out), want);
        }
        let mut out = Vec::new();
        block(&mut out, Some("C"), b"1");
        retry(&mut out, 2000);
        assert_eq!(out, b"id: C\ndata: 1\n\nretry: 2000\n\n");
    }
}
