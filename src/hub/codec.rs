//! RFC 6455 on the wire: heads of frames that we send (never masked), and the decoder of what clients send.
//! No IO. The decoder keeps nothing but an unfinished message.

use std::borrow::Cow;

use bytes::Bytes;

use super::close;

pub const TEXT: u8 = 1;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;

/// The longest head of an unmasked frame.
pub const HEAD_BYTES_MAX: usize = 10;
const CONTROL_BYTES_MAX: usize = 125;

/// The head of a final frame of `len` payload bytes, right-aligned: the head is `out[start..]`.
pub fn head(opcode: u8, len: usize) -> ([u8; HEAD_BYTES_MAX], usize) {
    let mut out = [0u8; HEAD_BYTES_MAX];
    let start = match len {
        0..=125 => {
            out[9] = len as u8;
            8
        }
        126..=0xffff => {
            out[7] = 126;
            out[8..].copy_from_slice(&(len as u16).to_be_bytes());
            6
        }
        _ => {
            out[1] = 127;
            out[2..].copy_from_slice(&(len as u64).to_be_bytes());
            0
        }
    };
    out[start] = 0x80 | opcode;
    (out, start)
}

pub fn frame(opcode: u8, payload: &[u8]) -> Bytes {
    let (head, start) = head(opcode, payload.len());
    let mut out = Vec::with_capacity(HEAD_BYTES_MAX - start + payload.len());
    out.extend_from_slice(&head[start..]);
    out.extend_from_slice(payload);
    out.into()
}

/// A close frame; a reason over 123 bytes is cut at a character's end. `None`: without a code (to echo one such).
pub fn close_frame(code: Option<u16>, reason: &str) -> Bytes {
    let mut payload = Vec::with_capacity(CONTROL_BYTES_MAX);
    if let Some(code) = code {
        payload.extend_from_slice(&code.to_be_bytes());
        payload.extend_from_slice(&reason.as_bytes()[..reason.floor_char_boundary(CONTROL_BYTES_MAX - 2)]);
    }
    frame(CLOSE, &payload)
}

/// What a client said.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    Text(Cow<'a, str>),
    Binary,
    Ping(&'a [u8]),
    Pong,
    Close(Option<u16>),
}

/// The client broke the protocol: close with this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub code: u16,
    pub reason: &'static str,
}

#[derive(Debug, Default)]
pub struct Decoder {
    /// The opcode of the message whose fragments are coming, 0: none.
    unfinished: u8,
    message: Vec<u8>,
}

impl Decoder {
    /// Fragments have come, and more must.
    pub fn is_within_message(&self) -> bool {
        self.unfinished != 0
    }

    /// Takes the next complete frame from `data[*at..]`, unmasking in place, and moves `at` behind it. `None`: there is
    /// no complete frame left. A frame or a message of more than `bytes_max` is refused as soon as its head is there.
    /// Fragments short of a whole message, and frames that need no answer, are passed over.
    pub fn next<'a>(
        &mut self,
        data: &'a mut [u8],
        at: &mut usize,
        bytes_max: usize,
    ) -> Result<Option<Incoming<'a>>, Fault> {
        loop {
            let Some(head) = self.head(&data[*at..], bytes_max)? else { return Ok(None) };
            let from = *at + head.len;
            let to = from + head.payload;
            if data.len() < to {
                return Ok(None);
            }
            unmask(&mut data[from..to], head.mask);
            *at = to;
            if head.opcode >= CLOSE {
                return control(head.opcode, &data[from..to]).map(Some);
            }
            if !head.fin {
                if head.opcode != 0 {
                    self.unfinished = head.opcode;
                }
                self.message.extend_from_slice(&data[from..to]);
                continue;
            }
            if head.opcode == BINARY || (head.opcode == 0 && self.unfinished == BINARY) {
                *self = Self::default();
                return Ok(Some(Incoming::Binary));
            }
            const FAULT: Fault = Fault { code: close::INVALID_TEXT, reason: "a text message must be UTF-8" };
            let text = if head.opcode == 0 {
                let mut message = std::mem::take(self).message;
                message.extend_from_slice(&data[from..to]);
                Cow::Owned(String::from_utf8(message).map_err(|_| FAULT)?)
            } else {
                Cow::Borrowed(std::str::from_utf8(&data[from..to]).map_err(|_| FAULT)?)
            };
            return Ok(Some(Incoming::Text(text)));
        }
    }

    /// Reads and judges a frame's head; `None`: it is not complete.
    fn head(&self, d: &[u8], bytes_max: usize) -> Result<Option<Head>, Fault> {
        let &[first, second, ..] = d else { return Ok(None) };
        let (fin, opcode, short) = (first & 0x80 != 0, first & 0x0f, second & 0x7f);
        if first & 0x70 != 0 {
            return Err(protocol("reserved bits are set, no extension was agreed on"));
        }
        if second & 0x80 == 0 {
            return Err(protocol("frames of a client must be masked"));
        }
        match opcode {
            0 if self.unfinished == 0 => return Err(protocol("a continuation without a message")),
            TEXT | BINARY if self.unfinished != 0 => return Err(protocol("a message within a fragmented message")),
            0 | TEXT | BINARY => {}
            CLOSE | PING | PONG if !fin => return Err(protocol("a control frame must not be fragmented")),
            CLOSE | PING | PONG if short > 125 => return Err(protocol("a control frame holds 125 bytes at most")),
            CLOSE | PING | PONG => {}
            _ => return Err(protocol("an opcode that RFC 6455 does not know")),
        }
        let (at, payload) = match short {
            126 => {
                let Some(b) = d[2..].first_chunk::<2>() else { return Ok(None) };
                (4, u64::from(u16::from_be_bytes(*b)))
            }
            127 => {
                let Some(b) = d[2..].first_chunk::<8>() else { return Ok(None) };
                (10, u64::from_be_bytes(*b))
            }
            n => (2, u64::from(n)),
        };
        if (short == 126 && payload < 126) || (short == 127 && (payload <= 0xffff || payload >> 63 != 0)) {
            return Err(protocol("a length that is not in its shortest form"));
        }
        if opcode < CLOSE && payload.saturating_add(self.message.len() as u64) > bytes_max as u64 {
            return Err(Fault { code: close::TOO_BIG, reason: "a message larger than this server takes" });
        }
        let Some(mask) = d[at..].first_chunk::<4>() else { return Ok(None) };
        // Bounded by bytes_max or 125 above: fits a usize.
        Ok(Some(Head { fin, opcode, len: at + 4, payload: payload as usize, mask: *mask }))
    }
}

struct Head {
    fin: bool,
    opcode: u8,
    /// Of the head itself, mask included.
    len: usize,
    payload: usize,
    mask: [u8; 4],
}

fn control(opcode: u8, payload: &[u8]) -> Result<Incoming<'_>, Fault> {
    Ok(match (opcode, payload) {
        (PING, _) => Incoming::Ping(payload),
        (PONG, _) => Incoming::Pong,
        (_, []) => Incoming::Close(None),
        (_, [a, b, reason @ ..]) => {
            let code = u16::from_be_bytes([*a, *b]);
            if !close::valid_from_peer(code) {
                return Err(protocol("a close code that must not be sent"));
            }
            if std::str::from_utf8(reason).is_err() {
                return Err(Fault { code: close::INVALID_TEXT, reason: "a close reason must be UTF-8" });
            }
            Incoming::Close(Some(code))
        }
        (_, [_]) => return Err(protocol("half a close code")),
    })
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let mut words = payload.chunks_exact_mut(4);
    for word in &mut words {
        for (b, m) in word.iter_mut().zip(mask) {
            *b ^= m;
        }
    }
    for (b, m) in words.into_remainder().iter_mut().zip(mask) {
        *b ^= m;
    }
}

fn protocol(reason: &'static str) -> Fault {
    Fault { code: close::PROTOCOL, reason }
}

/// A client's frame, for tests.
#[cfg(test)]
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let (h, start) = head(0, payload.len());
    let mut out = h[start..].to_vec();
    out[0] = first;
    out[1] |= 0x80;
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    out.extend_from_slice(&mask);
    out.extend(payload.iter().enumerate().map(|(i, b)| b ^ mask[i & 3]));
    out
}

#[cfg(test)]
#[path = "tests/codec.rs"]
mod tests;
