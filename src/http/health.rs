//! Is the process alive, and is it ready to serve?

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use poem::http::{StatusCode, header};
use poem::{Endpoint, Request, Response};
use serde_json::json;

use super::identify::{caller, staff};
use super::limits::Arrival;
use crate::domain::Boxed;
use crate::hub::Hub;
use crate::store::{JobRunRow, JobStatus, Store, StoreError};

/// What the REST interface needs of the database.
pub trait Database: Send + Sync {
    fn send<'a>(&'a self, channel: &'a str, event: &'a str, payload: &'a str) -> Boxed<'a, Result<(), StoreError>>;
    fn ping(&self) -> Boxed<'_, Result<(), StoreError>>;
    /// Ends a user's connections, everywhere.
    fn disconnect<'a>(&'a self, user: &'a str, reason: &'a str) -> Boxed<'a, Result<(), StoreError>>;
    fn jobs(&self) -> Boxed<'_, Result<Vec<JobStatus>, StoreError>>;
    /// None: there is no such job.
    fn job_runs<'a>(&'a self, name: &'a str, limit: i64) -> Boxed<'a, Result<Option<Vec<JobRunRow>>, StoreError>>;
    /// The number of the run. None: there is no such job.
    fn ask_job_run<'a>(&'a self, name: &'a str) -> Boxed<'a, Result<Option<i64>, StoreError>>;
}

impl Database for Store {
    fn send<'a>(&'a self, channel: &'a str, event: &'a str, payload: &'a str) -> Boxed<'a, Result<(), StoreError>> {
        Box::pin(Store::send(self, channel, event, payload))
    }

    fn ping(&self) -> Boxed<'_, Result<(), StoreError>> {
        Box::pin(Store::ping(self))
    }

    fn disconnect<'a>(&'a self, user: &'a str, reason: &'a str) -> Boxed<'a, Result<(), StoreError>> {
        Box::pin(Store::disconnect(self, user, reason))
    }

    fn jobs(&self) -> Boxed<'_, Result<Vec<JobStatus>, StoreError>> {
        Box::pin(Store::jobs(self))
    }

    fn job_runs<'a>(&'a self, name: &'a str, limit: i64) -> Boxed<'a, Result<Option<Vec<JobRunRow>>, StoreError>> {
        Box::pin(Store::job_runs(self, name, limit))
    }

    fn ask_job_run<'a>(&'a self, name: &'a str) -> Boxed<'a, Result<Option<i64>, StoreError>> {
        Box::pin(Store::ask_job_run(self, name))
    }
}

/// Something that must hold for the server to be ready: `Err` says in a few words why it does not.
pub type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Ready means: not stopping, every check holds, the stream has begun, the database answers.
pub struct Readiness {
    checks: Vec<(&'static str, Check)>,
    lowered: Mutex<Option<&'static str>>,
    /// The last answer of the database: whoever asks often shall not load it.
    pinged: tokio::sync::Mutex<Option<(Instant, Result<(), String>)>>,
}

const PING_AGE_MAX: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_secs(2);

impl Readiness {
    pub fn new(checks: Vec<(&'static str, Check)>) -> Arc<Self> {
        Arc::new(Self { checks, lowered: Mutex::new(None), pinged: tokio::sync::Mutex::new(None) })
    }

    /// Not ready from now on, so that a load balancer sends nobody here any more.
    pub fn lower(&self, reason: &'static str) {
        *self.lowered.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    /// Why not, each with the name of what is missing.
    pub async fn reasons(&self, hub: &Hub, database: &dyn Database) -> Vec<(&'static str, String)> {
        if let Some(reason) = *self.lowered.lock().unwrap_or_else(PoisonError::into_inner) {
            return vec![("process", reason.into())];
        }
        let mut reasons: Vec<_> =
            self.checks.iter().filter_map(|(name, check)| check().err().map(|why| (*name, why))).collect();
        if hub.position().is_none() {
            reasons.push(("stream", "has not begun".into()));
        }
        if let Err(why) = self.database(database).await {
            reasons.push(("database", why));
        }
        reasons
    }

    async fn database(&self, database: &dyn Database) -> Result<(), String> {
        let mut pinged = self.pinged.lock().await;
        if let Some((at, answer)) = &*pinged
            && at.elapsed() < PING_AGE_MAX
        {
            return answer.clone();
        }
        let answer = match tokio::time::timeout(PING_TIMEOUT, database.ping()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                // An address or a user name is not for everybody who may ask.
                tracing::debug!(%error, "http.ready: the database does not answer");
                Err("does not answer".to_owned())
            }
            Err(_) => Err("does not answer in time".to_owned()),
        };
        *pinged = Some((Instant::now(), answer.clone()));
        answer
    }
}

/// `GET /healthz`: the process lives.
pub(super) async fn alive() -> Response {
    json_response(StatusCode::OK, json!({ "status": "ok" }))
}

/// `GET /readyz`.
pub(super) struct Ready {
    pub readiness: Arc<Readiness>,
    pub hub: Hub,
    pub database: Arc<dyn Database>,
    /// Does everybody hear why not?
    pub detail: bool,
}

impl Endpoint for Ready {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let reasons = self.readiness.reasons(&self.hub, &*self.database).await;
        if reasons.is_empty() {
            return Ok(json_response(StatusCode::OK, json!({ "status": "ready" })));
        }
        // A driver's words may name hosts and users.
        let detail = self.detail || Arrival::of(&request).is_some_and(|arrival| arrival.is_this_machine(&request));
        let why =
            |why: &str| if detail { why.to_owned() } else { "is not ready; the server's log says why".to_owned() };
        let reasons: Vec<_> = reasons.iter().map(|(what, said)| json!({ "what": what, "why": why(said) })).collect();
        let body = json!({ "status": "not ready", "reasons": reasons });
        Ok(json_response(StatusCode::SERVICE_UNAVAILABLE, body))
    }
}

/// `GET /metrics`; the text is what prometheus-client writes.
pub(super) struct Metrics {
    pub text: Arc<dyn Fn() -> String + Send + Sync>,
    /// Is it for everybody?
    pub public: bool,
}

impl Endpoint for Metrics {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let here = || Arrival::of(&request).is_some_and(|arrival| arrival.is_this_machine(&request));
        if !self.public && !here() {
            staff(&caller(&request).identity)?;
        }
        Ok(Response::builder()
            .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
            .header(header::CACHE_CONTROL, "no-store")
            .body((self.text)()))
    }
}

fn json_response(status: StatusCode, body: serde_json::Value) -> Response {
    Response::builder()
        .status(status)
        .content_type("application/json")
        .header(header::CACHE_CONTROL, "no-store")
        .body(body.to_string())
}

/// An endpoint of a function that looks at nothing in the request.
pub(super) struct Answer<F>(pub F);

impl<F, T> Endpoint for Answer<F>
where
    F: Fn() -> T + Send + Sync,
    T: Future<Output = Response> + Send,
{
    type Output = Response;

    async fn call(&self, _request: Request) -> poem::Result<Response> {
        Ok((self.0)().await)
    }
}
