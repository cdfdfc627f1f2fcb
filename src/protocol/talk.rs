//! An endpoint that speaks another application's language: what it says beyond the messages of its channels.

use bytes::Bytes;

use crate::domain::Dialect;

/// What a client said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Understood, and of no consequence.
    Nothing,
    /// Not JSON, or binary: answered with `Talk::malformed`.
    Malformed,
    /// Show everything again.
    All,
    /// Show the item with this key.
    One(String),
}

/// An item that a client asked for by its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// As it is told back.
    pub shown: String,
    /// None: there can be no such item.
    pub key: Option<String>,
}

/// A frame of a snapshot.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The item that it is about; None: all of them.
    pub key: Option<String>,
    pub frame: Bytes,
}

/// Encode and decode only; a connection's course is the same for all of them (`connection::endpoint`).
pub trait Talk: Dialect {
    /// What a client asks for with the parameters of its URL; None: everything.
    fn asked(&self, query: &[(String, String)]) -> Option<Vec<Asked>>;
    /// The first frame, where there is one.
    fn hello(&self, asked: Option<&[Asked]>, at_us: i64) -> Option<Vec<u8>>;
    /// The frames that show a state channel's content, given as JSON text.
    fn content(&self, data: &[u8]) -> Vec<Shown>;
    /// The frame that shows one item of it; None: nothing is said.
    fn one(&self, data: &[u8], key: &str) -> Option<Bytes>;
    fn decode(&self, text: &str) -> Said;
    /// The answer to `Said::Malformed`.
    fn malformed(&self) -> &'static [u8] {
        br#"{"type":"error","message":"Invalid JSON format"}"#
    }
}
