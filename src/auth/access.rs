//! Who may listen to which channel, and who may publish on it: the rules of `rowcast.access`.
//!
//! Roles and claims are looked at here, conditions in SQL are asked of the database, many at once (`asking`). A channel that several
//! patterns match is open to whom one of them lets in; one that none matches is open to nobody, or, where the configuration
//! says so, to all. A rule with the pattern of a family speaks of that family and of no more specific one: who opens
//! `student:{id}` has not opened `student:{id}:grades`. What begins with `rowcast.` is our own.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream::{self, FuturesUnordered, select_all};
use serde_json::Value;

use super::Stats;
use super::asking::{Asking, not_asked};
use crate::domain::{ChannelName, Identity, Pattern};
use crate::store::{AccessAnswer, AccessRequest, AccessRow, Store, StoreError};

/// Conditions that one query asks where many are asked at once: the first, and at most.
const SIZE_MIN: usize = 64;
const SIZE_MAX: usize = 1000;
/// After which it begins no other.
const QUERY_MS: i32 = 250;
const OWN: &str = "rowcast.";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Listen,
    Publish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    Denied,
    /// No rule speaks of this channel.
    Unopened,
    /// The database did not answer.
    Unknown,
}

pub struct Access {
    store: Store,
    asking: Arc<Asking>,
    stats: Arc<Stats>,
    /// What holds where no rule does.
    open: bool,
    rules: RwLock<Arc<Rules>>,
}

#[derive(Default)]
struct Rules {
    rows: Vec<AccessRow>,
    templates: Vec<String>,
    /// The same, read.
    families: Vec<Pattern>,
    rules: Vec<Rule>,
    reads: HashSet<i32>,
}

struct Rule {
    id: i32,
    pattern: Pattern,
    /// The same without regard to families, where that is more.
    beyond: Option<Pattern>,
    action: Action,
    everyone: bool,
    roles: Option<Vec<String>>,
    claims: Option<Value>,
    asks: bool,
    reads: Vec<i32>,
}

/// What the rules say without the database.
enum Opinion {
    Said(Verdict),
    /// Allowed if one of these conditions holds.
    Ask(Vec<AccessRequest>),
}

/// Requests of one rule, each with the number of its question.
type Waiting = Vec<(usize, AccessRequest)>;
/// Answers by the number of the question (None: not known), and what is to be asked next, in what size.
type Answered = (Vec<(usize, Option<bool>)>, (Waiting, usize));

impl Access {
    pub fn new(store: Store, stats: Arc<Stats>, open: bool) -> Self {
        let asking = Asking::new(store.clone(), stats.clone());
        Self { store, asking, stats, open, rules: RwLock::default() }
    }

    /// Reads the rules anew; false: they are as they were.
    pub async fn load(&self) -> Result<bool, StoreError> {
        let (rows, templates) = (self.store.access_rules().await?, self.store.channel_templates().await?);
        let before = self.rules();
        if before.rows == rows && before.templates == templates {
            return Ok(false);
        }
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Rules::new(rows, templates));
        Ok(true)
    }

    /// Together with what others ask at the same time.
    pub async fn ask(&self, action: Action, who: &Identity, channel: &ChannelName) -> Verdict {
        let requests = match self.rules().opinion(action, who, channel, self.open) {
            Opinion::Said(verdict) => return verdict,
            Opinion::Ask(requests) => requests,
        };
        let mut answers: FuturesUnordered<_> = requests.into_iter().map(|request| self.asking.ask(request)).collect();
        let mut known = true;
        while let Some(answer) = answers.next().await {
            match answer {
                Some(true) => return Verdict::Allowed,
                Some(false) => {}
                None => known = false,
            }
        }
        if known { Verdict::Denied } else { Verdict::Unknown }
    }

    /// In the order of the questions.
    pub async fn ask_all(&self, action: Action, questions: &[(&Identity, &ChannelName)]) -> Vec<Verdict> {
        let mut verdicts = vec![Verdict::Unknown; questions.len()];
        self.ask_each(action, questions, None, |n, verdict| verdicts[n] = verdict).await;
        verdicts
    }

    /// At once; tells the verdict of each question, by its number, as soon as it is known. Rules side by side, each by one query after
    /// another, whose size follows what they cost: no answer waits for all the others. `until`: who has none by then is `Unknown`.
    pub async fn ask_each(
        &self,
        action: Action,
        questions: &[(&Identity, &ChannelName)],
        until: Option<Instant>,
        mut tell: impl FnMut(usize, Verdict),
    ) {
        let rules = self.rules();
        let mut asked: HashMap<i32, Vec<(usize, AccessRequest)>> = HashMap::new();
        // Of each question: answers that it still waits for, and what it is if none of them lets it in. Told: none.
        let mut open = vec![(0, Verdict::Denied); questions.len()];
        for (n, (who, channel)) in questions.iter().enumerate() {
            match rules.opinion(action, who, channel, self.open) {
                Opinion::Said(verdict) => tell(n, verdict),
                Opinion::Ask(requests) => {
                    open[n].0 = requests.len();
                    for request in requests {
                        asked.entry(request.rule).or_default().push((n, request));
                    }
                }
            }
        }
        let mut answers = select_all(asked.into_iter().map(|(rule, waiting)| {
            let some = move |(waiting, size)| self.ask_some(rule, waiting, size, until);
            Box::pin(stream::unfold((waiting, SIZE_MIN), some))
        }));
        while let Some(some) = answers.next().await {
            for (n, allowed) in some {
                let (waits, otherwise) = &mut open[n];
                if *waits == 0 {
                    continue;
                }
                *waits -= 1;
                match allowed {
                    Some(true) => {
                        *waits = 0;
                        tell(n, Verdict::Allowed);
                        continue;
                    }
                    Some(false) => {}
                    None => *otherwise = Verdict::Unknown,
                }
                if *waits == 0 {
                    tell(n, *otherwise);
                }
            }
        }
    }

    /// One query for `size` of those who wait; what it says, and what is left to ask. None: nobody waits.
    async fn ask_some(&self, rule: i32, mut waiting: Waiting, size: usize, until: Option<Instant>) -> Option<Answered> {
        if waiting.is_empty() {
            return None;
        }
        let unknown = |waiting: Waiting| waiting.into_iter().map(|(n, _)| (n, None)).collect();
        if until.is_some_and(|until| Instant::now() >= until) {
            return Some((unknown(waiting), (Vec::new(), size)));
        }
        let requests: Vec<AccessRequest> = waiting.iter().take(size).map(|(_, request)| request.clone()).collect();
        let answers = match self.store.check_access(rule, &requests, QUERY_MS).await {
            Ok(answers) => answers,
            Err(error) => {
                not_asked(&self.stats, rule, &error);
                return Some((unknown(waiting), (Vec::new(), size)));
            }
        };
        let (mut said, mut left) = (Vec::with_capacity(size), Vec::new());
        let rest = waiting.split_off(requests.len());
        for ((n, request), answer) in waiting.into_iter().zip(answers) {
            match answer {
                AccessAnswer::Allowed => said.push((n, Some(true))),
                AccessAnswer::Denied => said.push((n, Some(false))),
                AccessAnswer::Failed => {
                    not_asked(&self.stats, rule, &StoreError::Timeout);
                    said.push((n, None));
                }
                AccessAnswer::Unasked => left.push((n, request)),
            }
        }
        let size = (2 * said.len()).clamp(SIZE_MIN, SIZE_MAX);
        left.extend(rest);
        Some((said, (left, size)))
    }

    /// Is this one of the channels that are meant by the pattern, as a rule with it would mean them?
    pub fn is_meant(&self, pattern: &Pattern, channel: &ChannelName) -> bool {
        self.rules().means(pattern, channel)
    }

    /// Can a change of data take this channel from somebody who listens to it?
    pub fn is_guarded(&self, channel: &ChannelName) -> bool {
        self.rules().about(Action::Listen, channel).any(|rule| !rule.reads.is_empty())
    }

    /// Does a rule read one of these?
    pub fn reads(&self, source: i32) -> bool {
        self.rules().reads.contains(&source)
    }

    /// Does a rule of this channel read one of these?
    pub fn concerns(&self, sources: &[i32], channel: &ChannelName) -> bool {
        self.rules().about(Action::Listen, channel).any(|rule| rule.reads.iter().any(|s| sources.contains(s)))
    }

    fn rules(&self) -> Arc<Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Rules {
    fn new(rows: Vec<AccessRow>, templates: Vec<String>) -> Self {
        // One that cannot be read was written around `watch`: the router says so.
        let families: Vec<Pattern> = templates.iter().filter_map(|text| Pattern::parse(text).ok()).collect();
        let rules: Vec<Rule> = rows.iter().filter_map(|row| Rule::of(row, &families)).collect();
        let reads = rules.iter().flat_map(|r| r.reads.iter().copied()).collect();
        Self { rows, templates, families, rules, reads }
    }

    fn means(&self, pattern: &Pattern, channel: &ChannelName) -> bool {
        let name = channel.as_str();
        pattern.matches(name).is_some() && pattern.besides(&self.families).all(|other| other.matches(name).is_none())
    }

    fn about<'r>(&'r self, action: Action, channel: &'r ChannelName) -> impl Iterator<Item = &'r Rule> {
        self.rules.iter().filter(move |r| r.action == action && r.pattern.matches(channel.as_str()).is_some())
    }

    /// Would a rule speak of it, if it were of no family of its own?
    fn is_beyond(&self, action: Action, channel: &ChannelName) -> bool {
        let mut beyond = self.rules.iter().filter(|r| r.action == action).filter_map(|r| r.beyond.as_ref());
        beyond.any(|pattern| pattern.matches(channel.as_str()).is_some())
    }

    fn opinion(&self, action: Action, who: &Identity, channel: &ChannelName, open: bool) -> Opinion {
        if channel.as_str().starts_with(OWN) {
            return Opinion::Said(Verdict::Denied);
        }
        if let Some(scope) = &who.scope {
            let patterns = if action == Action::Listen { &scope.listen } else { &scope.publish };
            let within = patterns.iter().any(|pattern| self.means(pattern, channel));
            return Opinion::Said(if within { Verdict::Allowed } else { Verdict::Denied });
        }
        let mut opened = false;
        let mut asks = Vec::new();
        for rule in self.about(action, channel) {
            opened = true;
            if !rule.takes(who) {
                continue;
            }
            if !rule.asks {
                return Opinion::Said(Verdict::Allowed);
            }
            let params = rule.pattern.matches(channel.as_str()).unwrap_or_default();
            let claims = if who.claims.is_empty() { "{}".into() } else { who.claims.clone() };
            asks.push(AccessRequest { rule: rule.id, claims, params: params.into_iter().map(str::to_owned).collect() });
        }
        match (opened, asks.is_empty()) {
            (true, false) => Opinion::Ask(asks),
            (true, true) => Opinion::Said(Verdict::Denied),
            // What was shut by a rule stays shut when it becomes a family of its own.
            (false, _) if open && !self.is_beyond(action, channel) => Opinion::Said(Verdict::Allowed),
            (false, _) => Opinion::Said(Verdict::Unopened),
        }
    }
}

impl Rule {
    /// None: a row that was written around `define_access`. It lets nobody in.
    fn of(row: &AccessRow, families: &[Pattern]) -> Option<Self> {
        let whole = Pattern::parse(&row.pattern).ok()?;
        let others: Vec<Pattern> = whole.besides(families).cloned().collect();
        Some(Self {
            id: row.id,
            beyond: (!others.is_empty()).then(|| whole.clone()),
            pattern: whole.except(others),
            action: if row.action == "listen" { Action::Listen } else { Action::Publish },
            everyone: row.everyone,
            roles: row.roles.clone(),
            claims: row.claims.clone(),
            asks: row.asks,
            reads: row.reads.clone(),
        })
    }

    /// All but its condition in SQL.
    fn takes(&self, who: &Identity) -> bool {
        let conditions = self.roles.is_some() || self.claims.is_some() || self.asks;
        if self.everyone || (!conditions && !who.is_anonymous()) {
            return true;
        }
        let has_role = self.roles.as_ref().is_none_or(|roles| roles.iter().any(|role| who.has_role(role)));
        let has_claims = self.claims.as_ref().is_none_or(|wanted| {
            serde_json::from_str::<Value>(&who.claims).is_ok_and(|claims| contains(&claims, wanted))
        });
        conditions && has_role && has_claims
    }
}

/// Postgres' `jsonb @>`, but that an array does not contain a bare element.
fn contains(have: &Value, wanted: &Value) -> bool {
    match (have, wanted) {
        (Value::Object(have), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| have.get(key).is_some_and(|h| contains(h, value)))
        }
        (Value::Array(have), Value::Array(wanted)) => wanted.iter().all(|w| have.iter().any(|h| contains(h, w))),
        (have, wanted) => have == wanted,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::Scope;

    fn row(pattern: &str, change: impl FnOnce(&mut AccessRow)) -> AccessRow {
        let mut row = AccessRow {
            id: 1,
            pattern: pattern.into(),
            action: "listen".into(),
            everyone: false,
            roles: None,
            claims: None,
            asks: false,
            revision: String::new(),
            reads: Vec::new(),
        };
        change(&mut row);
        row
    }

    fn said(rows: &[AccessRow], who: &Identity, channel: &str, open: bool) -> Option<Verdict> {
        let families = ["mentor:{id}", "mentor:{id}:notes", "doc:{path}"];
        let rules = Rules::new(rows.to_vec(), families.map(str::to_owned).to_vec());
        let channel = ChannelName::new(channel).expect("a name");
        match rules.opinion(Action::Listen, who, &channel, open) {
            Opinion::Said(verdict) => Some(verdict),
            Opinion::Ask(_) => None,
        }
    }

    #[test]
    fn rules_let_in_whom_they_say() {
        use Verdict::{Allowed, Denied, Unopened};
        let nobody = Identity::default();
        let mentor = Identity {
            user: Some("7".into()),
            roles: vec!["mentor".into()],
            claims: json!({"sub": "7", "tenant": "acme", "scopes": ["a", "b"]}).to_string().into(),
            ..Identity::default()
        };
        let rows = [
            row("news", |r| r.everyone = true),
            row("users", |_| ()),
            row("mentor:{id}", |r| r.roles = Some(vec!["mentor".into(), "admin".into()])),
            row("admin:{id}", |r| r.roles = Some(vec!["admin".into()])),
            row("acme:{id}", |r| r.claims = Some(json!({"tenant": "acme", "scopes": ["b"]}))),
            row("other:{id}", |r| r.claims = Some(json!({"tenant": "other"}))),
            row("orders:{id}", |r| r.asks = true),
            row("both:{id}", |r| {
                r.asks = true;
                r.roles = Some(vec!["admin".into()]);
            }),
            row("{anything}", |r| {
                r.roles = Some(vec!["root".into()]);
                r.action = "publish".into();
            }),
        ];
        let cases = [
            ("news", Some(Allowed), Some(Allowed)),
            ("users", Some(Denied), Some(Allowed)),
            ("mentor:1", Some(Denied), Some(Allowed)),
            ("admin:1", Some(Denied), Some(Denied)),
            ("acme:1", Some(Denied), Some(Allowed)),
            ("other:1", Some(Denied), Some(Denied)),
            ("orders:1", None, None),
            ("both:1", Some(Denied), Some(Denied)),
            ("mentor:1:2", Some(Denied), Some(Allowed)),
            ("mentor:1:notes", Some(Unopened), Some(Unopened)),
            ("unheard of", Some(Unopened), Some(Unopened)),
            ("rowcast.access", Some(Denied), Some(Denied)),
        ];
        for (channel, anonymous, known) in cases {
            assert_eq!(said(&rows, &nobody, channel, false), anonymous, "{channel}");
            assert_eq!(said(&rows, &mentor, channel, false), known, "{channel}");
        }
        assert_eq!(said(&rows, &nobody, "unheard of", true), Some(Allowed));
        assert_eq!(said(&rows, &nobody, "users", true), Some(Denied), "a rule counts on an open server, too");
        assert_eq!(said(&rows, &mentor, "mentor:1:notes", true), Some(Unopened), "it was shut before");
        let scope = Scope { listen: vec![Pattern::parse("mentor:{id}").expect("valid")], publish: Vec::new() };
        let server = Identity { scope: Some(Arc::new(scope)), ..Identity::default() };
        assert_eq!(said(&rows, &server, "mentor:1", false), Some(Allowed));
        assert_eq!(said(&rows, &server, "mentor:1:notes", false), Some(Denied), "keys of servers are read as rules");
        assert_eq!(said(&rows, &nobody, "rowcast.access", true), Some(Denied));
    }
}
