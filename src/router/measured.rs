//! Routing without a database, for `benches/`. No interface: it changes with the router.

use super::route::{Routed, route};
use super::routing::Routing;
use crate::domain::{LogRow, Message};
use crate::store::{FamilyRow, RouteRow};

pub struct Routes(Routing);

impl Routes {
    /// A route for each of the sources 1 to `sources`, as `watch('t7', 't7:{id}')` makes it; where `state`, with a view, so that
    /// rows mark keys dirty.
    pub fn new(sources: i32, state: bool) -> Self {
        let template = |n: i32| format!("t{n}:{{id}}");
        let routes = (1..=sources).map(|n| RouteRow {
            id: n,
            source: n,
            template: template(n),
            event: None,
            operations: ["insert", "update", "delete", "truncate"].map(String::from).into(),
            columns: None,
            has_when: false,
            keys_sql: None,
            read_sql: None,
            key_types: None,
            since: 1,
            until: None,
        });
        let families = (1..=sources).filter(|_| state).map(|n| FamilyRow {
            pattern: template(n),
            kind: "state".into(),
            read_sql: Some("a view".into()),
            conflate: None,
            throttle_ms: 0,
            event: None,
            key_types: None,
        });
        Self(Routing::new(routes.collect(), families.collect()).expect("templates of ours"))
    }

    /// The messages that a row leads to, and how many keys it marks dirty.
    pub fn route(&self, row: &LogRow, messages: &mut Vec<Message>) -> usize {
        let mut dirty = 0;
        route(&self.0, row, |routed| match routed {
            Routed::Message(message) | Routed::Row { message, .. } => messages.push(message),
            Routed::Dirty(..) => dirty += 1,
            _ => {}
        });
        dirty
    }
}
