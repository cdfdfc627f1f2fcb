//! The dialects of the wire: frames in and out, encode and decode only. Who says what and when is `connection`'s.
//!
//! A dialect has a number, under which the hub encodes a message once for all connections that speak it. The
//! native ones have the first two; endpoints that speak another application's language add theirs at start.

mod code;
pub mod declared;
pub mod fx_engine;
pub mod native;
mod rate_row;
pub mod remittance;
pub mod sse;
mod talk;
mod template;

use std::sync::Arc;

use crate::domain::Dialect;

pub use code::Code;
pub use talk::{Asked, Said, Shape, Shown, Talk, Values};
pub use template::Template;

/// JSON text frames on a WebSocket: `docs/PROTOCOL.md`.
pub const NATIVE_WS: u16 = 0;
/// The same JSON as `data:` of server-sent events, the cursor as `id:`.
pub const NATIVE_SSE: u16 = 1;

/// The dialects by their number.
pub struct Dialects(Vec<Arc<dyn Dialect>>);

impl Dialects {
    /// The native ones, at `NATIVE_WS` and `NATIVE_SSE`.
    pub fn native() -> Self {
        Self(vec![Arc::new(native::NativeWs), Arc::new(sse::NativeSse)])
    }

    /// The number of one more.
    pub fn add(&mut self, dialect: Arc<dyn Dialect>) -> u16 {
        let id =
            u16::try_from(self.0.len()).expect("dialects are compiled in or configured by hand: fewer than 65,536");
        self.0.push(dialect);
        id
    }

    /// In the order of their numbers, as `Hub::start` takes them.
    pub fn into_vec(self) -> Vec<Arc<dyn Dialect>> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_native_dialects_are_at_their_numbers_and_others_follow() {
        let mut dialects = Dialects::native();
        assert_eq!(dialects.add(Arc::new(native::NativeWs)), 2);
        let all = dialects.into_vec();
        let (mut ws, mut sse) = (Vec::new(), Vec::new());
        all[usize::from(NATIVE_WS)].heartbeat("C", 0, &mut ws);
        all[usize::from(NATIVE_SSE)].heartbeat("C", 0, &mut sse);
        assert!(ws.starts_with(b"{\"type\":\"heartbeat\""));
        assert_eq!(sse, b"id: C\n\n");
    }
}
