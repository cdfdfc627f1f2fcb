//! Lays the sources over each other, key by key, and keeps where each value came from: an error then names the
//! place where it can be mended.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::DeTable;
use toml::{Table, Value};

use super::{Config, ConfigError, DEFAULT, Origin, Sources};

const FILE: &str = "rowcast.toml";
const FILE_VARIABLE: &str = "ROWCAST_CONFIG";
/// Who `rowcast tail` is.
const TOKEN_VARIABLE: &str = "ROWCAST_TOKEN";
/// The section whose keys are not known beforehand.
const OPEN: &str = "endpoint.";
const PREFIX: &str = "ROWCAST_";
/// Variables with names of their own; the first two are everybody's.
const SPECIAL: [(&str, &str); 3] = [
    ("DATABASE_URL", "database.url"),
    ("LISTEN_DATABASE_URL", "database.listen_url"),
    ("ROWCAST_LISTEN", "http.listen"),
];

/// `section.key` -> value and origin.
pub struct Layers(BTreeMap<String, (Value, Origin)>);

pub fn merge(sources: &Sources) -> Result<Layers, ConfigError> {
    let mut layers = Layers(BTreeMap::new());
    for (key, value, _) in entries(DEFAULT, Path::new("default.toml"))? {
        layers.0.insert(key, (value, Origin::Default));
    }
    if let Some((path, text)) = file(sources)? {
        for (key, value, origin) in entries(&text, &path)? {
            layers.set(&key, value, origin)?;
        }
    }
    for (name, text) in &sources.env {
        if let Some(key) = layers.key_of_variable(name)?
            && !text.is_empty()
        {
            layers.set_text(&key, text, Origin::Variable(name.clone()))?;
        }
    }
    for (key, text) in &sources.flags {
        layers.set_text(key, text, Origin::Flag)?;
    }
    Ok(layers)
}

impl Layers {
    pub fn read(self) -> Result<Config, ConfigError> {
        let all = self.0.iter().map(|(key, (value, _))| (key.as_str(), value));
        match Config::deserialize(nested(all)) {
            Ok(config) => Ok(config),
            Err(e) => Err(self.culprit(e.message())),
        }
    }

    /// Every key can be read without the others, so the one that cannot is at fault.
    fn culprit(&self, message: &str) -> ConfigError {
        for (key, (value, origin)) in &self.0 {
            if let Err(e) = Config::deserialize(nested([(key.as_str(), value)])) {
                let message = in_words(e.message().trim());
                return ConfigError::Value { origin: origin.clone(), key: key.clone(), message };
            }
        }
        ConfigError::Syntax { origin: Origin::Default, message: message.to_owned() }
    }

    fn set(&mut self, key: &str, value: Value, origin: Origin) -> Result<(), ConfigError> {
        match self.0.get_mut(key) {
            Some(slot) => {
                *slot = (value, origin);
                Ok(())
            }
            // Tables with names of the user's own.
            None if key.starts_with(OPEN) && value.is_table() => {
                self.0.insert(key.to_owned(), (value, origin));
                Ok(())
            }
            None => {
                let nearest = nearest(key, self.0.keys());
                Err(ConfigError::Unknown { origin, key: key.to_owned(), nearest })
            }
        }
    }

    /// A text from outside of TOML takes the type that the default has.
    fn set_text(&mut self, key: &str, text: &str, origin: Origin) -> Result<(), ConfigError> {
        let bad =
            |message: &str| ConfigError::Value { origin: origin.clone(), key: key.to_owned(), message: message.into() };
        let value = match self.0.get(key).map(|(default, _)| default) {
            Some(Value::Integer(_)) => {
                Value::Integer(text.replace('_', "").parse().map_err(|_| bad("must be a whole number"))?)
            }
            Some(Value::Float(_)) => Value::Float(text.parse().map_err(|_| bad("must be a number"))?),
            Some(Value::Boolean(_)) => Value::Boolean(text.parse().map_err(|_| bad("must be true or false"))?),
            Some(Value::Array(_)) => {
                let words = text.split(',').map(str::trim).filter(|w| !w.is_empty());
                Value::Array(words.map(|w| Value::String(w.to_owned())).collect())
            }
            // A map, as an inline table: ROWCAST_PROVIDER_SOURCE='{ ecb = {}, open_er_api = {} }'
            Some(Value::Table(_)) => {
                let table = toml::from_str::<Table>(&format!("it = {text}")).ok().and_then(|mut t| t.remove("it"));
                table
                    .filter(Value::is_table)
                    .ok_or_else(|| bad("must be an inline table of TOML, such as { a = 1 }"))?
            }
            _ => Value::String(text.to_owned()),
        };
        self.set(key, value, origin)
    }

    /// None: not meant for us.
    fn key_of_variable(&self, name: &str) -> Result<Option<String>, ConfigError> {
        if let Some((_, key)) = SPECIAL.iter().find(|(special, _)| *special == name) {
            return Ok(Some((*key).to_owned()));
        }
        if !name.starts_with(PREFIX) || [FILE_VARIABLE, TOKEN_VARIABLE].contains(&name) || is_service_link(name) {
            return Ok(None);
        }
        if let Some(key) = self.0.keys().find(|key| variable(key) == name) {
            return Ok(Some(key.clone()));
        }
        let known: Vec<String> =
            self.0.keys().map(|k| variable(k)).chain(SPECIAL.map(|(special, _)| special.to_owned())).collect();
        let origin = Origin::Variable(name.to_owned());
        Err(ConfigError::Unknown { origin, key: name.to_owned(), nearest: nearest(name, known.iter()) })
    }
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_uppercase())
}

/// Kubernetes gives each container variables for each service beside it: ROWCAST_PORT, ROWCAST_SERVICE_HOST,
/// ROWCAST_PORT_8080_TCP_ADDR where the service is called `rowcast`.
fn is_service_link(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX).unwrap_or_default();
    rest == "PORT" || rest.starts_with("PORT_") || rest.starts_with("SERVICE_HOST") || rest.starts_with("SERVICE_PORT")
}

fn file(sources: &Sources) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let variable = || sources.env.iter().find(|(k, v)| k == FILE_VARIABLE && !v.is_empty()).map(|(_, v)| v.into());
    let named: Option<PathBuf> = sources.file.clone().or_else(variable);
    let path = named.clone().unwrap_or_else(|| FILE.into());
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(e) if named.is_none() && e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigError::Read { path, source }),
    }
}

/// A TOML text as `section.key`, value, place. Its errors carry no line of the text, which may hold a password.
fn entries(text: &str, path: &Path) -> Result<Vec<(String, Value, Origin)>, ConfigError> {
    let at = |offset: usize| {
        let line = 1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|&&b| b == b'\n').count();
        Origin::File { path: path.to_owned(), line }
    };
    let syntax = |e: &toml::de::Error| {
        let origin = at(e.span().map_or(0, |s| s.start));
        ConfigError::Syntax { origin, message: e.message().trim().to_owned() }
    };
    let places = DeTable::parse(text).map_err(|e| syntax(&e))?;
    let values: Table = toml::from_str(text).map_err(|e| syntax(&e))?;
    let mut entries = Vec::new();
    for (section, inner) in places.get_ref() {
        let origin = at(section.span().start);
        let (Some(keys), Some(Value::Table(values))) =
            (inner.get_ref().as_table(), values.get(section.get_ref().as_ref()))
        else {
            let message = format!("{} must be a table of settings: [section]", section.get_ref());
            return Err(ConfigError::Syntax { origin, message });
        };
        if keys.is_empty() && !default_sections().contains_key(section.get_ref().as_ref()) {
            let key = format!("[{}]", section.get_ref());
            return Err(ConfigError::Unknown { origin, key, nearest: None });
        }
        for (key, value) in values {
            let place = keys.keys().find(|k| k.get_ref() == key).map_or(0, |k: &Spanned<_>| k.span().start);
            entries.push((format!("{}.{key}", section.get_ref()), value.clone(), at(place)));
        }
    }
    Ok(entries)
}

fn default_sections() -> Table {
    toml::from_str(DEFAULT).unwrap_or_default()
}

/// An empty text stands for "not set": the module's own default, or nothing.
fn nested<'a>(entries: impl IntoIterator<Item = (&'a str, &'a Value)>) -> Table {
    let mut table = Table::new();
    for (path, value) in entries {
        let (section, key) = path.split_once('.').unwrap_or((path, ""));
        let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
        if let (Value::Table(inner), false) = (inner, value.as_str() == Some("")) {
            inner.insert(key.to_owned(), value.clone());
        }
    }
    table
}

/// The known word with the fewest edits to it, if they are few.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a String>) -> Option<String> {
    let few = 1 + word.len() / 4;
    known.map(|k| (distance(word, k), k)).filter(|(d, _)| *d <= few).min().map(|(_, k)| k.clone())
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let best = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], best);
        }
    }
    row[b.len()]
}

/// Whoever writes a setting does not know the types of Rust.
fn in_words(message: &str) -> String {
    let typed = message.rsplit_once("expected ").filter(|(_, t)| matches!(*t, "u8" | "u16" | "u32" | "u64" | "usize"));
    match typed {
        Some((said, _)) => format!("{said}expected a whole number, 0 or more"),
        None => message.to_owned(),
    }
}
