//! An endpoint that speaks another application's language: what it says beyond the messages of its channels.

use std::sync::Arc;

use bytes::Bytes;

use crate::domain::Dialect;

use super::declared::Command;

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
    /// Do what this command is declared to do, with these members of its frame.
    Command(Arc<Command>, Values),
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

/// As what a content is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// To a client that begins.
    #[default]
    Snapshot,
    /// To one that asked by the command of this number.
    Answer(usize),
}

/// Named JSON texts: what holes are filled with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values(Vec<(Box<str>, Box<str>)>);

/// Encode and decode only; a connection's course is the same for all of them (`connection::endpoint`).
pub trait Talk: Dialect {
    /// What a client asks for with the parameters of its URL; None: everything.
    fn asked(&self, query: &[(String, String)]) -> Option<Vec<Asked>>;
    /// The first frame, where there is one. `values`: who the client is, and what was looked up for it.
    fn hello(&self, asked: Option<&[Asked]>, values: &Values, at_us: i64) -> Option<Vec<u8>>;
    /// The frames that show a state channel's content, given as JSON text; None: it has none.
    fn content(&self, shape: Shape, data: Option<&[u8]>, at_us: i64) -> Vec<Shown>;
    /// The frame that shows one item of it; None: nothing is said.
    fn one(&self, data: &[u8], key: &str) -> Option<Bytes>;
    fn decode(&self, text: &str) -> Said;
    /// The answer to `Said::Malformed`.
    fn malformed(&self) -> &[u8] {
        MALFORMED.as_bytes()
    }
}

pub(super) const MALFORMED: &str = r#"{"type":"error","message":"Invalid JSON format"}"#;

impl Values {
    /// The JSON text of this name; `null` where there is none.
    pub fn get(&self, name: &str) -> &str {
        self.find(name).unwrap_or("null")
    }

    pub fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| **n == *name).map(|(_, json)| &**json)
    }

    pub fn put(&mut self, name: &str, json: impl Into<Box<str>>) {
        self.0.push((name.into(), json.into()));
    }

    pub fn put_text(&mut self, name: &str, text: Option<&str>) {
        self.put(name, serde_json::to_string(&text).expect("a text serialises"));
    }

    /// These, and where they have none of a name, those.
    pub fn with(&self, those: &Values) -> Values {
        Values(self.0.iter().chain(&those.0).cloned().collect())
    }

    /// As a parameter of SQL: texts without their quotes; None: `null`.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.get(name) {
            "null" => None,
            json => Some(serde_json::from_str(json).unwrap_or_else(|_| json.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_as_json_and_as_text() {
        let mut values = Values::default();
        values.put_text("user", Some("a \"b\""));
        values.put_text("nobody", None);
        for (name, json) in [("n", "7.50"), ("b", "true"), ("o", r#"{"a":1}"#)] {
            values.put(name, json);
        }
        for (name, json, text) in [
            ("user", r#""a \"b\"""#, Some("a \"b\"")),
            ("nobody", "null", None),
            ("missing", "null", None),
            ("n", "7.50", Some("7.50")),
            ("b", "true", Some("true")),
            ("o", r#"{"a":1}"#, Some(r#"{"a":1}"#)),
        ] {
            assert_eq!((values.get(name), values.text(name).as_deref()), (json, text), "{name}");
        }
    }
}
