//! A running server: what is started after what, and ended in which order.
//!
//! ```text
//! start:  check database ─▶ hub ─▶ router ─▶ listener ─▶ stream begun ─▶ http (ready) ─▶ jobs
//! end:    not ready ─▶ notice ─▶ no new clients ─▶ jobs ─▶ close frames, flush ─▶ listener (locks free) ─▶ router ─▶ pool
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::accounts::Accounts;
use super::database::Database;
use super::database_url;
use super::endpoints::Endpoints;
use super::maintenance::{self, LogState};
use super::numbers;
use super::pages::{self, TryIt};
use super::rates::{JOB, Rates};
use super::step;
use crate::config::Config;
use crate::connection::endpoint::Clock;
use crate::connection::{Shared, Users};
use crate::http::{self, Bound, HttpError, Parts, Readiness};
use crate::hub::Hub;
use crate::listener::{Listener, ListenerHandle, Status, check};
use crate::protocol::Dialects;
use crate::router::Router;
use crate::scheduler::{Job, Runner, Scheduler};
use crate::shutdown::Shutdown;
use crate::store::{MigrationSet, Store, StoreError};

/// Pieces of drains on their way to the router. A piece is bounded in rows and bytes by the listener.
const FEED_PIECES_MAX: usize = 16;
/// RFC 6455 registry: "Service Restart"; the client comes back.
const SERVICE_RESTART: u16 = 1012;

/// What demo adds to a server.
#[derive(Default)]
pub struct Extras {
    pub jobs: Vec<Job>,
    pub try_it: Option<TryIt>,
    pub accounts: Option<Accounts>,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{address} is in use by another program")]
    AddressInUse { address: String },
    #[error("the schema of this database is not up to date: {pending} migrations are missing")]
    Unmigrated { pending: usize },
    /// Mended in the configuration.
    #[error(transparent)]
    Settings(anyhow::Error),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// Ends by `until_stopped` or `stop`; dropping it leaves the server running until the runtime ends.
pub struct Running {
    address: SocketAddr,
    scheme: &'static str,
    readiness: Arc<Readiness>,
    hub: Hub,
    listener: ListenerHandle,
    router: JoinHandle<()>,
    maintenance: JoinHandle<()>,
    scheduler: Scheduler,
    runner: Runner,
    store: Store,
    http: JoinHandle<std::io::Result<()>>,
    shutdown: Shutdown,
    notice: Duration,
    grace: Duration,
}

/// Starts everything and returns when it is ready: the stream has begun and the address is bound.
pub async fn start(config: Config, database: &Database, extras: Extras) -> Result<Running, StartError> {
    super::install_tls();
    let url = database_url(database.url().expose()).map_err(anyhow::Error::from)?;
    let listen_url = match config.database.listen_url.as_ref() {
        Some(direct) => database_url(direct.expose()).map_err(anyhow::Error::from)?,
        None => url.clone(),
    };
    let store = Store::new(&url, config.store.clone()).with_direct(&listen_url);
    let limit = store.patience();
    step::patiently("reach the database", limit, async || store.reach().await).await?;
    let pending =
        step::patiently("look at the database", limit, async || store.pending(MigrationSet::Core).await).await?;
    if !pending.is_empty() {
        return Err(StartError::Unmigrated { pending: pending.len() });
    }
    step::once("hear the database's notifications", 2 * limit, async {
        check(&config.listener, &listen_url).await.map_err(anyhow::Error::from)
    })
    .await?;
    // Before the first row is read: the lease may have run out while no rowcast was there.
    let log = Arc::new(LogState::default());
    maintenance::tend_until_settled(&store, &log).await.context("cannot tend the log")?;

    let clock: Clock = Arc::new(|| chrono::Utc::now().timestamp_micros());
    let mut dialects = Dialects::native();
    let opening = async { Endpoints::new(&config, &store, &mut dialects, &clock).await.map_err(settings) };
    let endpoints = step::once("open the endpoints", limit, opening).await?;
    let hub = Hub::start(config.hub.clone(), dialects.into_vec()).context("cannot start the hub")?;
    let (feed, fed) = mpsc::channel(FEED_PIECES_MAX);
    let outlet = Arc::new(hub.clone());
    let (router, router_task) = Router::start(config.router.clone(), store.clone(), outlet, clock.clone(), fed);
    let router = Arc::new(router);
    let listener = Listener::start(config.listener.clone(), listen_url, feed).context("[listener]")?;
    if !crate::domain::Drains::barrier(&listener).await {
        return Err(anyhow::anyhow!("the listener did not come up: {}", why(&listener)).into());
    }

    let drains = Arc::new(listener.clone());
    let opening = async { super::auth::open(&config, &store, &clock).await.context("[auth]").map_err(settings) };
    let auth = step::once("open what decides who may listen", limit, opening).await?;
    let users = Users::new(config.http.connections_per_user_max);
    let (of_one, of_all) = (config.connection.clone(), config.hub.clone());
    let shared = Shared::new(of_one, of_all, hub.clone(), router.clone(), drains.clone(), auth, users);
    let shared = shared.context("[connection]")?;
    router.guard_by(shared.roster.clone(), drains);
    let reading = async {
        crate::domain::Guard::reload(&*shared.roster).await;
        Ok::<_, StartError>(())
    };
    step::once("read the rules of access", limit, reading).await?;
    crate::connection::start_clock(&shared.roster);
    let readiness = readiness(&listener, log.clone());
    let rates = Rates::new(&config, &store).map_err(|e| settings(e.into()))?;
    let runner = step::once("register the jobs", limit, runner(&config, &store, rates.as_ref())).await?;
    let mut metrics = numbers::metrics(&listener, &router, &hub, &shared, &store, log.clone());
    numbers::of_jobs(&mut metrics, runner.counts(), rates.map(|rates| rates.counts()));
    let metrics = Arc::new(metrics);
    let sockets = endpoints.sockets(&shared);
    let reference = step::once("look at the reference tables", limit, reference(&config, &store)).await?;
    let parts = Parts {
        shared,
        database: Arc::new(store.clone()),
        readiness: readiness.clone(),
        metrics: Arc::new(move || metrics.render()),
        pages: pages::all(extras.try_it.as_ref()),
        mint: extras.accounts.map(|accounts| accounts.mint(&config, clock.clone())),
        sockets,
        reference,
        rates: Some(http::Rates { store: store.clone(), fx_engine: endpoints.fx_engine.clone(), clock: clock.clone() }),
        grace: Duration::from_millis(config.shutdown.grace_ms),
    };
    let shutdown = Shutdown::new();
    let stopping = shutdown.clone();
    let serving = http::serve(config.http.clone(), parts, async move { stopping.wait().await }).await;
    let Bound { address, scheme, task: http } = serving.map_err(|error| match error {
        HttpError::Listen { address, source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
            StartError::AddressInUse { address }
        }
        HttpError::Listen { ref source, .. } if source.kind() != std::io::ErrorKind::InvalidInput => {
            StartError::Other(error.into())
        }
        other => settings(other.into()),
    })?;
    let jobs = config.scheduler.enabled.then(|| runner.beat()).into_iter().chain(extras.jobs).collect();
    Ok(Running {
        address,
        scheme,
        readiness,
        maintenance: maintenance::start(store.clone(), listener.clone(), log),
        scheduler: Scheduler::start(jobs).await.context("cannot start the scheduler")?,
        runner,
        hub,
        listener,
        router: router_task,
        store,
        http,
        shutdown,
        notice: Duration::from_millis(config.shutdown.notice_ms),
        grace: Duration::from_millis(config.shutdown.grace_ms),
    })
}

impl Running {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://HOST:PORT` or `https://…`, with the port that it got.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Until one of the process's signals; then everything ends in order. Errors if the server ended by itself.
    pub async fn until_stopped(mut self, signals: &Shutdown) -> anyhow::Result<()> {
        let ended = tokio::select! {
            () = signals.wait() => None,
            served = &mut self.http => Some(served),
        };
        match ended {
            None => {
                self.readiness.lower("shutting down");
                if !signals.is_hurried() {
                    // Whoever is sent here until it is noticed is served.
                    tracing::info!(ms = self.notice.as_millis() as u64, "app.stop: not ready any more; giving notice");
                    tokio::time::sleep(self.notice).await;
                }
                self.stop().await;
            }
            Some(Ok(served)) => served.context("the HTTP server ended")?,
            Some(Err(panic)) => return Err(panic).context("the HTTP server panicked"),
        }
        Ok(())
    }

    /// Ends everything in order; returns when locks are free and clients have been told.
    pub async fn stop(self) {
        self.readiness.lower("shutting down");
        tracing::info!("app.stop: closing {} connections", self.hub.connections());
        self.shutdown.trigger();
        // Side by side: one grace for all.
        let (unfinished, _, (), served) = tokio::join!(
            self.scheduler.shutdown(self.grace),
            self.runner.stop(self.grace),
            self.hub.shutdown(SERVICE_RESTART, "the server restarts", self.grace),
            tokio::time::timeout(self.grace, self.http),
        );
        if !unfinished.is_empty() {
            tracing::warn!(jobs = ?unfinished, "app.stop: jobs were abandoned");
        }
        if served.is_err() {
            tracing::warn!("app.stop: requests were still open at the end of the grace");
        }
        self.maintenance.abort();
        self.listener.shutdown().await;
        // Its feed has ended with the listener.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.router).await;
        self.store.close().await;
    }
}

/// With rowcast's own jobs: the rates' refresh, where a provider is configured.
/// What the configuration asks for cannot be, unless it was the database that failed.
fn settings(error: anyhow::Error) -> StartError {
    match error.chain().any(|cause| cause.is::<StoreError>()) {
        true => StartError::Other(error),
        false => StartError::Settings(error),
    }
}

async fn runner(config: &Config, store: &Store, rates: Option<&Rates>) -> Result<Runner, StartError> {
    let cron = config.rates.refresh_cron.as_str();
    if rates.is_some() {
        Job::check(cron).map_err(|why| settings(anyhow::anyhow!("[rates] refresh_cron: {why}")))?;
    }
    store.own_job(JOB, rates.map(|_| cron)).await.context("cannot register the job of the rates")?;
    if let Some(rates) = rates {
        rates.open_channels().await.context("cannot open the rates' channels")?;
    }
    Ok(Runner::new(store.clone(), config.scheduler.clone(), rates.map(|rates| rates.job(cron)).into_iter().collect()))
}

/// REST of the reference applications, where they are switched on.
async fn reference(config: &Config, store: &Store) -> anyhow::Result<Option<http::Reference>> {
    if !config.serves_reference() {
        return Ok(None);
    }
    let pending = store.pending(MigrationSet::Reference).await.context("cannot look at the database")?;
    anyhow::ensure!(pending.is_empty(), "the reference tables are not up to date: `rowcast migrate --with reference`");
    Ok(Some(http::Reference { store: store.clone() }))
}

fn readiness(listener: &ListenerHandle, log: Arc<LogState>) -> Arc<Readiness> {
    let status = listener.status();
    let listener = move || match &*status.borrow() {
        Status::Live(_) => Ok(()),
        Status::Connecting { last_error: Some(error), .. } => Err(error.to_string()),
        Status::Connecting { last_error: None, .. } => Err("is connecting".into()),
        Status::Stopped => Err("has stopped".into()),
    };
    let recording = move || match log.stopped.load(Relaxed) {
        true => Err("is over store.log_bytes_max: nothing is recorded".to_owned()),
        false => Ok(()),
    };
    Readiness::new(vec![("listener", Box::new(listener)), ("log", Box::new(recording))])
}

fn why(listener: &ListenerHandle) -> String {
    match &*listener.status().borrow() {
        Status::Connecting { last_error: Some(error), .. } => error.to_string(),
        _ => "no answer in time".into(),
    }
}
