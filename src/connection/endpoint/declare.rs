//! From a table of the configuration to an endpoint.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::{Pattern, PatternError};
use crate::protocol::declared::{Call, Declared, MEMBER, Phrases, SHARED_HOLES};
use crate::protocol::{Dialects, Template};
use crate::store::{Store, StoreError};

use super::config::{Auth, Config};
use super::{Clock, Door, Endpoint, Functions};

#[derive(Debug, thiserror::Error)]
#[error("endpoint.{name}.{key}: {message}")]
pub struct DeclareError {
    pub name: String,
    pub key: String,
    pub message: String,
}

impl Endpoint {
    /// Checks the whole table, and that the functions it names are there.
    pub async fn declared(
        name: &str,
        config: &Config,
        store: &Store,
        dialects: &mut Dialects,
        clock: &Clock,
    ) -> Result<Self, DeclareError> {
        let wrong = |(key, message): (String, String)| DeclareError { name: name.to_owned(), key, message };
        let checked = check(config).map_err(wrong)?;
        let mut functions = Functions::none(store);
        for (key, call) in calls(config) {
            let error = |message: String| wrong((key.clone(), message));
            let found = store.function(&call.function, call.arguments.len()).await;
            let function = found.map_err(|e| error(told(&e, call)))?.ok_or_else(|| error(missing(call)))?;
            functions.known.insert(call.clone(), function);
        }
        let talk = Arc::new(Declared::new(&Phrases {
            hello: config.hello.clone(),
            snapshot: config.snapshot.clone(),
            frames: config.frames.clone(),
            commands: config.commands.clone(),
            malformed: config.malformed.clone(),
            interval_ms: config.interval_ms,
        }));
        Ok(Self {
            path: checked.path,
            dialect: dialects.add(talk.clone()),
            talk,
            door: Door {
                auth: config.auth,
                params: config.params.clone(),
                own: config.own.clone(),
                roles: config.roles.clone(),
                staff: config.staff,
                allow: config.allow.clone(),
                lookups: checked.lookups,
                late: checked.late,
                must_exist: config.must_exist,
                reject: config.reject,
            },
            channels: checked.channels,
            covered: 1,
            item: None,
            functions,
            clock: clock.clone(),
            audience: Default::default(),
            encoded: Default::default(),
        })
    }
}

struct Checked {
    path: String,
    channels: Vec<Pattern>,
    lookups: Vec<(String, Call)>,
    late: Vec<(String, Call)>,
}

type Wrong = (String, String);

fn check(config: &Config) -> Result<Checked, Wrong> {
    let (path, params) = path(&config.path).map_err(|message| ("path".to_owned(), message))?;
    let known = |name: &str| name == "user" || params.contains(name);
    let own = config.own.iter().map(|name| ("own".to_owned(), name));
    let kinds = config.params.keys().map(|name| (format!("params.{name}"), name));
    for (key, name) in own.chain(kinds) {
        if !params.contains(name) {
            return Err((key, format!("the path has no {{{name}}}")));
        }
    }
    if config.channels.is_empty() {
        return Err(("channels".into(), "name at least one channel, such as [\"orders:{id}\"]".into()));
    }
    let parse =
        |text: &String| Pattern::parse(text).map_err(|e: PatternError| ("channels".into(), format!("'{text}': {e}")));
    let channels: Vec<Pattern> = config.channels.iter().map(parse).collect::<Result<_, Wrong>>()?;
    let in_channels: BTreeSet<&str> = channels.iter().flat_map(Pattern::params).collect();
    for name in &in_channels {
        if !known(name) && !config.lookup.contains_key(*name) {
            return Err(("channels".into(), unknown(name, "neither in the path nor `user` nor a lookup")));
        }
    }
    if config.auth == Auth::None && (in_channels.contains("user") || config.own.is_some()) {
        return Err(("auth".into(), "\"none\" knows no user: say \"required\" or \"optional\"".into()));
    }
    for (key, call) in calls(config) {
        let said = |name: &str| key.starts_with("commands.") && name.starts_with(MEMBER);
        if let Some(name) = call.arguments.iter().find(|name| !known(name) && !said(name)) {
            return Err((key, unknown(name, "neither in the path nor `user`")));
        }
    }
    if let Some(name) = config.lookup.keys().find(|name| known(name)) {
        return Err((format!("lookup.{name}"), "the path or the user has this name already".into()));
    }
    holes(config, &known)?;
    let all = config.lookup.iter().map(|(name, call)| (name.clone(), call.clone()));
    let (lookups, late) = all.partition(|(name, _)| in_channels.contains(name.as_str()));
    Ok(Checked { path, channels, lookups, late })
}

/// Does each template name what it can get?
fn holes(config: &Config, known: &dyn Fn(&str) -> bool) -> Result<(), Wrong> {
    let greeted = |name: &str| known(name) || ["name", "timestamp"].contains(&name) || config.lookup.contains_key(name);
    let answered =
        |name: &str| known(name) || ["name", "timestamp", "result"].contains(&name) || name.starts_with(MEMBER);
    let shared = |name: &str| SHARED_HOLES.contains(&name);
    let check = |key: String, template: Option<&Template>, fits: &dyn Fn(&str) -> bool, what: &str| match template
        .and_then(|t| t.holes().find(|name| !fits(name)))
    {
        Some(name) => Err((key, unknown(name, what))),
        None => Ok(()),
    };
    let everybody = "not one of {data}, {event}, {channel}, {timestamp}, which are the same for everybody";
    check("hello".into(), config.hello.as_ref(), &greeted, "not in the path, user, name, timestamp or a lookup")?;
    check("malformed".into(), config.malformed.as_ref(), &|_| false, "nothing: this frame has no holes")?;
    let snapshot = config.snapshot.as_ref().and_then(|envelope| envelope.frame("snapshot"));
    check("snapshot".into(), snapshot.as_ref(), &shared, everybody)?;
    for (event, envelope) in &config.frames {
        check(format!("frames.{event}"), envelope.frame(event).as_ref(), &shared, everybody)?;
    }
    for (name, deeds) in &config.commands {
        let key = |what: &str| format!("commands.{name}.{what}");
        check(key("show"), deeds.show.as_ref(), &shared, everybody)?;
        let what = "not in the path, user, name, timestamp, result or a member like frame.id";
        check(key("answer"), deeds.answer.as_ref(), &answered, what)?;
    }
    Ok(())
}

/// Every call with the key that it stands under.
fn calls(config: &Config) -> impl Iterator<Item = (String, &Call)> {
    let lookups = config.lookup.iter().map(|(name, call)| (format!("lookup.{name}"), call));
    let allow = config.allow.iter().map(|call| ("allow".to_owned(), call));
    let commands =
        config.commands.iter().filter_map(|(name, d)| Some((format!("commands.{name}.call"), d.call.as_ref()?)));
    lookups.chain(allow).chain(commands)
}

/// The path as poem writes it, and its parameters.
fn path(text: &str) -> Result<(String, BTreeSet<String>), String> {
    let bad = |why: &str| Err(format!("{why}: a path is like /ws/orders/{{id}}/"));
    let Some(inner) = text.strip_prefix('/').map(|rest| rest.trim_end_matches('/')).filter(|rest| !rest.is_empty())
    else {
        return bad(if text.is_empty() { "it is missing" } else { "it must begin with / and name something" });
    };
    let (mut path, mut params) = (String::new(), BTreeSet::new());
    for segment in inner.split('/') {
        let word =
            |w: &str, more: &str| !w.is_empty() && w.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
        match segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
            Some("user" | "name" | "timestamp" | "result" | "data") => return bad("a parameter has a name of ours"),
            Some(name) if !word(name, "_") => return bad("a parameter's name is letters and digits"),
            Some(name) if !params.insert(name.to_owned()) => return bad("a parameter stands there twice"),
            Some(name) => path.push_str(&format!("/:{name}")),
            None if word(segment, "-._~") => path.push_str(&format!("/{segment}")),
            None => return bad("a part of it is neither plain nor one {parameter}"),
        }
    }
    Ok((path, params))
}

fn unknown(name: &str, what: &str) -> String {
    format!("{{{name}}} is {what}")
}

fn missing(call: &Call) -> String {
    let Call { function, arguments } = call;
    let count = match arguments.len() {
        1 => "1 argument".to_owned(),
        n => format!("{n} arguments"),
    };
    let reference = function.starts_with("rowcast_reference.");
    let advice = if reference { "; `rowcast migrate --with reference` makes it" } else { "" };
    format!("this database has no function {function} of {count} that may be called{advice}")
}

fn told(error: &StoreError, call: &Call) -> String {
    format!("cannot look for {}: {error}", call.function)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_checked() {
        let base = "path = \"/ws/orders/{id}/\"\nchannels = [\"order:{id}\"]\n";
        let cases = [
            ("", "", "path: it is missing: a path is like /ws/orders/{id}/"),
            ("path = \"ws\"", "", "path: it must begin with /"),
            ("path = \"/ws/a b\"", "", "path: a part of it"),
            ("path = \"/ws/x{id}\"", "", "path: a part of it"),
            ("path = \"/{a}/{a}\"", "", "path: a parameter stands there twice"),
            ("path = \"/{user}\"", "", "path: a parameter has a name of ours"),
            ("path = \"/x\"", "", "channels: name at least one channel"),
            ("path = \"/x\"\nchannels = [\"a{\"]", "", "channels: 'a{': '{' and '}' must come in pairs"),
            ("path = \"/x\"\nchannels = [\"a:{id}\"]", "", "channels: {id} is neither in the path"),
            (base, "own = \"uid\"", "own: the path has no {uid}"),
            (base, "params = { uid = \"number\" }", "params.uid: the path has no {uid}"),
            (base, "auth = \"none\"\nown = \"id\"", "auth: \"none\" knows no user"),
            (base, "allow = \"f(id, uid)\"", "allow: {uid} is neither in the path nor `user`"),
            (base, "allow = \"f(frame.id)\"", "allow: {frame.id} is neither"),
            (base, "lookup = { id = \"f(user)\" }", "lookup.id: the path or the user has this name"),
            (base, "hello = '{\"a\":{b}}'", "hello: {b} is not in the path"),
            (base, "malformed = '{\"a\":{b}}'", "malformed: {b} is nothing"),
            (base, "frames = { made = '{\"a\":{user}}' }", "frames.made: {user} is not one of {data}"),
            (base, "snapshot = '{\"a\":{user}}'", "snapshot: {user} is not one of {data}"),
            (base, "commands = { a = { show = '[{id}]' } }", "commands.a.show: {id} is not one of {data}"),
            (base, "commands = { a = { answer = '[{data}]' } }", "commands.a.answer: {data} is not in the path"),
        ];
        for (text, more, want) in cases {
            let config: Config = toml::from_str(&format!("{text}\n{more}")).expect("valid TOML");
            let Err((key, message)) = check(&config) else { panic!("{text} {more} is taken") };
            assert!(format!("{key}: {message}").starts_with(want), "{key}: {message}\ninstead of\n{want}");
        }
        let config: Config =
            toml::from_str(&format!("{base}lookup = {{ n = \"f(user)\" }}\nhello = '{{\"n\":{{n}}}}'")).expect("valid");
        let checked = check(&config).unwrap_or_else(|e| panic!("{e:?}"));
        assert_eq!((checked.path.as_str(), checked.lookups.len(), checked.late.len()), ("/ws/orders/:id", 0, 1));
    }
}
