//! From libpq's words to sqlx's options.

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::Config;
use crate::domain::{DatabaseUrl, HostPlace, SslMode, SslRootCert};

/// The first host only: the pool follows one server, and name a virtual address for failover.
pub fn options(url: &DatabaseUrl, config: &Config) -> PgConnectOptions {
    let host = url.hosts.first().expect("a DatabaseUrl has at least one host");
    let mut options = PgConnectOptions::new_without_pgpass()
        .port(host.port)
        .username(&url.user)
        .database(&url.dbname)
        .ssl_mode(match url.ssl_mode {
            SslMode::Disable => PgSslMode::Disable,
            SslMode::Allow => PgSslMode::Allow,
            SslMode::Prefer => PgSslMode::Prefer,
            // libpq: a root certificate at hand is used, also by `require`.
            SslMode::Require if matches!(url.ssl_root_cert, Some(SslRootCert::File(_))) => PgSslMode::VerifyCa,
            SslMode::Require => PgSslMode::Require,
            SslMode::VerifyCa => PgSslMode::VerifyCa,
            SslMode::VerifyFull => PgSslMode::VerifyFull,
        })
        .application_name(url.application_name.as_deref().unwrap_or("rowcast"));
    options = match &host.place {
        HostPlace::Tcp(name) => options.host(name),
        HostPlace::Socket(dir) => options.socket(dir),
    };
    if let Some(password) = url.password() {
        options = options.password(password);
    }
    if let Some(SslRootCert::File(path)) = &url.ssl_root_cert {
        options = options.ssl_root_cert(path);
    }
    options.options([
        ("statement_timeout", config.statement_timeout_ms.to_string()),
        ("idle_in_transaction_session_timeout", "60000".to_owned()),
        // Hints for whoever sits at psql.
        ("client_min_messages", "warning".to_owned()),
    ])
}
