//! The shapes of the REST interface, as the description shows them. Bodies with content of channels are written around
//! its raw text (`raw`), so that numbers keep their digits; these types describe them.

use poem_openapi::types::Any;
use poem_openapi::{Enum, Object};
use serde_json::Value;

/// An error, as RFC 9457 describes it
#[derive(Object)]
pub(super) struct Problem {
    /// `urn:rowcast:problem:` and the code
    #[oai(rename = "type")]
    pub kind: String,
    /// What kind of error this is
    pub title: String,
    /// The HTTP status
    pub status: u16,
    /// What happened here, and what to do
    pub detail: String,
    /// A word that never changes; docs/ERRORS.md lists them
    pub code: String,
}

/// `event`: delivers each change, and replays. `state`: delivers the newest state.
#[derive(Enum, Clone, Copy)]
#[oai(rename_all = "lowercase")]
pub(super) enum Kind {
    Event,
    State,
}

impl Kind {
    pub fn of(state: bool) -> Self {
        if state { Self::State } else { Self::Event }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::State => "state",
        }
    }
}

/// A family of channels that was defined, or is routed to
#[derive(Object)]
pub(super) struct Family {
    /// Such as `orders:{id}`
    pub pattern: String,
    pub kind: Kind,
    /// Snapshots come from a view; without one, an event channel starts empty
    pub has_view: bool,
}

/// A channel that somebody listens to, on this instance
#[derive(Object)]
pub(super) struct LiveChannel {
    pub channel: String,
    /// The family that it belongs to, or its own name
    pub pattern: String,
    pub kind: Kind,
    pub subscribers: u64,
}

#[derive(Object)]
pub(super) struct Channels {
    pub families: Vec<Family>,
    /// In the order of their names
    pub channels: Vec<LiveChannel>,
    /// Ask with `after` set to this for those that follow; absent at the end
    #[oai(skip_serializing_if_is_none)]
    pub next: Option<String>,
}

#[derive(Object)]
pub(super) struct Channel {
    pub channel: String,
    pub pattern: String,
    pub kind: Kind,
    pub has_view: bool,
    /// On this instance
    pub subscribers: u64,
}

/// What a channel shows
#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
pub(super) struct Snapshot {
    pub channel: String,
    pub kind: Kind,
    /// Any JSON; numbers as Postgres wrote them
    pub data: Any<Value>,
    /// Subscribe with it, or read events from it, to continue exactly here
    pub cursor: String,
}

#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
pub(super) struct Event {
    /// `insert`, `update`, `delete`, `truncate`, or the name that the route or sender gave
    pub event: String,
    /// Any JSON; numbers as Postgres wrote them
    pub data: Any<Value>,
    /// When the change was made, RFC 3339, UTC
    pub at: String,
    /// Right after this event
    pub cursor: String,
}

#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
pub(super) struct Events {
    pub channel: String,
    pub events: Vec<Event>,
    /// Ask with it next time
    pub cursor: String,
    /// There are more: ask again at once
    pub more: bool,
}

/// As long as the SQL functions let an event's name be.
pub(super) const EVENT_BYTES_MAX: usize = 100;

/// An event to publish
#[derive(Object)]
#[allow(dead_code, reason = "describes what is read as text")]
pub(super) struct NewEvent {
    /// 1 to 100 bytes without control characters
    pub event: String,
    /// Any JSON; it reaches subscribers with its own digits and spaces
    pub data: Any<Value>,
}

#[derive(Object)]
pub(super) struct Accepted {
    pub channel: String,
    pub event: String,
}
