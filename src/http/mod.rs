//! The HTTP server: upgrades, event streams, REST, health, metrics and pages.
//!
//! ```text
//!  TCP ─▶ RawAcceptor ─▶ hyper ─▶ Front (log, timeout, problems, headers) ─▶ route
//!            │                                                               │ /ws: 101, then the raw socket ─▶ hub
//!            └── keeps each socket by its number  ◀──────────────────────────┘
//! ```

mod acceptor;
mod apps;
mod config;
mod demo;
mod docs;
mod front;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod handshake;
mod health;
mod identify;
mod io;
mod jobs;
mod limits;
mod page;
mod problem;
mod rates;
mod raw;
mod rest;
mod schema;
mod stream;
mod tls;
mod upgrade;
mod users;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use poem::middleware::{NormalizePath, TrailingSlash};
use poem::{EndpointExt as _, IntoEndpoint as _, Route, Server, get};
use tokio::task::JoinHandle;

use crate::connection::{Shared, native};

pub use apps::Reference;
pub use config::Config;
pub use demo::{Mint, Minted};
pub use health::{Check, Database, Readiness};
pub use identify::{authenticated, caller};
pub use limits::{ForwardedHeader, NetworkError};
pub use page::Page;
pub use problem::{ApiError, ProblemCode};
pub use rates::Rates;
pub use tls::TlsError;
pub use upgrade::{Admit, Adopt, Credentials, SocketRoute};

use self::io::Patience;
use acceptor::{RawAcceptor, Registry};
use demo::DemoToken;
use front::{Cors, Front};
use health::{Answer, Metrics, Ready};
use identify::Identified;
use limits::Limits;
use page::Served;
use rates::{RateByPair, RatesApi};
use stream::EventStream;
use tls::Certificates;
use upgrade::Upgrade;

/// What the server serves from.
pub struct Parts {
    /// With the hub, the source and the drains.
    pub shared: Arc<Shared>,
    pub database: Arc<dyn Database>,
    pub readiness: Arc<Readiness>,
    /// The text of `/metrics`.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    pub pages: Vec<Page>,
    /// None: this is no demo.
    pub mint: Option<Mint>,
    /// WebSocket paths besides `/ws`.
    pub sockets: Vec<SocketRoute>,
    /// None: the paths of rates answer that there are none.
    pub rates: Option<Rates>,
    /// None: the reference applications are not served.
    pub reference: Option<Reference>,
    /// How long open requests may take when the server stops.
    pub grace: Duration,
}

/// A server that runs.
#[derive(Debug)]
pub struct Bound {
    pub address: SocketAddr,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Ends after the shutdown signal, when requests have ended or the grace has. WebSockets and event streams are
    /// the hub's: shut it down too, or event streams are waited for.
    pub task: JoinHandle<std::io::Result<()>>,
}

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("cannot listen on {address}: {source}; {advice}")]
    Listen { address: String, source: std::io::Error, advice: &'static str },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("http.trusted_proxies, http.unlimited_addresses: {0}")]
    Network(#[from] NetworkError),
    #[error("two pages or routes have the path {0}")]
    Route(String),
}

/// Binds, then serves until `shutdown` ends.
pub async fn serve(
    config: Config,
    parts: Parts,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<Bound, HttpError> {
    let failed = |source: std::io::Error| HttpError::Listen {
        advice: advice(source.kind()),
        address: config.listen.clone(),
        source,
    };
    let certificates = Certificates::load(config.tls_cert_file.as_deref(), config.tls_key_file.as_deref())?;
    let limits = Limits::new(&config, parts.shared.clone())?;
    let listener = acceptor::bind(&config.listen, config.backlog).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let grace = parts.grace;
    let registry = Arc::new(Registry::default());
    let acceptor = RawAcceptor {
        listener,
        registry: registry.clone(),
        prepare: parts.shared.hub_config.clone(),
        patience: Patience {
            header_timeout: Duration::from_millis(config.header_timeout_ms),
            idle_timeout: Duration::from_millis(config.idle_timeout_ms),
            write_stall_timeout: Duration::from_millis(config.write_stall_timeout_ms),
            header_bytes_max: config.header_bytes_max,
        },
        limits: limits.clone(),
        certificates: certificates.clone(),
        refused: RawAcceptor::refused(),
    };
    let cors = Arc::new(Cors::new(&config.cors_origins));
    let hosts = config.hosts.clone();
    let front = Front {
        inner: routes(&config, parts, &registry, &cors)?.with(NormalizePath::new(TrailingSlash::Trim)),
        registry,
        limits,
        hsts: certificates.as_ref().and_then(|_| front::hsts(config.hsts_max_age_s)),
        request_timeout: Duration::from_millis(config.request_timeout_ms),
        body_bytes_max: config.body_bytes_max,
        cors,
        hosts,
    };
    let scheme = if certificates.is_some() { "https" } else { "http" };
    let watch = certificates.map(|c| c.watch(Duration::from_millis(config.tls_check_interval_ms.max(10))));
    let task = tokio::spawn(async move {
        let served = Server::new_with_acceptor(acceptor).run_with_graceful_shutdown(front, shutdown, Some(grace)).await;
        if let Some(watch) = watch {
            watch.abort();
        }
        served
    });
    Ok(Bound { address, scheme, task })
}

/// The description of the REST interface, as `openapi/openapi.yaml` keeps it.
pub fn openapi_yaml() -> String {
    rest::service_of_nothing().spec_yaml()
}

/// The subprotocol that a client may name, with or without its token beside it (`bearer.TOKEN`).
pub const PROTOCOL: &str = "rowcast.v1";

fn routes(config: &Config, parts: Parts, registry: &Arc<Registry>, cors: &Arc<Cors>) -> Result<Route, HttpError> {
    let Parts { shared, database, readiness, metrics, pages, mint, sockets, rates, reference, grace: _ } = parts;
    let adopt = shared.clone();
    let native = SocketRoute {
        path: "/ws".into(),
        protocols: &[PROTOCOL],
        credentials: Credentials::Checked,
        admit: None,
        adopt: Arc::new(move |transport, visit| {
            native::open(&adopt, transport, &visit);
        }),
    };
    let hub = shared.hub.clone();
    let auth = shared.auth.clone();
    let ready = database.clone();
    let metrics = get(Metrics { text: metrics, public: config.metrics_public });
    let metrics = match config.metrics_public {
        true => metrics.boxed(),
        false => Identified { inner: metrics, auth: auth.clone(), cors: cors.clone() }.boxed(),
    };
    let stream = EventStream { shared: shared.clone(), registry: registry.clone() };
    let stream = Identified { inner: get(stream), auth: auth.clone(), cors: cors.clone() };
    let apis = rest::apis(shared.clone(), database, config.publish, rates.clone());
    let shows_reference = reference.is_some();
    let api = match reference {
        Some(reference) => {
            rest::described((apis, apps::apis(Some((reference, shared.clone()))))).into_endpoint().boxed()
        }
        None => rest::described(apis).into_endpoint().boxed(),
    };
    let mut route = Route::new()
        .nest("/api", Identified { inner: api, auth: auth.clone(), cors: cors.clone() })
        .at("/rate", get(RateByPair(RatesApi(rates))))
        .at("/sse", stream)
        .at("/healthz", get(Answer(health::alive)))
        .at("/readyz", get(Ready { readiness, hub, database: ready, detail: config.readyz_detail }))
        .at("/metrics", metrics);
    for socket in std::iter::once(native).chain(sockets) {
        let path = socket.path.clone();
        let timeout = Duration::from_millis(config.upgrade_timeout_ms);
        let upgrade = Upgrade { route: socket, registry: registry.clone(), timeout, auth: auth.clone() };
        route = route.try_at(&path, get(upgrade)).map_err(|_| HttpError::Route(path))?;
    }
    if let Some(mint) = mint {
        route = route.at("/demo/token", get(DemoToken(mint)));
    }
    for page in docs::pages(shows_reference).into_iter().chain(pages) {
        let path = page.path.clone();
        route = route.try_at(&path, get(Served::new(page))).map_err(|_| HttpError::Route(path))?;
    }
    Ok(route)
}

fn advice(kind: std::io::ErrorKind) -> &'static str {
    match kind {
        std::io::ErrorKind::AddrInUse => "another process has this port: stop it, or listen on another one (--listen)",
        std::io::ErrorKind::PermissionDenied => "ports below 1024 need rights: listen on a higher one (--listen)",
        std::io::ErrorKind::AddrNotAvailable => {
            "this machine does not have this address: 127.0.0.1 and 0.0.0.0 always do"
        }
        _ => "an address is HOST:PORT, such as 127.0.0.1:8080",
    }
}
