//! To the socket and through TLS and authentication, as the address says.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::config::{ChannelBinding as PgChannelBinding, SslMode as PgSslMode};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::config::Config;
use super::error::explained;
use super::{ListenerError, tls};
use crate::domain::{ChannelBinding, DatabaseHost, DatabaseUrl, HostPlace, SslMode};

/// Encrypted or not: one type for both.
pub(super) type Wire = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// An ordinary session on the first host that answers, for tools that bring statements of their own. Ends when the client
/// is dropped.
pub async fn client(url: &DatabaseUrl) -> Result<Client, ListenerError> {
    let config = Config::default();
    let mut first = None;
    for host in &url.hosts {
        match connect(&config, url, host).await {
            Ok((client, connection)) => {
                tokio::spawn(connection);
                return Ok(client);
            }
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.expect("DatabaseUrl has at least one host"))
}

/// Tries what `sslmode` allows, in its order.
pub(super) async fn connect(
    config: &Config,
    url: &DatabaseUrl,
    host: &DatabaseHost,
) -> Result<(Client, Wire), ListenerError> {
    let tries: &[PgSslMode] = match (&host.place, url.ssl_mode) {
        (HostPlace::Socket(_), _) | (_, SslMode::Disable) => &[PgSslMode::Disable],
        (_, SslMode::Allow) => &[PgSslMode::Disable, PgSslMode::Require],
        // Falls back also where the server speaks TLS but the handshake or its pg_hba.conf refuses.
        (_, SslMode::Prefer) => &[PgSslMode::Prefer, PgSslMode::Disable],
        (_, SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull) => &[PgSslMode::Require],
    };
    let limit = url.connect_timeout_s.map_or(Duration::from_millis(config.connect_timeout_ms), Duration::from_secs);
    let mut cause = String::new();
    for mode in tries {
        let mut pg = pg_config(config, url, host);
        pg.ssl_mode(*mode).connect_timeout(limit);
        let tls = match mode {
            PgSslMode::Disable => tls::unused_connector(),
            _ => tls::connector(url).await?,
        };
        let error = match timeout(limit, pg.connect(tls)).await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(error)) => explained(&error),
            Err(_) => format!("no answer for {} ms", limit.as_millis()),
        };
        // Of two refusals the first is the one to mend, and the second tells why plain did not help either.
        cause = if cause.is_empty() { error } else { format!("{cause}; with sslmode={}: {error}", url.ssl_mode) };
    }
    let host = match &host.place {
        HostPlace::Tcp(name) => format!("{name}:{}", host.port),
        HostPlace::Socket(dir) => format!("{}/.s.PGSQL.{}", dir.display(), host.port),
    };
    Err(ListenerError::Connect { host, cause })
}

fn pg_config(config: &Config, url: &DatabaseUrl, host: &DatabaseHost) -> tokio_postgres::Config {
    let mut pg = tokio_postgres::Config::new();
    match &host.place {
        HostPlace::Tcp(name) => pg.host(name),
        HostPlace::Socket(dir) => pg.host_path(dir),
    };
    pg.port(host.port)
        .user(&url.user)
        .dbname(&url.dbname)
        .application_name(url.application_name.as_deref().unwrap_or("rowcast listener"))
        .channel_binding(match url.channel_binding {
            ChannelBinding::Disable => PgChannelBinding::Disable,
            ChannelBinding::Prefer => PgChannelBinding::Prefer,
            ChannelBinding::Require => PgChannelBinding::Require,
        })
        .keepalives(url.keepalives)
        .keepalives_idle(Duration::from_secs(url.keepalives_idle_s.unwrap_or(config.keepalive_idle_s)))
        .keepalives_interval(Duration::from_secs(url.keepalives_interval_s.unwrap_or(config.keepalive_interval_s)))
        .keepalives_retries(url.keepalives_count.unwrap_or(config.keepalive_count))
        .tcp_user_timeout(Duration::from_millis(url.tcp_user_timeout_ms.unwrap_or(config.tcp_user_timeout_ms)));
    if let Some(password) = url.password() {
        pg.password(password);
    }
    if let Some(options) = &url.options {
        pg.options(options);
    }
    pg
}
