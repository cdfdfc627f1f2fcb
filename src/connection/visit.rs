//! What is known of a client before it says its first word.

use std::sync::Arc;

use crate::domain::{Credential, Identity};
use crate::protocol::Values;

use super::places::Held;

/// A handshake that was found right, and who stands behind it.
#[derive(Clone, Debug, Default)]
pub struct Visit {
    pub identity: Arc<Identity>,
    /// What it rests on.
    pub credential: Credential,
    /// As `Caller` has it.
    pub mark: u64,
    /// The user's, among so many connections as it may have. Goes to whoever takes the connection.
    pub place: Option<Arc<Held>>,
    /// Of the path: `id` where the endpoint is `/ws/orders/:id`.
    pub params: Vec<(String, String)>,
    /// Of the query, secrets taken out.
    pub query: Vec<(String, String)>,
    /// What was looked up for it before the upgrade.
    pub found: Values,
    /// It is let in to be told that it may not stay: close code and reason.
    pub refused: Option<(u16, &'static str)>,
}

impl Visit {
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}
