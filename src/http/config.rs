use std::path::PathBuf;

use serde::Deserialize;

use super::limits::ForwardedHeader;

/// The server's address, its bounds and its patience. In rates and counts 0 is no bound; a rate's double may come at
/// once.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `host:port`; port 0 lets the system choose.
    pub listen: String,
    /// PEM files of the certificate (with its chain) and its key. Both: HTTPS only. Read again when they change, and on
    /// SIGHUP; connections live on.
    pub tls_cert_file: Option<PathBuf>,
    pub tls_key_file: Option<PathBuf>,
    /// How often the files are looked at.
    pub tls_check_interval_ms: u64,
    /// What browsers are told under TLS: to come by HTTPS only, this long. 0: nothing.
    pub hsts_max_age_s: u64,
    /// Connections that the kernel keeps while we are busy; `net.core.somaxconn` bounds it too.
    pub backlog: i32,
    /// WebSockets and event streams at the same time; 0: no bound.
    pub connections_max: usize,
    /// Connections of one address (IPv6: of one /64), whatever for.
    pub connections_per_address_max: usize,
    /// WebSockets and event streams of one user.
    pub connections_per_user_max: usize,
    /// Connections that have not sent their first request.
    pub handshakes_max: usize,
    /// New connections in a second, of all and of one address.
    pub new_connections_per_s_max: u32,
    pub new_connections_per_address_per_s_max: u32,
    /// Requests of one address in a second.
    pub requests_per_address_per_s_max: u32,
    /// Events that one user, or one address without a user, may publish in a second.
    pub publishes_per_s_max: u32,
    /// Addresses and networks that the bounds for one address are not for.
    pub unlimited_addresses: Vec<String>,
    /// Addresses and networks of our proxies: what they say of the client's address is believed.
    pub trusted_proxies: Vec<String>,
    /// The header in which they say it: `x-forwarded-for` or `forwarded`. They must set it themselves.
    pub forwarded_header: ForwardedHeader,
    /// From the connection to the end of the first request's headers, TLS handshake included.
    pub header_timeout_ms: u64,
    /// Bytes of a request's headers.
    pub header_bytes_max: usize,
    /// From a response to the end of the next request's headers.
    pub idle_timeout_ms: u64,
    /// From a request's headers to the beginning of its response, body included.
    pub request_timeout_ms: u64,
    /// From the `101` to the raw socket.
    pub upgrade_timeout_ms: u64,
    /// A client that takes nothing of a response for this long is cut off.
    pub write_stall_timeout_ms: u64,
    /// Bytes of a request's body.
    pub body_bytes_max: usize,
    /// Origins (`https://app.example.com`) whose pages may read the REST interface and event streams, credentials
    /// included; `*` for all, without credentials. Empty: none but our own.
    pub cors_origins: Vec<String>,
    /// Names by which this server may be asked, as Django's ALLOWED_HOSTS: others get 421, but for `/healthz` and `/readyz`.
    /// Empty: any, and a page of whatever name leads here is one of our own.
    pub hosts: Vec<String>,
    /// May events be published over REST?
    pub publish: bool,
    /// Does `/readyz` tell everybody why it is not ready? Else only this machine.
    pub readyz_detail: bool,
    /// Does `/metrics` answer everybody? Else this machine, staff, and keys made with `--admin`.
    pub metrics_public: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".into(),
            tls_cert_file: None,
            tls_key_file: None,
            tls_check_interval_ms: 10_000,
            hsts_max_age_s: 15_552_000,
            backlog: 4096,
            connections_max: 100_000,
            connections_per_address_max: 1_000,
            connections_per_user_max: 100,
            handshakes_max: 10_000,
            new_connections_per_s_max: 5_000,
            new_connections_per_address_per_s_max: 100,
            requests_per_address_per_s_max: 200,
            publishes_per_s_max: 100,
            unlimited_addresses: vec!["127.0.0.0/8".into(), "::1".into()],
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            header_timeout_ms: 10_000,
            header_bytes_max: 32 * 1024,
            idle_timeout_ms: 60_000,
            request_timeout_ms: 30_000,
            upgrade_timeout_ms: 10_000,
            write_stall_timeout_ms: 30_000,
            body_bytes_max: 1024 * 1024,
            cors_origins: Vec::new(),
            hosts: Vec::new(),
            publish: true,
            readyz_detail: false,
            metrics_public: true,
        }
    }
}
