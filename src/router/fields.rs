//! Reading and projecting a row's JSON without changing its text: `10.50` stays `10.50`.

use std::borrow::Cow;
use std::cell::RefCell;

use bytes::Bytes;

use crate::domain::json::{after, blank, string, value};

/// The top-level members of a row image, in the order in which Postgres wrote them; values are raw text. Read only as far
/// as somebody asks: the columns that keys are made of mostly stand at the front.
pub struct Fields<'a> {
    json: &'a [u8],
    seen: RefCell<Seen<'a>>,
}

#[derive(Default)]
struct Seen<'a> {
    members: Vec<Member<'a>>,
    /// Where the next one begins.
    at: usize,
}

#[derive(Clone, Copy)]
struct Member<'a> {
    /// With its quotes.
    name: &'a [u8],
    value: &'a [u8],
}

impl<'a> Fields<'a> {
    pub fn of(json: &'a [u8]) -> Self {
        Self { json, seen: RefCell::default() }
    }

    /// A column's value as the text that stands for it in a channel's name: a string's content, a number as it
    /// is written; nothing for SQL null and for a column that is not there.
    pub fn text(&self, column: &str) -> Option<Cow<'a, str>> {
        let raw = std::str::from_utf8(self.raw(column)?).ok()?;
        match raw.as_bytes()[0] {
            b'n' => None,
            b'"' => serde_json::from_str::<Text<'a>>(raw).ok().map(|text| text.0),
            _ => Some(Cow::Borrowed(raw)),
        }
    }

    /// A column's value as it is written; never empty.
    pub fn raw(&self, column: &str) -> Option<&'a [u8]> {
        let mut seen = self.seen.borrow_mut();
        if let Some(member) = seen.members.iter().find(|m| m.is(column)) {
            return Some(member.value);
        }
        while let Some(member) = seen.advance(self.json) {
            if member.is(column) {
                return Some(member.value);
            }
        }
        None
    }

    /// Are these its columns, all of them, in this order?
    pub fn are(&self, columns: &[Box<str>]) -> bool {
        let mut seen = self.seen.borrow_mut();
        while seen.advance(self.json).is_some() {}
        seen.members.len() == columns.len() && seen.members.iter().zip(columns).all(|(m, column)| m.is(column))
    }

    /// The object with only these columns, in this order; one that the row does not have is left out.
    pub fn project(&self, columns: &[Box<str>]) -> Bytes {
        let mut out = Vec::with_capacity(self.json.len());
        out.push(b'{');
        for column in columns {
            let Some(value) = self.raw(column) else { continue };
            if out.len() > 1 {
                out.push(b',');
            }
            // A string into a Vec: neither part can fail.
            serde_json::to_writer(&mut out, &**column).expect("a string serialises");
            out.push(b':');
            out.extend_from_slice(value);
        }
        out.push(b'}');
        Bytes::from(out)
    }
}

/// Borrowed unless it has escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Seen<'a> {
    /// The next member; none at the end, and none any more where the text is no JSON object: capture writes nothing else.
    fn advance(&mut self, json: &'a [u8]) -> Option<Member<'a>> {
        let first = self.at == 0;
        let open = after(json, self.at, if first { b'{' } else { b',' });
        let Some((member, end)) = open.and_then(|at| member(json, at)) else {
            self.at = json.len();
            return None;
        };
        self.members.push(member);
        self.at = end;
        Some(member)
    }
}

impl Member<'_> {
    fn is(&self, column: &str) -> bool {
        let inner = &self.name[1..self.name.len() - 1];
        inner == column.as_bytes()
            || (inner.contains(&b'\\') && serde_json::from_slice::<Text>(self.name).is_ok_and(|name| name.0 == column))
    }
}

/// A name, a colon, a value; and where it ends.
fn member(json: &[u8], at: usize) -> Option<(Member<'_>, usize)> {
    let name_at = blank(json, at);
    let name_end = string(json, name_at)?;
    let value_at = blank(json, after(json, name_end, b':')?);
    let value_end = value(json, value_at)?;
    Some((Member { name: &json[name_at..name_end], value: &json[value_at..value_end] }, value_end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str =
        r#"{"id":9007199254740993,"Price":10.50,"näme":"a\"b","gone":null,"tags":["x", {"y":1}],"ok":true,"q\"t":"z"}"#;

    #[test]
    fn values_become_text_for_channel_names() {
        let fields = Fields::of(ROW.as_bytes());
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
        let fields = Fields::of(ROW.as_bytes());
        let columns = ["Price", "absent", "tags", "q\"t"].map(Box::from);
        assert_eq!(fields.project(&columns), r#"{"Price":10.50,"tags":["x", {"y":1}],"q\"t":"z"}"#);
        assert_eq!(fields.project(&[]), "{}");
    }

    #[test]
    fn columns_are_found_in_any_order_and_layout() {
        let spaced = "{ \"a\" : [1, {\"b\": \"]}\"}] ,\n\"b\":\"\\\"\\\\\", \"c\" : -1.5e3 }";
        let fields = Fields::of(spaced.as_bytes());
        for (column, raw) in [("c", "-1.5e3"), ("a", r#"[1, {"b": "]}"}]"#), ("b", r#""\"\\""#), ("c", "-1.5e3")] {
            assert_eq!(fields.raw(column), Some(raw.as_bytes()), "{column}");
        }
        assert_eq!((fields.text("b").as_deref(), fields.text("d")), (Some("\"\\"), None));
    }

    #[test]
    fn the_whole_row_is_told_from_a_part_of_it() {
        let fields = Fields::of(br#"{"a":1,"b":2}"#);
        for (columns, all) in
            [(&["a", "b"][..], true), (&["b", "a"], false), (&["a"], false), (&["a", "b", "c"], false)]
        {
            let columns: Vec<Box<str>> = columns.iter().map(|c| Box::from(*c)).collect();
            assert_eq!(fields.are(&columns), all, "{columns:?}");
        }
    }

    #[test]
    fn agrees_with_a_parser_wherever_the_text_is_cut() {
        let text = ROW.as_bytes();
        for end in 0..=text.len() {
            let fields = Fields::of(&text[..end]);
            assert_eq!(fields.raw("not there"), None, "{end}");
            let whole = Fields::of(text);
            for column in ["id", "Price", "näme", "gone", "tags", "ok", "q\"t"] {
                let found = fields.raw(column);
                assert!(found.is_none() || found == whole.raw(column), "{column} of {end} bytes");
            }
        }
        let all: std::collections::HashMap<String, Box<serde_json::value::RawValue>> =
            serde_json::from_slice(text).expect("JSON");
        for (column, value) in all {
            assert_eq!(Fields::of(text).raw(&column), Some(value.get().as_bytes()), "{column}");
        }
    }

    #[test]
    fn what_is_no_object_has_no_columns() {
        for text in
            ["", "null", "[1]", "{", "{\"a\":}", "{\"a\"", "{\"a\":\"", "{\"a\":\"\\", "{\"a\":[", "{a:1}", "{}"]
        {
            assert_eq!(Fields::of(text.as_bytes()).raw("a"), None, "{text}");
        }
    }
}
