//! A dialect that is data: its frames are templates, its commands a table (`docs/ENDPOINTS.md`).

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::{Dialect, Message, ReadError};

use super::native::time;
use super::rate_row::string;
use super::talk::{Asked, MALFORMED, Said, Shape, Shown, Talk, Values};
use super::template::{Template, compact};

/// How an event is put into a frame, as a configuration says it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Envelope {
    /// `none`: nothing is said.
    Silence,
    /// A word such as `submission`: `{"type":EVENT,"submission":DATA}`.
    Member(String),
    /// `whole`: the data is the frame. Else as it is written.
    Frame(Template),
}

/// A function of the database and the names of what it is called with: `schema.function(id, user)`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Call {
    pub function: String,
    pub arguments: Vec<String>,
}

/// What a command does, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Deeds {
    pub call: Option<Call>,
    pub stream: Option<Switch>,
    /// The content again, in this frame.
    pub show: Option<Template>,
    pub answer: Option<Template>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    Start,
    Stop,
}

/// A command of a dialect.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    pub deeds: Deeds,
    pub number: usize,
    /// The members of its frame that it needs.
    members: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Phrases {
    pub hello: Option<Template>,
    /// How the content is shown to a client that begins; None: in the frame of an event `snapshot`.
    pub snapshot: Option<Envelope>,
    /// By event; `*`: of all others.
    pub frames: BTreeMap<String, Envelope>,
    pub commands: BTreeMap<String, Deeds>,
    pub malformed: Option<Template>,
    pub interval_ms: u64,
}

pub struct Declared {
    hello: Option<Template>,
    snapshot: Option<Template>,
    /// None: nothing is said.
    frames: HashMap<String, Option<Template>>,
    others: Option<Template>,
    commands: HashMap<String, Arc<Command>>,
    malformed: Vec<u8>,
    interval_ms: u64,
}

/// What a frame's members are called in templates and calls: `frame.timestamp`.
pub const MEMBER: &str = "frame.";
/// The event of a snapshot.
const SNAPSHOT: &str = "snapshot";

impl Declared {
    pub fn new(phrases: &Phrases) -> Self {
        let frame = |(event, envelope): (&String, &Envelope)| (event.clone(), envelope.frame(event));
        let mut frames: HashMap<_, _> = phrases.frames.iter().map(frame).collect();
        let others = frames.remove("*").unwrap_or_else(|| Some(plain()));
        let snapshot = phrases.snapshot.as_ref().map(|envelope| envelope.frame(SNAPSHOT));
        let command = |(number, (name, deeds)): (usize, (&String, &Deeds))| {
            let command = Command { number, members: deeds.members(), deeds: deeds.clone() };
            (name.clone(), Arc::new(command))
        };
        let mut malformed = MALFORMED.as_bytes().to_vec();
        if let Some(template) = &phrases.malformed {
            malformed.clear();
            template.fill(&mut malformed, |_, out| out.extend_from_slice(b"null"));
        }
        Self {
            hello: phrases.hello.clone(),
            snapshot: snapshot.unwrap_or_else(|| Some(plain())),
            frames,
            others,
            commands: phrases.commands.iter().enumerate().map(command).collect(),
            malformed,
            interval_ms: phrases.interval_ms,
        }
    }
}

/// What any event looks like that nobody has declared.
fn plain() -> Template {
    r#"{"type":{event},"data":{data}}"#.parse().expect("a template")
}

/// The holes that every subscriber's frame may have: it is made once for all.
pub const SHARED_HOLES: [&str; 4] = ["data", "event", "channel", "timestamp"];

fn shared(template: &Template, event: &str, channel: &str, data: &[u8], at_us: i64, out: &mut Vec<u8>) -> bool {
    if template.is_just("data") && data == b"null" {
        return false;
    }
    template.fill(out, |hole, out| match hole {
        "data" => compact(data, out),
        "event" => string(out, event),
        "channel" => string(out, channel),
        "timestamp" => string(out, &time(at_us)),
        _ => out.extend_from_slice(b"null"),
    });
    true
}

impl Dialect for Declared {
    fn event(&self, channel: &str, message: &Message, _cursor: Option<&str>, out: &mut Vec<u8>) -> bool {
        let template = self.frames.get(&*message.event).unwrap_or(&self.others);
        template.as_ref().is_some_and(|t| shared(t, &message.event, channel, &message.data, message.at_us, out))
    }

    fn heartbeat(&self, _cursor: &str, _at_us: i64, _out: &mut Vec<u8>) -> bool {
        false
    }

    fn channel_error(&self, _channel: &str, _error: &ReadError, _out: &mut Vec<u8>) -> bool {
        false
    }

    fn interval_ms(&self) -> u64 {
        self.interval_ms
    }
}

impl Talk for Declared {
    fn asked(&self, _query: &[(String, String)]) -> Option<Vec<Asked>> {
        None
    }

    fn hello(&self, _asked: Option<&[Asked]>, values: &Values, at_us: i64) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        fill(self.hello.as_ref()?, values, at_us, &mut out);
        Some(out)
    }

    fn content(&self, shape: Shape, data: Option<&[u8]>, at_us: i64) -> Vec<Shown> {
        let template = match shape {
            Shape::Snapshot => self.snapshot.as_ref(),
            Shape::Answer(number) => {
                let command = self.commands.values().find(|command| command.number == number);
                command.and_then(|command| command.deeds.show.as_ref())
            }
        };
        let (Some(template), Some(data)) = (template, data) else { return Vec::new() };
        let mut out = Vec::new();
        let says = shared(template, SNAPSHOT, "", data, at_us, &mut out);
        says.then(|| Shown { key: None, frame: out.into() }).into_iter().collect()
    }

    fn one(&self, _data: &[u8], _key: &str) -> Option<Bytes> {
        None
    }

    fn decode(&self, text: &str) -> Said {
        let Ok(whole) = serde_json::from_str::<&RawValue>(text) else { return Said::Malformed };
        let Ok(frame) = serde_json::from_str::<HashMap<String, &RawValue>>(whole.get()) else { return Said::Nothing };
        let kind = frame.get("type").and_then(|kind| serde_json::from_str::<String>(kind.get()).ok());
        let Some(command) = kind.and_then(|kind| self.commands.get(&kind)) else { return Said::Nothing };
        let mut members = Values::default();
        for name in &command.members {
            if let Some(value) = frame.get(&name[MEMBER.len()..]) {
                members.put(name, value.get());
            }
        }
        Said::Command(command.clone(), members)
    }

    fn malformed(&self) -> &[u8] {
        &self.malformed
    }
}

impl Command {
    /// Its answer, filled with what is known of the client and was said by it.
    pub fn answer(&self, values: &Values, at_us: i64) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        fill(self.deeds.answer.as_ref()?, values, at_us, &mut out);
        Some(out)
    }
}

/// For one client.
fn fill(template: &Template, values: &Values, at_us: i64, out: &mut Vec<u8>) {
    template.fill(out, |hole, out| match hole {
        "timestamp" => string(out, &time(at_us)),
        name => compact(values.get(name).as_bytes(), out),
    });
}

impl Deeds {
    /// What it names, each once.
    pub fn names(&self) -> Vec<&str> {
        let arguments = self.call.iter().flat_map(|call| call.arguments.iter().map(String::as_str));
        let mut names: Vec<&str> = arguments.chain(self.answer.iter().flat_map(Template::holes)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn members(&self) -> Vec<String> {
        self.names().into_iter().filter(|name| name.starts_with(MEMBER)).map(str::to_owned).collect()
    }
}

impl Envelope {
    pub fn frame(&self, event: &str) -> Option<Template> {
        match self {
            Self::Silence => None,
            Self::Frame(template) => Some(template.clone()),
            Self::Member(member) => {
                let kind = if event == "*" { "{event}".to_owned() } else { format!("{event:?}") };
                Some(format!("{{\"type\":{kind},\"{member}\":{{data}}}}").parse().expect("a word is a member's name"))
            }
        }
    }
}

impl FromStr for Envelope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        Ok(match text {
            "none" => Self::Silence,
            "whole" => Self::Frame("{data}".parse().expect("a template")),
            text if !text.is_empty() && text.chars().all(word) => Self::Member(text.into()),
            text => Self::Frame(text.parse().map_err(|e| format!("{e}"))?),
        })
    }
}

impl FromStr for Call {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("'{text}' is not a call like schema.function(id, user)");
        let word = |w: &str| !w.is_empty() && w.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.');
        let (function, rest) = text.split_once('(').ok_or_else(bad)?;
        let inner = rest.trim_end().strip_suffix(')').ok_or_else(bad)?;
        let arguments: Vec<String> = match inner.trim() {
            "" => Vec::new(),
            inner => inner.split(',').map(|a| a.trim().to_owned()).collect(),
        };
        let function = function.trim();
        if !word(function) || !arguments.iter().all(|a| word(a)) {
            return Err(bad());
        }
        Ok(Self { function: function.into(), arguments })
    }
}

impl TryFrom<String> for Envelope {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl TryFrom<String> for Call {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{ChannelName, Stamp, Target};

    fn declared() -> Declared {
        let envelope = |text: &str| text.parse::<Envelope>().expect(text);
        let frames = [
            ("made", "submission"),
            ("gone", "none"),
            ("all", "whole"),
            ("at", r#"{"on":{channel},"at":{timestamp}}"#),
        ];
        let deeds = |toml: &str| toml::from_str::<Deeds>(toml).expect(toml);
        let commands = [
            ("ping", r#"answer = '{"type":"pong","timestamp":{frame.timestamp}}'"#),
            ("read", r#"call = "f(user, frame.id)""#),
        ];
        Declared::new(&Phrases {
            hello: Some(r#"{"user":{user},"unread":{unread},"at":{timestamp}}"#.parse().expect("a template")),
            frames: frames.iter().map(|(event, text)| ((*event).to_owned(), envelope(text))).collect(),
            commands: commands.iter().map(|(name, text)| ((*name).to_owned(), deeds(text))).collect(),
            ..Phrases::default()
        })
    }

    #[test]
    fn frames_by_event() {
        for (event, data, want) in [
            ("made", r#"{"id": 1}"#, Some(r#"{"type":"made","submission":{"id":1}}"#)),
            ("gone", "1", None),
            ("all", r#"{"type" : "x"}"#, Some(r#"{"type":"x"}"#)),
            ("all", "null", None),
            ("other \"x\"", "null", Some(r#"{"type":"other \"x\"","data":null}"#)),
            ("at", "1", Some(r#"{"on":"c","at":"1970-01-01T00:00:01.000000Z"}"#)),
        ] {
            let message = Message {
                target: Target::One(ChannelName::new("c").expect("valid")),
                event: Arc::from(event),
                data: Bytes::from_static(data.as_bytes()),
                at_us: 1_000_000,
                conflate: None,
                stamp: Stamp::Foreign,
                replay: false,
                failure: None,
            };
            let mut out = Vec::new();
            let says = declared().event("c", &message, None, &mut out);
            assert_eq!(says.then(|| String::from_utf8(out).expect("text")).as_deref(), want, "{event}");
        }
    }

    #[test]
    fn hello_and_snapshot() {
        let mut values = Values::default();
        values.put_text("user", Some("7"));
        let hello = declared().hello(None, &values, 0).expect("there is one");
        assert_eq!(String::from_utf8_lossy(&hello), r#"{"user":"7","unread":null,"at":"1970-01-01T00:00:00.000000Z"}"#);
        let shown = declared().content(Shape::Snapshot, Some(b"[1, 2]"), 0);
        assert_eq!(&shown[0].frame[..], br#"{"type":"snapshot","data":[1,2]}"#);
        assert!(declared().content(Shape::Snapshot, None, 0).is_empty());
    }

    #[test]
    fn what_clients_say() {
        let said = |text: &str| match declared().decode(text) {
            Said::Command(command, values) => format!("{} {values:?}", command.number),
            other => format!("{other:?}"),
        };
        for (text, want) in [
            (r#"{"type":"ping","timestamp":"x"}"#, r#"0 Values([("frame.timestamp", "\"x\"")])"#),
            (r#"{"type":"ping","timestamp":1.50,"more":1}"#, r#"0 Values([("frame.timestamp", "1.50")])"#),
            (r#"{"type":"ping"}"#, "0 Values([])"),
            (r#"{"type":"read","id":5,"user":"9"}"#, r#"1 Values([("frame.id", "5")])"#),
            (r#"{"type":"subscribe"}"#, "Nothing"),
            (r#"{"type":7}"#, "Nothing"),
            ("[]", "Nothing"),
            ("7", "Nothing"),
            ("", "Malformed"),
            ("{", "Malformed"),
            ("ping", "Malformed"),
        ] {
            assert_eq!(said(text), want, "{text}");
        }
    }

    #[test]
    fn calls_are_names_and_nothing_else() {
        let call = |text: &str| text.parse::<Call>().map(|c| format!("{}:{}", c.function, c.arguments.join("+")));
        for (text, want) in
            [("s.f(id, user)", "s.f:id+user"), ("f()", "f:"), (" f ( a ) ", "f:a"), ("f(frame.x)", "f:frame.x")]
        {
            assert_eq!(call(text).as_deref(), Ok(want), "{text}");
        }
        for text in ["f", "f(", "f)", "f(a,)", "f(a); drop table x", "f('a')", "f(a)(b)", "(a)", "f\"(a)"] {
            assert!(call(text).is_err(), "{text}");
        }
    }
}
