use std::collections::BTreeMap;

use serde::Deserialize;

use crate::protocol::Template;
use crate::protocol::declared::{Call, Deeds, Envelope};

/// `[endpoint.NAME]`: a WebSocket path of one's own. `docs/ENDPOINTS.md` explains each setting; a test compares.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `/ws/orders/{id}/`; answers with and without its last slash.
    pub path: String,
    /// With `{…}` from the path, `user`, or a lookup; the content of the first one is shown first.
    pub channels: Vec<String>,
    /// What the path's parameters may be.
    pub params: BTreeMap<String, Kind>,
    /// Values by SQL, for channels and the hello.
    pub lookup: BTreeMap<String, Call>,
    pub auth: Auth,
    /// The parameter that must be the user's own key.
    pub own: Option<String>,
    /// Who has one of these may come in.
    pub roles: Vec<String>,
    /// Staff may come in.
    pub staff: bool,
    /// Whom this function answers true for may come in.
    pub allow: Option<Call>,
    /// Without content there is nothing to listen to: 404.
    pub must_exist: bool,
    pub reject: Reject,
    pub hello: Option<Template>,
    pub snapshot: Option<Envelope>,
    pub frames: BTreeMap<String, Envelope>,
    pub commands: BTreeMap<String, Deeds>,
    pub malformed: Option<Template>,
    /// States come at most this often.
    pub interval_ms: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// Who it is does not matter, and is not looked at.
    None,
    /// Both who is known and who is not.
    Optional,
    #[default]
    Required,
}

/// How somebody is turned away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reject {
    /// Before the upgrade, by status.
    #[default]
    Http,
    /// After it, by close code: a browser shows its page nothing else.
    Close,
}

/// What a parameter of a path may be. Postgres reads several texts as one key (`42`, `042`), whose channel has but
/// one name: the others must not lead to a channel on which nothing ever happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// What looks like a number or a UUID must be written as Postgres writes it.
    #[default]
    Key,
    /// A whole number as Postgres writes it.
    Number,
    /// Anything.
    Text,
}

impl Kind {
    pub fn takes(self, text: &str) -> bool {
        match self {
            Self::Text => !text.is_empty(),
            Self::Number => is_canonical_number(text),
            Self::Key => {
                let trimmed = text.trim().trim_start_matches(['+', '-']);
                let like_number = trimmed.starts_with(|c: char| c.is_ascii_digit())
                    && (trimmed.bytes().all(|b| b.is_ascii_digit() || b == b'_') || is_prefixed_number(trimmed));
                let uuid = text.trim().trim_matches(['{', '}']);
                let like_uuid = uuid.len() == 36 && uuid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
                let canonical_uuid = uuid.len() == text.len() && !text.bytes().any(|b| b.is_ascii_uppercase());
                !text.is_empty() && (!like_number || is_canonical_number(text)) && (!like_uuid || canonical_uuid)
            }
        }
    }
}

fn is_canonical_number(text: &str) -> bool {
    text.parse::<i64>().is_ok_and(|n| n.to_string() == text)
}

/// `0x2A`, `0o52`, `0b101010`: Postgres 16 reads them.
fn is_prefixed_number(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let digits = |prefix: &str, radix| {
        text.strip_prefix(prefix).is_some_and(|rest| rest.chars().all(|c| c.is_digit(radix) || c == '_'))
    };
    digits("0x", 16) || digits("0o", 8) || digits("0b", 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_has_one_name() {
        let cases = [
            ("42", true, true),
            ("0", true, true),
            ("-7", true, true),
            ("9223372036854775807", true, true),
            ("042", false, false),
            ("+42", false, false),
            ("-0", false, false),
            (" 42", false, false),
            ("42 ", false, false),
            ("4_2", false, false),
            ("0x2A", false, false),
            ("9223372036854775808", false, false),
            ("", false, false),
            ("abc", true, false),
            ("4e1", true, false),
            ("2024_q1", true, false),
            ("zażółć", true, false),
            ("1b4e28ba-2fa1-11d2-883f-0016d3cca427", true, false),
            ("1B4E28BA-2FA1-11D2-883F-0016D3CCA427", false, false),
            ("{1b4e28ba-2fa1-11d2-883f-0016d3cca427}", false, false),
        ];
        for (text, key, number) in cases {
            assert_eq!((Kind::Key.takes(text), Kind::Number.takes(text)), (key, number), "{text:?}");
            assert_eq!(Kind::Text.takes(text), !text.is_empty());
        }
    }
}
