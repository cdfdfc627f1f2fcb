//! Where a reader stands in the stream, and its opaque text.
//!
//! Sequence order is not commit order, so a place in the stream is not a number. It is `(P, C, i)`: the
//! snapshots before and after the drain that the last event came in, and that event's number (`LogRow::message_number`). Everything visible
//! in P was delivered, and of what only C sees, the events up to i.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::snapshot::{Snapshot, Xid};

/// One life of the stream. It changes when xids may have been reused or events lost: crash recovery, failover,
/// restore, a gap in the log. Cursors of another incarnation mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Incarnation(pub u64);

/// A place in the stream: `(P, C, i)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub prev: Arc<Snapshot>,
    pub cur: Arc<Snapshot>,
    pub id: i64,
}

impl Position {
    /// The place right after everything that `snapshot` sees: P = C.
    pub fn at(snapshot: Arc<Snapshot>) -> Self {
        Self { prev: snapshot.clone(), cur: snapshot, id: 0 }
    }

    /// Was the event `id`, written by transaction `xid`, delivered before this place?
    pub fn includes(&self, xid: Xid, id: i64) -> bool {
        self.prev.sees(xid) || (id <= self.id && self.cur.sees(xid))
    }
}

/// A position in one incarnation: what a client keeps and hands back. Its text is base64url without padding of
/// version byte, incarnation (8 bytes, big endian), then LEB128 varints: P's xmin, xmax - xmin, count of xip, each as
/// the distance from the one before; a flag 0 (C = P) or 1, then C likewise with xmin counted from P's; id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub incarnation: Incarnation,
    pub position: Position,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a cursor of this server: hand back the text of a 'cursor' unchanged, or leave it out")]
pub struct CursorError;

const VERSION: u8 = 1;
/// A snapshot lists at most one running transaction per backend; Postgres allows 262,143 of those. We take
/// what 8,192 of them need.
const TEXT_BYTES_MAX: usize = 64 * 1024;
const XIP_MAX: u64 = 8192;

impl Cursor {
    /// What `Display` writes, by a shorter way: every event has one.
    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes())
    }

    fn bytes(&self) -> Vec<u8> {
        let Position { prev, cur, id } = &self.position;
        let mut b = Vec::with_capacity(48);
        b.push(VERSION);
        b.extend_from_slice(&self.incarnation.0.to_be_bytes());
        put_snapshot(&mut b, prev, 0);
        if prev == cur {
            b.push(0);
        } else {
            b.push(1);
            // Snapshots only advance; should one not, its distance wraps, and wraps back when read.
            put_snapshot(&mut b, cur, prev.xmin());
        }
        put_varint(&mut b, *id as u64);
        b
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(CursorError);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError)?;
        let mut r = Reader(&bytes);
        if r.byte()? != VERSION {
            return Err(CursorError);
        }
        let (head, rest) = r.0.split_first_chunk::<8>().ok_or(CursorError)?;
        let incarnation = Incarnation(u64::from_be_bytes(*head));
        r.0 = rest;
        let prev = Arc::new(r.snapshot(0)?);
        let cur = match r.byte()? {
            0 => prev.clone(),
            1 => Arc::new(r.snapshot(prev.xmin())?),
            _ => return Err(CursorError),
        };
        let id = r.varint()? as i64;
        if !r.0.is_empty() || id < 0 {
            return Err(CursorError);
        }
        Ok(Self { incarnation, position: Position { prev, cur, id } })
    }
}

fn put_snapshot(b: &mut Vec<u8>, s: &Snapshot, base: Xid) {
    put_varint(b, s.xmin().wrapping_sub(base));
    put_varint(b, s.xmax() - s.xmin());
    put_varint(b, s.xip().len() as u64);
    let mut before = s.xmin();
    for &x in s.xip() {
        put_varint(b, x - before);
        before = x;
    }
}

fn put_varint(b: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        b.push(v as u8 | 0x80);
        v >>= 7;
    }
    b.push(v as u8);
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, CursorError> {
        let (&b, rest) = self.0.split_first().ok_or(CursorError)?;
        self.0 = rest;
        Ok(b)
    }

    fn varint(&mut self) -> Result<u64, CursorError> {
        let mut v = 0u64;
        for shift in (0..64).step_by(7) {
            let b = self.byte()?;
            let part = u64::from(b & 0x7f);
            if shift == 63 && part > 1 {
                return Err(CursorError);
            }
            v |= part << shift;
            if b & 0x80 == 0 {
                return Ok(v);
            }
        }
        Err(CursorError)
    }

    fn snapshot(&mut self, base: Xid) -> Result<Snapshot, CursorError> {
        let xmin = self.varint()?.wrapping_add(base);
        let xmax = xmin.checked_add(self.varint()?).ok_or(CursorError)?;
        let n = self.varint()?;
        if n > XIP_MAX {
            return Err(CursorError);
        }
        let mut xip = Vec::with_capacity(n.min(self.0.len() as u64) as usize);
        let mut before = xmin;
        for _ in 0..n {
            before = before.checked_add(self.varint()?).ok_or(CursorError)?;
            xip.push(before);
        }
        Snapshot::new(xmin, xmax, xip).map_err(|_| CursorError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snap(text: &str) -> Arc<Snapshot> {
        Arc::new(text.parse().expect(text))
    }

    fn cursor(prev: &str, cur: &str, id: i64) -> Cursor {
        Cursor {
            incarnation: Incarnation(0xfeed_beef_0000_0001),
            position: Position { prev: snap(prev), cur: snap(cur), id },
        }
    }

    #[test]
    fn text_round_trips() {
        for c in [
            cursor("10:10:", "10:10:", 0),
            cursor("10:20:10,14", "14:25:14,22", 77),
            cursor("7:9:7", "7:9:7", i64::MAX),
            cursor(
                "18446744073709551613:18446744073709551615:18446744073709551614",
                "18446744073709551614:18446744073709551615:18446744073709551614",
                1,
            ),
        ] {
            let text = c.to_string();
            assert_eq!(text.parse::<Cursor>().as_ref(), Ok(&c), "{text}");
        }
    }

    #[test]
    fn a_cursor_under_32_writers_stays_short() {
        let xip: Vec<Xid> = (0..32).map(|i| 5_000_000 + 3 * i).collect();
        let s = Arc::new(Snapshot::new(5_000_000, 5_000_100, xip).expect("in range"));
        let text = Cursor { incarnation: Incarnation(1), position: Position::at(s) }.to_string();
        assert!(text.len() < 80, "{} bytes", text.len());
    }

    #[test]
    fn damaged_text_is_refused_not_misread() {
        let good = cursor("10:20:10,14", "14:25:14,22", 77).to_string();
        for n in 0..good.len() {
            assert_eq!(good[..n].parse::<Cursor>(), Err(CursorError), "cut at {n}");
        }
        assert_eq!(format!("{good}A").parse::<Cursor>(), Err(CursorError));
        for text in ["", "====", "AA", "~", &"A".repeat(TEXT_BYTES_MAX + 1)] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError));
        }
    }

    #[test]
    fn a_position_includes_what_was_delivered() {
        // 14 ran at P and had ended at C; the client has seen the drain's events up to id 50.
        let p = cursor("14:20:14", "22:22:", 50).position;
        for (xid, id, delivered) in [
            (13, 99, true),
            (15, 99, true),
            (14, 50, true),
            (14, 51, false),
            (21, 49, true),
            (21, 51, false),
            (22, 40, false),
        ] {
            assert_eq!(p.includes(xid, id), delivered, "xid {xid} id {id}");
        }
    }
}
