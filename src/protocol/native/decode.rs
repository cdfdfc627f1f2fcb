//! Client frames. Unknown fields are ignored, so that a newer client can say more to an older server; everything
//! else is checked, and what is refused says why.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::{ChannelName, Cursor};
use crate::protocol::Code;

/// A client's own mark on a command, given back with the answer: any JSON, up to 256 bytes.
pub type Id = Box<RawValue>;

const ID_BYTES_MAX: usize = 256;

#[derive(Debug)]
pub enum Command {
    /// At least one channel; the cursor, if any, counts for each of them.
    Subscribe {
        channels: Vec<ChannelName>,
        cursor: Option<Box<Cursor>>,
        id: Option<Id>,
    },
    Unsubscribe {
        channels: Vec<ChannelName>,
        id: Option<Id>,
    },
    Auth {
        token: Token,
        id: Option<Id>,
    },
    Ping {
        id: Option<Id>,
    },
}

/// Shows itself to nobody.
pub struct Token(Box<str>);

impl Token {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Why a frame was not understood: the fields of the `error` frame that answers it.
#[derive(Debug)]
pub struct Refusal {
    pub code: Code,
    pub message: Cow<'static, str>,
    pub channel: Option<Box<str>>,
    pub id: Option<Id>,
}

/// `channels_max` bounds the channels of one frame, `channel_bytes_max` each one's name.
pub fn decode(text: &str, channels_max: usize, channel_bytes_max: usize) -> Result<Command, Refusal> {
    let frame = parse(text)?;
    let id = match frame.id {
        Some(id) if id.get().len() > ID_BYTES_MAX => {
            return Err(Refusal::new(Code::BadFrame, "An 'id' may be 256 bytes of JSON long: send a shorter one."));
        }
        id => id.map(ToOwned::to_owned),
    };
    match frame.command(channels_max, channel_bytes_max) {
        Ok(Verb::Subscribe(channels, cursor)) => Ok(Command::Subscribe { channels, cursor, id }),
        Ok(Verb::Unsubscribe(channels)) => Ok(Command::Unsubscribe { channels, id }),
        Ok(Verb::Auth(token)) => Ok(Command::Auth { token, id }),
        Ok(Verb::Ping) => Ok(Command::Ping { id }),
        Err(refusal) => Err(Refusal { id, ..refusal }),
    }
}

impl Refusal {
    fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), channel: None, id: None }
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self::new(code, code.message())
    }
}

enum Verb {
    Subscribe(Vec<ChannelName>, Option<Box<Cursor>>),
    Unsubscribe(Vec<ChannelName>),
    Auth(Token),
    Ping,
}

/// The fields as their raw text: nothing is parsed before its type is asked for, so that nesting costs no stack.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    channel: Option<&'a RawValue>,
    #[serde(borrow)]
    channels: Option<&'a RawValue>,
    #[serde(borrow)]
    cursor: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    token: Option<&'a RawValue>,
}

fn parse(text: &str) -> Result<Frame<'_>, Refusal> {
    // serde would read an array as the fields in order.
    if !text.trim_ascii_start().starts_with('{') {
        let json = serde_json::from_str::<&RawValue>(text).is_ok();
        return Err(if json {
            Refusal::new(Code::BadFrame, "A frame is a JSON object, such as {\"type\":\"ping\"}.")
        } else {
            Code::BadJson.into()
        });
    }
    serde_json::from_str(text).map_err(|e| match e.classify() {
        serde_json::error::Category::Data => {
            Refusal::new(Code::BadFrame, format!("This frame was not understood: {e}."))
        }
        _ => Code::BadJson.into(),
    })
}

impl Frame<'_> {
    fn command(&self, channels_max: usize, channel_bytes_max: usize) -> Result<Verb, Refusal> {
        let Some(kind) = self.kind else {
            return Err(Refusal::new(
                Code::BadFrame,
                "A frame says its 'type': 'subscribe', 'unsubscribe', 'auth' or 'ping'.",
            ));
        };
        match &*string(kind, "type")? {
            "subscribe" => {
                let channels = self.channels(channels_max, channel_bytes_max)?;
                // Whose cursor it is: a client that hands it back again and again would stay without the channel.
                let named = |refusal| match &*channels {
                    [one] => Refusal { channel: Some(one.as_str().into()), ..refusal },
                    _ => refusal,
                };
                let cursor = self.cursor().map_err(named)?;
                Ok(Verb::Subscribe(channels, cursor))
            }
            "unsubscribe" => Ok(Verb::Unsubscribe(self.channels(channels_max, channel_bytes_max)?)),
            "auth" => {
                let token = self.token.ok_or_else(|| Refusal::new(Code::BadFrame, "Send the 'token' as a string."))?;
                Ok(Verb::Auth(Token(string(token, "token")?.into_owned().into())))
            }
            "ping" => Ok(Verb::Ping),
            _ => Err(Code::UnknownType.into()),
        }
    }

    fn channels(&self, channels_max: usize, channel_bytes_max: usize) -> Result<Vec<ChannelName>, Refusal> {
        let names = match (self.channel, self.channels) {
            (Some(one), None) => vec![string(one, "channel")?],
            (None, Some(many)) => serde_json::from_str::<Vec<Cow<str>>>(many.get())
                .map_err(|_| Refusal::new(Code::BadFrame, "'channels' is an array of strings."))?,
            (Some(_), Some(_)) => {
                return Err(Refusal::new(Code::BadFrame, "Send 'channel' or 'channels', not both."));
            }
            (None, None) => {
                return Err(Refusal::new(Code::BadChannel, "Say which channel: 'channel', or 'channels' for several."));
            }
        };
        if names.is_empty() {
            return Err(Refusal::new(Code::BadChannel, "'channels' is empty: name at least one."));
        }
        if names.len() > channels_max {
            return Err(Code::TooManySubscriptions.into());
        }
        names.iter().map(|name| channel(name, channel_bytes_max)).collect()
    }

    fn cursor(&self) -> Result<Option<Box<Cursor>>, Refusal> {
        let Some(cursor) = self.cursor else { return Ok(None) };
        let text = string(cursor, "cursor")?;
        text.parse().map(|c| Some(Box::new(c))).map_err(|_| Code::BadCursor.into())
    }
}

fn channel(name: &str, channel_bytes_max: usize) -> Result<ChannelName, Refusal> {
    let refused = |message: String| Refusal {
        channel: (name.len() <= crate::domain::CHANNEL_BYTES_MAX).then(|| name.into()),
        ..Refusal::new(Code::BadChannel, message)
    };
    if name.len() > channel_bytes_max {
        let bytes = name.len();
        return Err(refused(format!(
            "A channel name may be {channel_bytes_max} bytes long here, this one has {bytes}: shorten it."
        )));
    }
    ChannelName::new(name).map_err(|e| refused(format!("{e}: send another name.")))
}

fn string<'a>(value: &'a RawValue, field: &str) -> Result<Cow<'a, str>, Refusal> {
    // `&str` only where nothing is escaped; serde's Cow would always copy.
    if let Ok(text) = serde_json::from_str::<&str>(value.get()) {
        return Ok(Cow::Borrowed(text));
    }
    serde_json::from_str::<String>(value.get())
        .map(Cow::Owned)
        .map_err(|_| Refusal::new(Code::BadFrame, format!("'{field}' is a string.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Refusal {
        decode(text, 3, 20).expect_err(text)
    }

    #[test]
    fn frames_are_refused_with_their_code() {
        let deep = format!(r#"{{"type":"ping","x":{}1{}}}"#, "[".repeat(5000), "]".repeat(5000));
        assert!(decode(&deep, 3, 20).is_ok(), "depth costs nothing where nobody looks");
        let only_deep = "[".repeat(100_000);
        let long_id = format!(r#"{{"type":"ping","id":"{}"}}"#, "x".repeat(300));
        let cases = [
            ("", Code::BadJson),
            ("hello", Code::BadJson),
            ("{", Code::BadJson),
            (r#"{"type":"ping"} x"#, Code::BadJson),
            (r#"{"type":"ping",}"#, Code::BadJson),
            (&only_deep, Code::BadJson),
            ("[]", Code::BadFrame),
            ("null", Code::BadFrame),
            ("\"ping\"", Code::BadFrame),
            (r#"["ping",null,null,null,null]"#, Code::BadFrame),
            ("{}", Code::BadFrame),
            (r#"{"type":null}"#, Code::BadFrame),
            (r#"{"type":1}"#, Code::BadFrame),
            (r#"{"type":"ping","type":"ping"}"#, Code::BadFrame),
            (&long_id, Code::BadFrame),
            (r#"{"type":""}"#, Code::UnknownType),
            (r#"{"type":"Subscribe"}"#, Code::UnknownType),
            (r#"{"type":"subscribe"}"#, Code::BadChannel),
            (r#"{"type":"unsubscribe"}"#, Code::BadChannel),
            (r#"{"type":"subscribe","channel":""}"#, Code::BadChannel),
            (r#"{"type":"subscribe","channel":"a\u0000"}"#, Code::BadChannel),
            (r#"{"type":"subscribe","channel":"a\nb"}"#, Code::BadChannel),
            (r#"{"type":"subscribe","channel":"123456789012345678901"}"#, Code::BadChannel),
            (r#"{"type":"subscribe","channels":[]}"#, Code::BadChannel),
            (r#"{"type":"subscribe","channels":["a",""]}"#, Code::BadChannel),
            (r#"{"type":"subscribe","channel":7}"#, Code::BadFrame),
            (r#"{"type":"subscribe","channel":["a"]}"#, Code::BadFrame),
            (r#"{"type":"subscribe","channel":"\ud800"}"#, Code::BadFrame),
            (r#"{"type":"subscribe","channels":"a"}"#, Code::BadFrame),
            (r#"{"type":"subscribe","channels":["a",1]}"#, Code::BadFrame),
            (r#"{"type":"subscribe","channel":"a","channels":["a"]}"#, Code::BadFrame),
            (r#"{"type":"subscribe","channels":["a","b","c","d"]}"#, Code::TooManySubscriptions),
            (r#"{"type":"subscribe","channel":"a","cursor":1}"#, Code::BadFrame),
            (r#"{"type":"subscribe","channel":"a","cursor":""}"#, Code::BadCursor),
            (r#"{"type":"subscribe","channel":"a","cursor":"xyz"}"#, Code::BadCursor),
        ];
        for (text, code) in cases {
            assert_eq!(refused(text).code, code, "{}", &text[..text.len().min(80)]);
        }
    }

    #[test]
    fn a_refusal_gives_back_the_id_and_the_channel() {
        let r = refused(r#"{"id":{"a":1},"type":"subscribe","channel":"a\nb"}"#);
        assert_eq!(r.id.expect("echoed").get(), r#"{"a":1}"#);
        assert_eq!(r.channel.as_deref(), Some("a\nb"));
        for (channel, named) in
            [(r#""channel":"a""#, Some("a")), (r#""channels":["a"]"#, Some("a")), (r#""channels":["a","b"]"#, None)]
        {
            let r = refused(&format!(r#"{{"type":"subscribe",{channel},"cursor":"old"}}"#));
            assert_eq!((r.code, r.channel.as_deref()), (Code::BadCursor, named), "{channel}");
        }
    }

    #[test]
    fn commands_are_read_and_unknown_fields_ignored() {
        let cursor = "AQAAAAAAAAABCgAAAAA";
        let text = format!(r#" {{"x":[1],"type":"subscribe","channel":"o:\u0031","cursor":"{cursor}","id":"q"}}"#);
        match decode(&text, 3, 20) {
            Ok(Command::Subscribe { channels, cursor: Some(c), id: Some(id) }) => {
                assert_eq!(channels[0].as_str(), "o:1");
                assert_eq!(c.to_string(), cursor);
                assert_eq!(id.get(), "\"q\"");
            }
            other => panic!("{other:?}"),
        }
        match decode(r#"{"type":"unsubscribe","channels":["a","b"],"channel":null,"id":null}"#, 3, 20) {
            Ok(Command::Unsubscribe { channels, id: None }) => assert_eq!(channels.len(), 2),
            other => panic!("{other:?}"),
        }
        assert!(matches!(decode(r#"{"type":"ping"}"#, 3, 20), Ok(Command::Ping { id: None })));
    }
}
