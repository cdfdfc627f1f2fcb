//! JSON with holes, as a configuration writes a frame: `{"type":"pong","timestamp":{frame.timestamp}}`.
//!
//! A hole stands for a whole value, which is put in as JSON. `{name}` cannot be mistaken for an object: those begin
//! with `{"` or are empty.

use std::str::FromStr;

use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Template(Box<[Part]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Hole(Box<str>),
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TemplateError {
    #[error("a hole stands for a whole value, so {{{0}}} may not be within a text")]
    InText(String),
    #[error("not JSON with holes like {{data}}: {0}")]
    NotJson(String),
}

impl Template {
    /// The names of its holes.
    pub fn holes(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Hole(name) => Some(&**name),
            Part::Text(_) => None,
        })
    }

    /// Is it this hole and nothing else?
    pub fn is_just(&self, hole: &str) -> bool {
        matches!(&*self.0, [Part::Hole(name)] if **name == *hole)
    }

    /// Appends the frame; `value` appends the JSON for a hole.
    pub fn fill(&self, out: &mut Vec<u8>, mut value: impl FnMut(&str, &mut Vec<u8>)) {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Hole(name) => value(name, out),
            }
        }
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let (mut from, mut in_text, mut escaped) = (0, false, false);
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_text => escaped = true,
                b'"' => in_text = !in_text,
                b'{' => {
                    let Some(name) = hole(&text[at + 1..]) else { continue };
                    if in_text {
                        return Err(TemplateError::InText(name.into()));
                    }
                    parts.push(Part::Text(text[from..at].into()));
                    parts.push(Part::Hole(name.into()));
                    from = at + name.len() + 2;
                }
                _ => {}
            }
        }
        parts.push(Part::Text(text[from..].into()));
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        let template = Self(parts.into());
        let mut sample = Vec::new();
        template.fill(&mut sample, |_, out| out.extend_from_slice(b"null"));
        match serde_json::from_slice::<&RawValue>(&sample) {
            Ok(_) => Ok(template),
            Err(e) => Err(TemplateError::NotJson(e.to_string())),
        }
    }
}

impl TryFrom<String> for Template {
    type Error = TemplateError;

    fn try_from(text: String) -> Result<Self, TemplateError> {
        text.parse()
    }
}

/// The name in `name}…`.
fn hole(rest: &str) -> Option<&str> {
    let name = &rest[..rest.find('}')?];
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    (name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(word)).then_some(name)
}

/// Appends JSON text without the space between its tokens: Postgres writes some, and every subscriber pays for it.
pub fn compact(json: &[u8], out: &mut Vec<u8>) {
    let (mut in_text, mut escaped) = (false, false);
    for &byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b' ' | b'\n' | b'\r' | b'\t' if !in_text => continue,
            _ => {}
        }
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_filled() {
        let cases = [
            ("{data}", "<data>", vec!["data"]),
            (
                r#"{"type":"pong","t":{frame.timestamp}}"#,
                r#"{"type":"pong","t":<frame.timestamp>}"#,
                vec!["frame.timestamp"],
            ),
            (r#"{"a":{},"b":[{x},{ "c" : {y} }]}"#, r#"{"a":{},"b":[<x>,{ "c" : <y> }]}"#, vec!["x", "y"]),
            (r#"{"a":"\"} \\","b":{x}}"#, r#"{"a":"\"} \\","b":<x>}"#, vec!["x"]),
            ("[]", "[]", vec![]),
        ];
        for (text, want, holes) in cases {
            let template: Template = text.parse().expect(text);
            let mut out = Vec::new();
            template.fill(&mut out, |name, out| out.extend_from_slice(format!("<{name}>").as_bytes()));
            assert_eq!(String::from_utf8(out).expect("text"), want);
            assert_eq!(template.holes().collect::<Vec<_>>(), holes);
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        assert_eq!(r#"{"a":"hello {name}"}"#.parse::<Template>(), Err(TemplateError::InText("name".into())));
        for text in ["", "{", "{data", r#"{"a":{x}"#, r#"{"a" {x}}"#, "{x}{y}", "{a-b}", "{1}"] {
            assert!(matches!(text.parse::<Template>(), Err(TemplateError::NotJson(_))), "{text}");
        }
    }

    #[test]
    fn space_between_tokens_goes() {
        let mut out = Vec::new();
        compact(br#" { "a b" : "c \" d\\" , "e" : [1, 2.50 ,null],"f":"  \\\" " }"#, &mut out);
        assert_eq!(String::from_utf8(out).expect("text"), r#"{"a b":"c \" d\\","e":[1,2.50,null],"f":"  \\\" "}"#);
    }
}
