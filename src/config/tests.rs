use std::collections::BTreeSet;

use serde::de::value::MapDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::*;

fn sources(env: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
    let own = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    Sources { file: None, env: own(env), flags: own(flags) }
}

/// `text` as the configuration file.
fn with_file(text: &str, mut sources: Sources) -> Result<Config, String> {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("rowcast-config-{}-{n}.toml", std::process::id()));
    std::fs::write(&path, text).expect("a temporary file");
    sources.file = Some(path.clone());
    let config =
        Config::from_sources(&sources).map_err(|e| e.to_string().replace(path.to_str().unwrap_or("?"), "FILE"));
    std::fs::remove_file(&path).expect("our own file");
    config
}

#[test]
fn the_default_file_is_what_the_code_defaults_to() {
    let read = Config::from_sources(&Sources::default()).expect("the compiled-in default is valid");
    assert_eq!(format!("{read:#?}"), format!("{:#?}", Config::default()));
}

#[test]
fn the_default_file_names_every_setting_and_no_other() {
    let file: toml::Table = toml::from_str(DEFAULT).expect("valid");
    let named: BTreeSet<String> = file
        .iter()
        .flat_map(|(section, t)| t.as_table().expect("tables only").keys().map(move |k| format!("{section}.{k}")))
        .collect();
    let mut fields = BTreeSet::new();
    Config::deserialize(Spy { path: None, seen: &mut fields }).expect("every Config has defaults");
    assert_eq!(named, fields);
}

#[test]
fn later_sources_win() {
    let file = "[http]\nlisten = \"file:1\"\n[log]\nlevel = \"warn\"\n[shutdown]\ngrace_ms = 1";
    let env = [("ROWCAST_LISTEN", "env:2"), ("ROWCAST_SHUTDOWN_GRACE_MS", "2_000"), ("ROWCAST_LOG_FORMAT", "")];
    let config = with_file(file, sources(&env, &[("http.listen", "flag:3")])).expect("valid");
    assert_eq!((config.http.listen.as_str(), config.log.level.as_str()), ("flag:3", "warn"));
    assert_eq!(config.shutdown.grace_ms, 2000);
    assert_eq!(config.database.url, None);
}

#[test]
fn urls_come_from_the_usual_variables_and_are_never_shown() {
    let env =
        [("DATABASE_URL", "postgres://u:hunter2@h/d"), ("PATH", "/bin"), ("ROWCAST_PORT_8080_TCP", "tcp://1.2.3.4")];
    let config = with_file("[database]\nlisten_url = \"postgres://direct\"", sources(&env, &[])).expect("valid");
    assert_eq!(config.database.url.as_ref().map(Secret::expose), Some("postgres://u:hunter2@h/d"));
    assert_eq!(config.database.listen_url().map(Secret::expose), Some("postgres://direct"));
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn an_error_names_the_place_and_the_nearest_setting() {
    type Pairs = &'static [(&'static str, &'static str)];
    let cases: [(&str, Pairs, Pairs, &str); 16] = [
        ("\n[http]\nlisen = \"\"", &[], &[], "FILE:3: there is no setting http.lisen; did you mean http.listen?"),
        ("[htp]\nlisten = \"\"", &[], &[], "FILE:2: there is no setting htp.listen; did you mean http.listen?"),
        ("[rockets]\nfuel = 1", &[], &[], "FILE:2: there is no setting rockets.fuel"),
        ("\n[rockets]", &[], &[], "FILE:2: there is no setting [rockets]"),
        ("listen = \"x\"", &[], &[], "FILE:1: listen must be a table of settings: [section]"),
        (
            "[shutdown]\n\ngrace_ms = \"soon\"",
            &[],
            &[],
            "FILE:3: shutdown.grace_ms: invalid type: string \"soon\", expected a whole number, 0 or more",
        ),
        (
            "[shutdown]\ngrace_ms = -1",
            &[],
            &[],
            "FILE:2: shutdown.grace_ms: invalid value: integer `-1`, expected a whole number, 0 or more",
        ),
        (
            "",
            &[("ROWCAST_LOG_FORMAT", "xml")],
            &[],
            "environment variable ROWCAST_LOG_FORMAT: log.format: unknown variant `xml`, expected one of `auto`, `text`, `json`",
        ),
        (
            "",
            &[("ROWCAST_SHUTDOWN_GRACE_MS", "soon")],
            &[],
            "environment variable ROWCAST_SHUTDOWN_GRACE_MS: shutdown.grace_ms: must be a whole number",
        ),
        (
            "",
            &[("ROWCAST_LOGLEVEL", "x")],
            &[],
            "environment variable ROWCAST_LOGLEVEL: there is no setting ROWCAST_LOGLEVEL; did you mean ROWCAST_LOG_LEVEL?",
        ),
        ("", &[], &[("log.levl", "x")], "command line: there is no setting log.levl; did you mean log.level?"),
        ("[database]\nurl = \"postgres://u:hunter2@h", &[], &[], "FILE:2: "),
        (
            "[endpoint.orders]\npath = \"/x\"\nchanels = []",
            &[],
            &[],
            "FILE:1: endpoint.orders: unknown field `chanels`, expected one of `path`, `channels`",
        ),
        (
            "[endpoint.orders]\nallow = \"drop table x\"",
            &[],
            &[],
            "FILE:1: endpoint.orders: 'drop table x' is not a call like schema.function(id, user)",
        ),
        (
            "[endpoint.orders.frames]\nmade = '{\"a\"}'",
            &[],
            &[],
            "FILE:1: endpoint.orders: not JSON with holes like {data}: ",
        ),
        (
            "[endpoints]\nwith = [\"demo\"]",
            &[],
            &[],
            "FILE:2: endpoints.with: unknown variant `demo`, expected `reference`",
        ),
    ];
    for (file, env, flags, expected) in cases {
        let e = with_file(file, sources(env, flags)).expect_err(expected);
        assert!(e.starts_with(expected), "{e}\ninstead of\n{expected}");
        assert!(!e.contains("hunter2"), "{e}");
    }
}

#[test]
fn a_named_file_must_be_there() {
    for sources in [
        Sources { file: Some("no/such.toml".into()), ..Sources::default() },
        sources(&[("ROWCAST_CONFIG", "no/such.toml")], &[]),
    ] {
        let e = Config::from_sources(&sources).expect_err("no such file");
        assert!(e.to_string().starts_with("cannot read no/such.toml: "), "{e}");
    }
}

/// Notes the fields that derived code asks for, two levels deep, and answers with nothing but defaults.
struct Spy<'s> {
    path: Option<String>,
    seen: &'s mut BTreeSet<String>,
}

impl<'de> Deserializer<'de> for Spy<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let Some(section) = self.path else {
            return visitor.visit_map(Sections { left: fields.iter(), current: "", seen: self.seen });
        };
        self.seen.extend(fields.iter().map(|f| format!("{section}.{f}")));
        visitor.visit_map(MapDeserializer::new(std::iter::empty::<(&str, &str)>()))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(Error::custom(format!("{:?} must be a struct", self.path)))
    }

    /// A section of tables with names of the user's own.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_map(MapDeserializer::new(std::iter::empty::<(&str, &str)>()))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct enum identifier ignored_any
    }
}

struct Sections<'s> {
    left: std::slice::Iter<'static, &'static str>,
    current: &'static str,
    seen: &'s mut BTreeSet<String>,
}

impl<'de> MapAccess<'de> for Sections<'_> {
    type Error = serde::de::value::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Self::Error> {
        let Some(section) = self.left.next() else { return Ok(None) };
        self.current = section;
        seed.deserialize(section.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Self::Error> {
        seed.deserialize(Spy { path: Some(self.current.to_owned()), seen: self.seen })
    }
}
