//! What is measured: each a name, and a function that sets the stage and gives the work itself, once per call. No sockets, no
//! database, fixed inputs: `codec`, `router` and `hub` time it, `instructions` counts it.

mod codec;
mod hub;
mod router;

use std::sync::Arc;

use rowcast::domain::Snapshot;

#[derive(Clone)]
pub struct Work {
    pub name: &'static str,
    /// Calls that make up one measurement where instructions are counted.
    #[allow(dead_code, reason = "only `instructions` counts them")]
    pub calls: u32,
    pub set: fn() -> Box<dyn FnMut()>,
}

pub fn all() -> Vec<Work> {
    [codec::ALL, router::ALL, hub::ALL].concat()
}

fn at(n: u64) -> Arc<Snapshot> {
    Arc::new(Snapshot::new(n, n, Vec::new()).expect("in order"))
}

/// A row as Postgres prints it.
fn row_json(id: usize) -> String {
    format!(
        r#"{{"id":{id},"n":17,"customer":"customer {}","status":"paid","amount":120.50,"note":"{}","updated_at":"2026-01-02T03:04:05.678901+00:00"}}"#,
        id % 97,
        "n".repeat(60)
    )
}
