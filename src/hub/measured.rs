//! Parts of the hub that `benches/` measures on their own. No interface: it changes with them.

use bytes::Bytes;

use super::codec::{self, Decoder, Incoming};

/// A server's text frame.
pub fn frame(payload: &[u8]) -> Bytes {
    codec::frame(codec::TEXT, payload)
}

/// Unmasks and decodes a client's frames in place; the bytes of text in them.
pub fn read(data: &mut [u8]) -> usize {
    let (mut decoder, mut at, mut bytes) = (Decoder::default(), 0, 0);
    while let Ok(Some(incoming)) = decoder.next(data, &mut at, usize::MAX) {
        if let Incoming::Text(text) = incoming {
            bytes += text.len();
        }
    }
    bytes
}
