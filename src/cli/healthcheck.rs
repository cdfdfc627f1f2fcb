use std::time::Duration;

use clap::Args;

use super::Failure;
use super::globals::{Globals, runtime};
use super::tail::local_http_client;

/// Ask the local server whether it is ready; for containers, which may have no curl
#[derive(Debug, Args)]
pub struct Healthcheck {
    /// How long to wait for its answer
    #[arg(long, default_value_t = 3_000)]
    timeout_ms: u64,
}

impl Healthcheck {
    pub fn run(self, globals: &Globals) -> Result<(), Failure> {
        let http = globals.config()?.http;
        let scheme = if http.tls_cert_file.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}/readyz", local(&http.listen));
        runtime()?.block_on(async {
            let request = local_http_client()?.get(&url).timeout(Duration::from_millis(self.timeout_ms));
            let answer = request.send().await.map_err(|_| Failure::new(format!("nobody answers at {url}")))?;
            if answer.status().is_success() {
                return Ok(());
            }
            Err(Failure::new(format!("{url} answers {}", answer.status())))
        })
    }
}

/// Where to reach a server on this machine that listens on `address`.
fn local(address: &str) -> String {
    for any in ["0.0.0.0:", "[::]:"] {
        if let Some(port) = address.strip_prefix(any) {
            return format!("127.0.0.1:{port}");
        }
    }
    address.to_owned()
}
