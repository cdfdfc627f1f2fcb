use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::{Identity, ReadError, Snapshot};
use crate::protocol::Values;
use crate::protocol::declared::Call;
use crate::store::{Function, Store, StoreError};

/// The functions of the database that an endpoint calls, found when it was made.
pub struct Functions {
    pub store: Store,
    pub known: BTreeMap<Call, Function>,
}

/// JSON text, as of a snapshot.
pub(super) struct Answer {
    pub snapshot: Arc<Snapshot>,
    pub json: String,
}

impl Functions {
    pub fn none(store: &Store) -> Self {
        Self { store: store.clone(), known: BTreeMap::new() }
    }

    /// Calls with the values that it names; None: one of them is not of the type that the function takes.
    pub(super) async fn call(
        &self,
        call: &Call,
        values: &Values,
        identity: &Identity,
    ) -> Result<Option<Answer>, ReadError> {
        let function = self.known.get(call).ok_or(ReadError::Unavailable)?;
        let arguments: Vec<Option<String>> = call.arguments.iter().map(|name| values.text(name)).collect();
        match self.store.call(function, &arguments, &identity.claims).await {
            Ok(called) => Ok(Some(Answer {
                snapshot: Arc::new(called.snapshot),
                json: called.json.unwrap_or_else(|| "null".into()),
            })),
            Err(error) if error.is_not_a_value() => Ok(None),
            Err(error) => {
                tracing::warn!(function = call.function, %error, "endpoint.call: a function failed");
                Err(match error {
                    StoreError::Timeout => ReadError::Timeout { limit_ms: self.store.config().statement_timeout_ms },
                    StoreError::Unavailable(_) => ReadError::Unavailable,
                    other => ReadError::View { detail: other.to_string().into() },
                })
            }
        }
    }
}
