//! The router's configuration as it stands in `rowcast.route` and `rowcast.channel`, ready for look-ups.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::domain::{ChannelName, FamilyInfo, Op, Pattern, PatternError};
use crate::store::{FamilyRow, RouteRow};

/// Index of a family in `Routing`.
pub type FamilyId = usize;

/// One immutable version of the configuration; a reload makes a new one.
#[derive(Debug, Default)]
pub struct Routing {
    by_source: HashMap<i32, Vec<Route>>,
    families: Vec<Family>,
    /// Families without parameters, by name.
    fixed: HashMap<Box<str>, FamilyId>,
    /// Families with parameters, by the literal that they begin with; the most specific first in each.
    open: HashMap<Box<str>, Vec<FamilyId>>,
    /// Lengths of those literals, longest first.
    prefix_bytes: Vec<usize>,
}

/// A version of a route: what one `watch` said.
#[derive(Debug)]
pub struct Route {
    pub id: i32,
    pub template: Arc<Pattern>,
    pub event: Option<Arc<str>>,
    pub columns: Option<Box<[Box<str>]>>,
    pub has_when: bool,
    pub keys_sql: Option<Arc<str>>,
    pub family: FamilyId,
    operations: u8,
    since: i64,
    until: Option<i64>,
}

#[derive(Debug)]
pub struct Family {
    pub pattern: Arc<Pattern>,
    pub state: bool,
    /// The query that gives the message of a key: of its view or, for a state family without one, of its table.
    pub read_sql: Option<Arc<str>>,
    /// Of the parameters that `read_sql` takes.
    pub key_types: Option<Arc<[String]>>,
    /// A state family without a view: the row itself is the message.
    pub row_is_message: bool,
    pub conflate: Option<Pattern>,
    pub throttle_ms: u64,
    pub event: Arc<str>,
}

impl Routing {
    /// Errors name the row: it can only be one that was written around `watch` and `define_channel`.
    pub fn new(routes: Vec<RouteRow>, families: Vec<FamilyRow>) -> Result<Self, (String, PatternError)> {
        let mut routing = Self::default();
        let mut by_shape = HashMap::new();
        for row in families {
            let family = Family::defined(row)?;
            by_shape.insert(family.pattern.shape(), routing.families.len());
            routing.families.push(family);
        }
        for row in routes {
            let template = parse(&row.template)?;
            // The family of the template's shape, made now if nobody defined it.
            let family = *by_shape.entry(template.shape()).or_insert_with(|| {
                routing.families.push(Family::undefined(&template));
                routing.families.len() - 1
            });
            let place = &mut routing.families[family];
            if place.state && place.row_is_message && place.read_sql.is_none() && row.until.is_none() {
                place.read_sql = row.read_sql.as_deref().map(Into::into);
                place.key_types = row.key_types.map(Into::into);
            }
            let route = Route {
                id: row.id,
                template: Arc::new(template),
                event: row.event.map(Into::into),
                columns: row.columns.map(|c| c.into_iter().map(Into::into).collect()),
                has_when: row.has_when,
                keys_sql: row.keys_sql.map(Into::into),
                family,
                operations: row.operations.iter().fold(0, |bits, name| bits | operation_bit(name)),
                since: row.since,
                until: row.until,
            };
            routing.by_source.entry(row.source).or_default().push(route);
        }
        routing.separate();
        routing.index();
        Ok(routing)
    }

    /// The routes under which the row `id` of `source` was captured.
    pub fn routes_at(&self, source: i32, id: i64) -> impl Iterator<Item = &Route> {
        let routes = self.by_source.get(&source).map_or(&[][..], Vec::as_slice);
        routes.iter().filter(move |r| r.since <= id && r.until.is_none_or(|until| id < until))
    }

    pub fn family(&self, id: FamilyId) -> &Family {
        &self.families[id]
    }

    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// The most specific family that `name` belongs to, and its parameters' values there.
    pub fn family_of<'n>(&self, name: &'n str) -> Option<(FamilyId, Vec<&'n str>)> {
        if let Some(&id) = self.fixed.get(name) {
            return Some((id, Vec::new()));
        }
        let open = self.prefix_bytes.iter().filter_map(|&n| self.open.get(name.get(..n)?)).flatten();
        let mut best: Option<(FamilyId, Vec<&str>)> = None;
        for &id in open {
            let more =
                |b: FamilyId| self.families[id].pattern.literal_bytes() > self.families[b].pattern.literal_bytes();
            if best.as_ref().is_none_or(|(b, _)| more(*b))
                && let Some(values) = self.families[id].pattern.matches(name)
            {
                best = Some((id, values));
            }
        }
        best
    }

    /// What a channel is; one that belongs to no family is an event channel of its own.
    pub fn info(&self, channel: &ChannelName) -> FamilyInfo {
        match self.family_of(channel.as_str()) {
            Some((id, _)) => self.families[id].info(),
            None => FamilyInfo { pattern: channel.as_str().into(), state: false, has_view: false, from_log: true },
        }
    }

    /// The families whose channels are of another kind than `before`. Without a definition they are event channels.
    pub fn turned<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a Pattern> {
        let states = |routing: &'a Self| routing.families.iter().filter(|f| f.state).map(|f| f.pattern.as_ref());
        let others = |routing: &'a Self| states(routing).map(Pattern::as_str).collect::<HashSet<_>>();
        let (are, were) = (others(self), others(before));
        let begun = states(self).filter(move |p| !were.contains(p.as_str()));
        begun.chain(states(before).filter(move |p| !are.contains(p.as_str())))
    }

    /// Makes each family leave out what a more specific one matches, so that a name has one family wherever it is asked.
    fn separate(&mut self) {
        let mut by_prefix: BTreeMap<&str, Vec<FamilyId>> = BTreeMap::new();
        for (id, family) in self.families.iter().enumerate() {
            by_prefix.entry(family.pattern.prefix()).or_default().push(id);
        }
        let exceptions: Vec<Vec<Pattern>> = (0..self.families.len())
            .map(|id| {
                let pattern = &self.families[id].pattern;
                if pattern.params().next().is_none() {
                    return Vec::new();
                }
                // Two families can share a name only if one's prefix begins the other's.
                let prefix = pattern.prefix();
                let within = by_prefix.range(prefix..).take_while(|(p, _)| p.starts_with(prefix)).map(|(_, ids)| ids);
                let around = (0..prefix.len()).filter_map(|n| by_prefix.get(prefix.get(..n)?));
                let others = within.chain(around).flatten().filter(|&&other| self.rank(other) > self.rank(id));
                others.map(|&other| self.families[other].pattern.as_ref().clone()).collect()
            })
            .collect();
        let except = |pattern: &mut Arc<Pattern>, others: &[Pattern]| {
            if !others.is_empty() {
                *pattern = Arc::new(pattern.as_ref().clone().except(others.to_vec()));
            }
        };
        for (family, others) in self.families.iter_mut().zip(&exceptions) {
            except(&mut family.pattern, others);
        }
        // A row whose key has a separator in it speaks on no channel of another family.
        for route in self.by_source.values_mut().flatten() {
            except(&mut route.template, &exceptions[route.family]);
        }
    }

    /// Of two families that match a name, it belongs to the one with the higher rank.
    fn rank(&self, id: FamilyId) -> (usize, usize, Reverse<FamilyId>) {
        let pattern = &self.families[id].pattern;
        (pattern.literal_bytes(), pattern.prefix().len(), Reverse(id))
    }

    fn index(&mut self) {
        for (id, family) in self.families.iter().enumerate() {
            let text = family.pattern.as_str();
            match text.find('{') {
                None => {
                    self.fixed.insert(text.into(), id);
                }
                Some(n) => self.open.entry(text[..n].into()).or_default().push(id),
            }
        }
        self.prefix_bytes = self.open.keys().map(|k| k.len()).collect();
        self.prefix_bytes.sort_unstable_by(|a, b| b.cmp(a));
        self.prefix_bytes.dedup();
    }
}

impl Route {
    pub fn takes(&self, op: Op) -> bool {
        self.operations & operation_bit(op.name()) != 0
    }

    /// Does it take every change of a row?
    pub fn takes_all(&self) -> bool {
        !self.has_when && [Op::Insert, Op::Update, Op::Delete].into_iter().all(|op| self.takes(op))
    }
}

impl Family {
    fn defined(row: FamilyRow) -> Result<Self, (String, PatternError)> {
        let state = row.kind == "state";
        Ok(Self {
            pattern: Arc::new(parse(&row.pattern)?),
            state,
            row_is_message: state && row.read_sql.is_none(),
            read_sql: row.read_sql.map(Into::into),
            key_types: row.key_types.map(Into::into),
            conflate: row.conflate.as_deref().map(parse).transpose()?,
            throttle_ms: row.throttle_ms.max(0) as u64,
            event: row.event.as_deref().unwrap_or("state").into(),
        })
    }

    fn undefined(template: &Pattern) -> Self {
        Self {
            pattern: Arc::new(template.clone()),
            state: false,
            read_sql: None,
            key_types: None,
            row_is_message: false,
            conflate: None,
            throttle_ms: 0,
            event: "state".into(),
        }
    }

    /// A channel of it is one row of its table: the newest message is all there is to know.
    pub fn is_one_row(&self) -> bool {
        self.row_is_message && self.pattern.params().next().is_some()
    }

    pub fn info(&self) -> FamilyInfo {
        FamilyInfo {
            pattern: self.pattern.as_str().into(),
            state: self.state,
            has_view: self.read_sql.is_some(),
            from_log: !self.state || self.row_is_message,
        }
    }
}

fn parse(text: &str) -> Result<Pattern, (String, PatternError)> {
    Pattern::parse(text).map_err(|e| (text.to_owned(), e))
}

fn operation_bit(name: &str) -> u8 {
    match name {
        "insert" => 1,
        "update" => 2,
        "delete" => 4,
        "truncate" => 8,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(pattern: &str) -> FamilyRow {
        FamilyRow {
            pattern: pattern.into(),
            kind: "event".into(),
            read_sql: None,
            conflate: None,
            throttle_ms: 0,
            event: None,
            key_types: None,
        }
    }

    #[test]
    fn the_most_specific_family_wins() {
        let patterns = ["{any}", "orders:{id}", "orders:eu-{id}", "orders:all", "{a}/{b}"];
        let routing = Routing::new(vec![], patterns.map(family).into()).expect("valid templates");
        for (name, pattern) in [
            ("orders:all", "orders:all"),
            ("orders:12", "orders:{id}"),
            ("orders:eu-1", "orders:eu-{id}"),
            ("x/y", "{a}/{b}"),
            ("x", "{any}"),
            ("orders:", "{any}"),
        ] {
            let found = routing.family_of(name).map(|(id, _)| routing.family(id).pattern.as_str());
            assert_eq!(found, Some(pattern), "{name}");
        }
    }

    #[test]
    fn a_bad_template_is_named() {
        let error = Routing::new(vec![], vec![family("a{b")]).expect_err("unbalanced");
        assert_eq!(error, ("a{b".into(), PatternError::Braces));
    }
}
