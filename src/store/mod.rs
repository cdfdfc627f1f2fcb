//! (in work) The pool and every query. Sole user of sqlx.

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database cannot be reached: {0}")]
    Unavailable(String),
    /// Postgres refused what was asked: its message, fit for a client.
    #[error("{message}")]
    Refused { sqlstate: String, message: String },
}

#[derive(Clone)]
pub struct Store {}

impl Store {
    /// `rowcast.send(channel, event, payload)`; `payload` is JSON text.
    pub async fn send(&self, _channel: &str, _event: &str, _payload: &str) -> Result<(), StoreError> {
        unimplemented!()
    }
    /// Is the database there, and does it answer?
    pub async fn ping(&self) -> Result<(), StoreError> {
        unimplemented!()
    }
}
