//! Reading and projecting a row's JSON without changing its text: `10.50` stays `10.50`.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The top-level members of a row image, in the order in which Postgres wrote them; values are raw text.
pub struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Fields<'a> {
    /// `None` if the text is not a JSON object: capture writes nothing else.
    pub fn parse(json: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// A column's value as the text that stands for it in a channel's name: a string's content, a number as it
    /// is written; nothing for SQL null and for a column that is not there.
    pub fn text(&self, column: &str) -> Option<Cow<'a, str>> {
        let raw = self.raw(column)?.get();
        match raw.as_bytes()[0] {
            b'n' => None,
            b'"' => serde_json::from_str::<Cow<'a, str>>(raw).ok(),
            _ => Some(Cow::Borrowed(raw)),
        }
    }

    pub fn raw(&self, column: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(name, _)| name == column).map(|(_, value)| *value)
    }

    /// The object with only these columns, in this order; one that the row does not have is left out.
    pub fn project(&self, columns: &[Box<str>]) -> Bytes {
        let mut out = Vec::with_capacity(64);
        out.push(b'{');
        for column in columns {
            let Some(value) = self.raw(column) else { continue };
            if out.len() > 1 {
                out.push(b',');
            }
            // A string into a Vec: neither part can fail.
            serde_json::to_writer(&mut out, &**column).expect("a string serialises");
            out.push(b':');
            out.extend_from_slice(value.get().as_bytes());
        }
        out.push(b'}');
        Bytes::from(out)
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a row as a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(16);
                while let Some(Name(name)) = map.next_key()? {
                    members.push((name, map.next_value::<&'de RawValue>()?));
                }
                Ok(Fields(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// A member's name, borrowed unless it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str =
        r#"{"id":9007199254740993,"Price":10.50,"näme":"a\"b","gone":null,"tags":["x", {"y":1}],"ok":true,"q\"t":"z"}"#;

    #[test]
    fn values_become_text_for_channel_names() {
        let fields = Fields::parse(ROW.as_bytes()).expect("an object");
        let cases = [
            ("id", Some("9007199254740993")),
            ("Price", Some("10.50")),
            ("näme", Some("a\"b")),
            ("gone", None),
            ("absent", None),
            ("ok", Some("true")),
            ("q\"t", Some("z")),
        ];
        for (column, text) in cases {
            assert_eq!(fields.text(column).as_deref(), text, "{column}");
        }
    }

    #[test]
    fn projection_keeps_the_text_of_values() {
        let fields = Fields::parse(ROW.as_bytes()).expect("an object");
        let columns = ["Price", "absent", "tags", "q\"t"].map(Box::from);
        assert_eq!(fields.project(&columns), r#"{"Price":10.50,"tags":["x", {"y":1}],"q\"t":"z"}"#);
        assert_eq!(fields.project(&[]), "{}");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["", "null", "[1]", "{", "{\"a\":}"] {
            assert!(Fields::parse(text.as_bytes()).is_none(), "{text}");
        }
    }
}
