use std::time::{Duration, Instant};

/// The longest that a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// `future`, or a panic that says what was waited for.
pub async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} in vain for {what}"),
    }
}

/// Asks until the answer is yes. Only for conditions that send no signal, such as a row in a catalog view.
pub async fn wait_until(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let since = Instant::now();
    while !ask().await {
        assert!(since.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What `app` does before anything speaks TLS, for tests that do without it.
pub fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default(); // somebody else's is as good
}

/// For plain HTTP to our own server.
pub fn http_client() -> reqwest::Client {
    install_tls();
    reqwest::Client::builder().no_proxy().build().expect("a client without special wishes")
}
