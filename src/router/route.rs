//! One log row -> what it means for channels. Pure: live and replay use the same.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use serde_json::value::RawValue;

use super::fields::Fields;
use super::routing::{Family, FamilyId, Route, Routing};
use crate::domain::{ChannelName, LogRow, Message, Op, Pattern, Stamp, Target};

/// What one row leads to, in order.
#[derive(Debug)]
pub enum Routed<'r> {
    Message(Message),
    /// A message of a channel that is one row, which hears of all its changes. `image`: the row as it is now or, if it leaves, was.
    Row {
        message: Message,
        image: Bytes,
        leaves: bool,
    },
    /// A state channel's view must be read again.
    Dirty(FamilyId, ChannelName),
    /// All subscribed channels of the family must be read again (TRUNCATE).
    DirtyFamily(FamilyId),
    /// A query must find the keys that this row image makes dirty.
    Keys(&'r Route, Bytes),
    /// A key is null, or gives no valid channel name.
    NoChannel,
}

/// Calls `out` for everything that `row` leads to under the routes it was captured with.
pub fn route<'r>(routing: &'r Routing, row: &LogRow, mut out: impl FnMut(Routed<'r>)) {
    let mut part = 0;
    // The routes come in the order of their ids, live and when replayed: so do the numbers.
    let mut out = |mut routed| {
        if let Routed::Message(message) | Routed::Row { message, .. } = &mut routed {
            message.stamp = Stamp::Log { xid: row.xid, id: row.message_number(part) };
            part = part.saturating_add(1);
        }
        out(routed);
    };
    match row.op {
        Op::Config => {}
        Op::Send => {
            if let Some(message) = sent(routing, row) {
                out(Routed::Message(message));
            }
        }
        _ => {
            let images = Images { new: Image::of(&row.new), old: Image::of(&row.old) };
            for r in routing.routes_at(row.source, row.id) {
                // A negative id: its condition could not be evaluated, and counts as held.
                let held = !r.has_when || row.matched.iter().any(|m| m.abs() == r.id);
                if held && r.takes(row.op) {
                    Case { routing, row, route: r, images: &images }.run(&mut out);
                }
            }
        }
    }
}

/// A message of `rowcast.send()`.
fn sent(routing: &Routing, row: &LogRow) -> Option<Message> {
    // `send` validates the name; a row written around it is skipped.
    let channel = ChannelName::new(row.channel.as_deref()?).ok()?;
    let state = routing.info(&channel).state;
    Some(Message {
        target: Target::One(channel),
        event: row.event.as_deref().map_or_else(|| name(row.op), Into::into),
        data: row.new.clone().unwrap_or_else(null),
        at_us: row.at_us,
        conflate: None,
        stamp: Stamp::Log { xid: row.xid, id: row.message_number(0) },
        replay: !state,
        failure: None,
    })
}

/// The images of a row, each read once and only as far as a route needs it.
struct Images<'a> {
    new: Option<Image<'a>>,
    old: Option<Image<'a>>,
}

struct Image<'a> {
    json: &'a Bytes,
    fields: Fields<'a>,
}

impl<'a> Image<'a> {
    fn of(json: &'a Option<Bytes>) -> Option<Self> {
        json.as_ref().map(|json| Self { json, fields: Fields::of(json) })
    }

    fn text(&self, column: &str) -> Option<Cow<'a, str>> {
        self.fields.text(column)
    }

    fn fill(&self, template: &Pattern) -> Option<ChannelName> {
        template.fill(|_, column| self.text(column))
    }

    /// Do both have the same text in every column that the template names?
    fn fills_as(&self, other: &Self, template: &Pattern) -> bool {
        template.params().all(|column| self.fields.raw(column) == other.fields.raw(column))
    }

    fn data(&self, columns: Option<&[Box<str>]>) -> Bytes {
        match columns {
            Some(columns) if !self.fields.are(columns) => self.fields.project(columns),
            _ => self.json.clone(),
        }
    }
}

/// One row under one route.
struct Case<'a, 'r> {
    routing: &'r Routing,
    row: &'a LogRow,
    route: &'r Route,
    images: &'a Images<'a>,
}

impl<'r> Case<'_, 'r> {
    fn run(&self, out: &mut impl FnMut(Routed<'r>)) {
        if self.row.op == Op::Truncate {
            return out(self.truncated());
        }
        if self.route.keys_sql.is_some() {
            for image in [&self.images.old, &self.images.new].into_iter().flatten() {
                out(Routed::Keys(self.route, image.json.clone()));
            }
            return;
        }
        let template = &self.route.template;
        let new = self.images.new.as_ref().and_then(|i| i.fill(template));
        let old = match (&self.images.old, &self.images.new) {
            // Recorded only where it may have belonged to other channels.
            (None, _) if self.row.op == Op::Update => new.clone(),
            (Some(old), Some(now)) if old.fills_as(now, template) => new.clone(),
            (old, _) => old.as_ref().and_then(|i| i.fill(template)),
        };
        if old.is_none() && new.is_none() {
            return out(Routed::NoChannel);
        }
        // Seen from one channel, a row that moves there is an insert, one that moves away a delete: the
        // old channel must not learn the new content.
        let stays = old == new;
        if let Some(channel) = old.filter(|_| !stays) {
            out(self.one(channel, Op::Delete, self.images.old.as_ref()));
        }
        if let Some(channel) = new {
            let op = if stays { self.row.op } else { Op::Insert };
            out(self.one(channel, op, self.images.new.as_ref()));
        }
    }

    /// What a change means for one channel.
    fn one(&self, channel: ChannelName, op: Op, image: Option<&Image>) -> Routed<'r> {
        let id = self.family_of(&channel);
        let family = self.routing.family(id);
        if family.state && !family.row_is_message {
            return Routed::Dirty(id, channel);
        }
        let message = self.message(family, channel, op, image);
        match image {
            Some(image) if family.is_one_row() && self.route.takes_all() => {
                Routed::Row { message, image: image.json.clone(), leaves: op == Op::Delete }
            }
            _ => Routed::Message(message),
        }
    }

    /// The channel's family: the route's, unless the name is that of a more specific one.
    fn family_of(&self, channel: &ChannelName) -> FamilyId {
        if self.routing.family(self.route.family).pattern.is_alone() {
            return self.route.family;
        }
        self.routing.family_of(channel.as_str()).map_or(self.route.family, |(id, _)| id)
    }

    fn truncated(&self) -> Routed<'r> {
        let family = self.routing.family(self.route.family);
        if family.state && !family.row_is_message {
            return Routed::DirtyFamily(self.route.family);
        }
        Routed::Message(Message {
            target: Target::Family(family.pattern.clone()),
            event: self.route.event.clone().unwrap_or_else(|| name(Op::Truncate)),
            data: null(),
            at_us: self.row.at_us,
            conflate: None,
            stamp: self.stamp(),
            replay: !family.state,
            failure: None,
        })
    }

    fn message(&self, family: &Family, channel: ChannelName, op: Op, image: Option<&Image>) -> Message {
        let columns = self.route.columns.as_deref();
        // Of a channel that is one row, a vanished row's state is null; one that holds many must say which row.
        let gone = op == Op::Delete && family.is_one_row();
        let data = image.filter(|_| !gone).map_or_else(null, |i| i.data(columns));
        let conflate = family.conflate.as_ref().and_then(|key| {
            let key = key.fill(|_, column| image?.text(column))?;
            Some(Arc::from(key.as_str()))
        });
        Message {
            target: Target::One(channel),
            event: self.route.event.clone().unwrap_or_else(|| name(op)),
            data,
            at_us: self.row.at_us,
            // Every newer message replaces the older.
            conflate: conflate.or_else(|| family.is_one_row().then(|| Arc::from(""))),
            stamp: self.stamp(),
            replay: !family.state,
            failure: None,
        }
    }

    fn stamp(&self) -> Stamp {
        Stamp::Log { xid: self.row.xid, id: self.row.message_number(0) }
    }
}

/// The name of an event that has none of its own, made once.
fn name(op: Op) -> Arc<str> {
    static NAMES: LazyLock<[Arc<str>; 5]> =
        LazyLock::new(|| [Op::Insert, Op::Update, Op::Delete, Op::Truncate, Op::Send].map(|op| op.name().into()));
    match NAMES.iter().find(|name| ***name == *op.name()) {
        Some(name) => name.clone(),
        None => op.name().into(),
    }
}

fn null() -> Bytes {
    Bytes::from_static(b"null")
}

/// The raw image for a `keys` query.
pub fn image(json: &Bytes) -> Option<&RawValue> {
    serde_json::from_slice(json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{FamilyRow, RouteRow};

    fn watch(id: i32, template: &str) -> RouteRow {
        RouteRow {
            id,
            source: 7,
            template: template.into(),
            event: None,
            operations: ["insert", "update", "delete", "truncate"].map(String::from).into(),
            columns: None,
            has_when: false,
            keys_sql: None,
            read_sql: Some("table".into()),
            key_types: None,
            since: 10,
            until: None,
        }
    }

    fn family(pattern: &str, kind: &str, read_sql: Option<&str>, conflate: Option<&str>) -> FamilyRow {
        FamilyRow {
            pattern: pattern.into(),
            kind: kind.into(),
            read_sql: read_sql.map(Into::into),
            conflate: conflate.map(Into::into),
            throttle_ms: 0,
            event: None,
            key_types: None,
        }
    }

    fn row(op: char, new: &str, old: &str) -> LogRow {
        let image = |text: &str| (!text.is_empty()).then(|| Bytes::from(text.to_owned()));
        LogRow {
            id: 20,
            xid: 5,
            at_us: 0,
            source: 7,
            op: Op::from_letter(op as u8).expect("a known letter"),
            new: image(new),
            old: image(old),
            matched: Box::default(),
            channel: None,
            event: None,
            share: crate::domain::Share::WHOLE,
        }
    }

    fn routing(routes: Vec<RouteRow>, families: Vec<FamilyRow>) -> Routing {
        Routing::new(routes, families).expect("valid templates")
    }

    /// Each outcome as a short text, so that a case is a line.
    fn outcomes(routing: &Routing, row: &LogRow) -> Vec<String> {
        let mut out = Vec::new();
        route(routing, row, |routed| {
            out.push(match routed {
                Routed::Message(m) | Routed::Row { message: m, .. } => {
                    let data = String::from_utf8_lossy(&m.data).into_owned();
                    let target = match &m.target {
                        Target::One(channel) => channel.to_string(),
                        Target::Family(pattern) => format!("all {pattern}"),
                    };
                    let key = m.conflate.map(|k| format!(" key={k:?}")).unwrap_or_default();
                    format!("{target} {} {data}{key}{}", m.event, if m.replay { "" } else { " no-replay" })
                }
                Routed::Dirty(family, channel) => format!("dirty {channel} of {}", routing.family(family).pattern),
                Routed::DirtyFamily(family) => format!("dirty all {}", routing.family(family).pattern),
                Routed::Keys(route, image) => format!("keys {} {}", route.id, String::from_utf8_lossy(&image)),
                Routed::NoChannel => "no channel".into(),
            });
        });
        out
    }

    #[test]
    fn event_channels_get_each_change() {
        let r = routing(vec![watch(1, "o:{id}")], vec![]);
        let cases: [(LogRow, &[&str]); 7] = [
            (row('i', r#"{"id":1,"p":1.50}"#, ""), &[r#"o:1 insert {"id":1,"p":1.50}"#]),
            (row('u', r#"{"id":1,"p":2}"#, r#"{"id":1,"p":1}"#), &[r#"o:1 update {"id":1,"p":2}"#]),
            (row('d', "", r#"{"id":1}"#), &[r#"o:1 delete {"id":1}"#]),
            (row('u', r#"{"id":2}"#, r#"{"id":1}"#), &[r#"o:1 delete {"id":1}"#, r#"o:2 insert {"id":2}"#]),
            (row('u', r#"{"id":null}"#, r#"{"id":1}"#), &[r#"o:1 delete {"id":1}"#]),
            (row('i', r#"{"id":null}"#, ""), &["no channel"]),
            (row('t', "", ""), &["all o:{id} truncate null"]),
        ];
        for (row, expected) in cases {
            assert_eq!(outcomes(&r, &row), expected, "{row:?}");
        }
    }

    #[test]
    fn state_channels_get_dirty_keys_or_the_row() {
        let with_view = routing(vec![watch(1, "o:{id}")], vec![family("o:{order}", "state", Some("view"), None)]);
        let moved = row('u', r#"{"id":2}"#, r#"{"id":1}"#);
        assert_eq!(outcomes(&with_view, &moved), ["dirty o:1 of o:{order}", "dirty o:2 of o:{order}"]);
        assert_eq!(outcomes(&with_view, &row('u', r#"{"id":1}"#, r#"{"id":1}"#)), ["dirty o:1 of o:{order}"]);
        assert_eq!(outcomes(&with_view, &row('t', "", "")), ["dirty all o:{order}"]);

        let row_itself = routing(vec![watch(1, "o:{id}")], vec![family("o:{id}", "state", None, None)]);
        assert_eq!(
            outcomes(&row_itself, &moved),
            [r#"o:1 delete null key="" no-replay"#, r#"o:2 insert {"id":2} key="" no-replay"#]
        );

        let many = routing(vec![watch(1, "rates")], vec![family("rates", "state", None, Some("{a}_{b}"))]);
        let rate = r#"{"a":"USD","b":"NGN","r":1.10}"#;
        assert_eq!(outcomes(&many, &row('u', rate, rate)), [format!(r#"rates update {rate} key="USD_NGN" no-replay"#)]);
        assert_eq!(outcomes(&many, &row('d', "", rate)), [format!(r#"rates delete {rate} key="USD_NGN" no-replay"#)]);
    }

    #[test]
    fn options_of_a_route_hold() {
        let with = |change: fn(&mut RouteRow)| {
            let mut r = watch(1, "o");
            change(&mut r);
            routing(vec![r], vec![])
        };
        let insert = row('i', r#"{"id":1,"secret":"x","p":1.0}"#, "");
        let named = with(|r| r.event = Some("created".into()));
        assert_eq!(outcomes(&named, &row('i', "{}", "")), ["o created {}"]);
        let projected = with(|r| r.columns = Some(vec!["p".into(), "id".into()]));
        assert_eq!(outcomes(&projected, &insert), [r#"o insert {"p":1.0,"id":1}"#]);
        let updates = with(|r| r.operations = vec!["update".into()]);
        assert_eq!(outcomes(&updates, &insert), [""; 0]);
        let when = with(|r| r.has_when = true);
        for (matched, count) in [(vec![], 0), (vec![2], 0), (vec![2, 1], 1), (vec![-1], 1)] {
            let row = LogRow { matched: matched.into(), ..insert.clone() };
            assert_eq!(outcomes(&when, &row).len(), count, "{:?}", row.matched);
        }
        let keys = with(|r| r.keys_sql = Some("select".into()));
        assert_eq!(outcomes(&keys, &row('u', "{\"a\":2}", "{\"a\":1}")), ["keys 1 {\"a\":1}", "keys 1 {\"a\":2}"]);
    }

    #[test]
    fn a_row_is_routed_by_the_versions_that_held_when_it_was_captured() {
        let ended = RouteRow { until: Some(20), ..watch(1, "before") };
        let begun = RouteRow { since: 20, ..watch(2, "after") };
        let r = routing(vec![ended, begun], vec![]);
        let at = |id| LogRow { id, ..row('i', "{}", "") };
        for (id, expected) in [(9, vec![]), (19, vec!["before insert {}"]), (20, vec!["after insert {}"])] {
            assert_eq!(outcomes(&r, &at(id)), expected, "id {id}");
        }
    }

    #[test]
    fn sent_messages_pass_through() {
        let r = routing(vec![], vec![family("s", "state", None, None)]);
        let sent = |channel: &str| LogRow {
            channel: Some(channel.into()),
            event: Some("hi".into()),
            source: crate::domain::SOURCE_SEND,
            ..row('s', "[1.0]", "")
        };
        assert_eq!(outcomes(&r, &sent("x")), ["x hi [1.0]"]);
        assert_eq!(outcomes(&r, &sent("s")), ["s hi [1.0] no-replay"]);
        assert_eq!(outcomes(&r, &sent("")), [""; 0]);
    }
}
