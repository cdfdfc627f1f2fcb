use serde::Deserialize;

/// The server's address, its bounds and its patience.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `host:port`; port 0 lets the system choose.
    pub listen: String,
    /// Connections that the kernel keeps while we are busy; `net.core.somaxconn` bounds it too.
    pub backlog: i32,
    /// WebSockets and event streams at the same time.
    pub connections_max: usize,
    /// From the connection to the end of the first request's headers.
    pub header_timeout_ms: u64,
    /// From a response to the end of the next request's headers.
    pub idle_timeout_ms: u64,
    /// From a request's headers to the beginning of its response, body included.
    pub request_timeout_ms: u64,
    /// From the `101` to the raw socket.
    pub upgrade_timeout_ms: u64,
    /// Bytes of a request's body.
    pub body_bytes_max: usize,
    /// How long open requests may take when the server stops.
    pub shutdown_grace_ms: u64,
    /// Origins (`https://app.example.com`) whose pages may read the REST interface and event streams; `*` for all.
    /// Empty: none but our own.
    pub cors_origins: Vec<String>,
    /// May events be published over REST?
    pub publish: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".into(),
            backlog: 4096,
            connections_max: 100_000,
            header_timeout_ms: 10_000,
            idle_timeout_ms: 60_000,
            request_timeout_ms: 30_000,
            upgrade_timeout_ms: 10_000,
            body_bytes_max: 1024 * 1024,
            shutdown_grace_ms: 10_000,
            cors_origins: Vec::new(),
            publish: true,
        }
    }
}
