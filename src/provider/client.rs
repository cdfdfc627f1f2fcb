//! One GET to a provider: bounded in time and bytes, conditional where the provider offers it, and silent
//! about its URL.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::header::{
    ACCEPT, CONTENT_ENCODING, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, RETRY_AFTER,
};
use reqwest::{Response, StatusCode, Url, redirect};

use super::config::Config;
use super::error::ProviderError;
use super::secret::Secret;

const REDIRECTS_MAX: usize = 3;
const WHY_CHARS_MAX: usize = 160;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no TLS provider was installed (rustls::crypto::ring::default_provider().install_default())")]
    NoTls,
    #[error("the HTTP client cannot be made: {0}")]
    Build(String),
}

/// The HTTP client of all providers. A redirect is followed on the same scheme, host and port only (a key must not
/// leave its provider), and no `Referer` is sent (some URLs hold the key).
pub fn client(config: &Config) -> Result<reqwest::Client, ClientError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        return Err(ClientError::NoTls);
    }
    let same_origin = redirect::Policy::custom(|attempt| {
        let from = attempt.previous().first().map(Url::origin);
        match from == Some(attempt.url().origin()) && attempt.previous().len() <= REDIRECTS_MAX {
            true => attempt.follow(),
            false => attempt.stop(),
        }
    });
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("rowcast/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_millis(config.connect_timeout_ms))
        .redirect(same_origin)
        .referer(false);
    if !config.proxy_from_env {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|e| ClientError::Build(e.without_url().to_string()))
}

/// A provider's way to its server.
pub(super) struct Wire {
    client: reqwest::Client,
    base_url: Url,
    key: Option<Secret>,
    timeout: Duration,
    bytes_max: usize,
    kept: Mutex<Option<Kept>>,
}

/// A question: path segments, query and headers below the base URL.
#[derive(Default)]
pub(super) struct Ask {
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    headers: HeaderMap,
}

#[cfg(any(test, fuzzing))]
impl Wire {
    /// That is never asked.
    pub fn to_nowhere() -> Self {
        let base_url = Url::parse("http://127.0.0.1:1").expect("a URL");
        let client = reqwest::Client::builder().no_proxy().build().expect("a client without special wishes");
        Self { client, base_url, key: None, timeout: Duration::ZERO, bytes_max: 0, kept: Mutex::new(None) }
    }
}

#[cfg(any(test, fuzzing))]
impl Reply {
    pub fn of(status: u16, body: &[u8]) -> Self {
        let body = Bytes::copy_from_slice(body);
        Self { status, body, retry_after: None, validators: HeaderMap::new(), unchanged: false }
    }
}

/// A complete answer of any status.
pub(super) struct Reply {
    pub status: u16,
    pub body: Bytes,
    retry_after: Option<Duration>,
    validators: HeaderMap,
    unchanged: bool,
}

/// What the round says beside its content.
pub(super) struct Heard<T> {
    pub said: T,
    pub latency_ms: u64,
    pub unchanged: bool,
}

/// The last readable answer that the server gave a name (`ETag`) or a date, and what it answered.
struct Kept {
    url: Url,
    validators: HeaderMap,
    body: Bytes,
}

impl Ask {
    pub fn path(segments: &[&str]) -> Self {
        Self { path: segments.iter().map(|s| (*s).to_owned()).collect(), ..Self::default() }
    }

    pub fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// `prefix` and the key, as a header that no log shows.
    pub fn secret_header(mut self, name: HeaderName, prefix: &str, key: &Secret) -> Result<Self, ProviderError> {
        // A key with a control character is no key.
        let value = format!("{prefix}{}", key.expose());
        let mut value = HeaderValue::from_str(&value).map_err(|_| ProviderError::Auth)?;
        value.set_sensitive(true);
        self.headers.insert(name, value);
        Ok(self)
    }
}

impl Reply {
    /// What a status alone says, where the body does not say better.
    pub fn status_error(&self) -> Option<ProviderError> {
        Some(match self.status {
            200..=299 => return None,
            401 | 403 => ProviderError::Auth,
            402 => ProviderError::Quota,
            429 => self.rate_limited(),
            503 if self.retry_after.is_some() => self.rate_limited(),
            status => ProviderError::Status { status },
        })
    }

    pub fn rate_limited(&self) -> ProviderError {
        ProviderError::RateLimited { retry_after: self.retry_after }
    }

    /// The body as JSON of this shape; where it is not, a bad status is the better explanation.
    pub fn json<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, ProviderError> {
        serde_json::from_slice(&self.body)
            .map_err(|_| self.status_error().unwrap_or(ProviderError::Malformed { what: "not the documented JSON" }))
    }
}

impl Wire {
    pub fn new(
        client: reqwest::Client,
        base_url: Url,
        key: Option<Secret>,
        timeout: Duration,
        bytes_max: usize,
    ) -> Self {
        Self { client, base_url, key, timeout, bytes_max, kept: Mutex::new(None) }
    }

    /// The key that the registry made sure of; an error for a provider that has none.
    pub fn key(&self) -> Result<&Secret, ProviderError> {
        self.key.as_ref().ok_or(ProviderError::Auth)
    }

    /// Asks, and has `read` understand the answer. Only an answer that could be read is remembered for the next
    /// conditional request, so that a 304 never repeats a broken one.
    pub async fn ask<T>(
        &self,
        ask: Ask,
        now: DateTime<Utc>,
        read: impl FnOnce(&Reply) -> Result<T, ProviderError>,
    ) -> Result<Heard<T>, ProviderError> {
        let started = Instant::now();
        let url = self.url(&ask);
        let reply = self.get(&url, ask.headers, now).await?;
        let latency_ms = started.elapsed().as_millis() as u64;
        let said = read(&reply)?;
        let unchanged = reply.unchanged;
        if !unchanged && reply.status == 200 {
            let kept = Kept { url, validators: reply.validators, body: reply.body };
            *self.kept() = (!kept.validators.is_empty()).then_some(kept);
        }
        Ok(Heard { said, latency_ms, unchanged })
    }

    fn url(&self, ask: &Ask) -> Url {
        let mut url = self.base_url.clone();
        url.path_segments_mut().expect("the registry takes http and https only").pop_if_empty().extend(&ask.path);
        if !ask.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&ask.query);
        }
        url
    }

    async fn get(&self, url: &Url, mut headers: HeaderMap, now: DateTime<Utc>) -> Result<Reply, ProviderError> {
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, application/xml;q=0.9, */*;q=0.1"));
        let known = self.kept().as_ref().filter(|k| k.url == *url).map(|k| (k.validators.clone(), k.body.clone()));
        if let Some((validators, _)) = &known {
            for (given, asked) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
                if let Some(value) = validators.get(given) {
                    headers.insert(asked, value.clone());
                }
            }
        }
        let request = self.client.get(url.clone()).headers(headers).timeout(self.timeout);
        let response = request.send().await.map_err(|e| self.broken(e))?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|v| retry_after(v.to_str().ok()?, now));
        if response.status() == StatusCode::NOT_MODIFIED {
            let (validators, body) = known.ok_or(ProviderError::Status { status })?;
            return Ok(Reply { status: 200, body, retry_after: None, validators, unchanged: true });
        }
        let mut validators = HeaderMap::new();
        for name in [ETAG, LAST_MODIFIED] {
            if let Some(value) = response.headers().get(&name) {
                validators.insert(name, value.clone());
            }
        }
        let body = self.body(response).await?;
        Ok(Reply { status, body, retry_after, validators, unchanged: false })
    }

    async fn body(&self, mut response: Response) -> Result<Bytes, ProviderError> {
        if response.headers().get(CONTENT_ENCODING).is_some_and(|v| v != "identity") {
            return Err(ProviderError::Malformed { what: "a content encoding that was not asked for" });
        }
        let too_large = ProviderError::TooLarge { bytes_max: self.bytes_max };
        if response.content_length().is_some_and(|n| n > self.bytes_max as u64) {
            return Err(too_large);
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.broken(e))? {
            if body.len() + chunk.len() > self.bytes_max {
                return Err(too_large);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }

    /// The innermost reason, which names no URL; cut, and the key taken out should it ever be in.
    fn broken(&self, error: reqwest::Error) -> ProviderError {
        if error.is_timeout() {
            return ProviderError::Timeout;
        }
        let error = error.without_url();
        let mut innermost: &dyn std::error::Error = &error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        let mut why: String = innermost.to_string();
        if let Some(key) = self.key.as_ref().filter(|k| !k.is_empty()) {
            why = why.replace(key.expose(), "***");
        }
        ProviderError::Unreachable { why: why.chars().take(WHY_CHARS_MAX).collect() }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Kept>> {
        self.kept.lock().expect("no code panics while it holds this lock")
    }
}

/// `Retry-After`: seconds, or a date. One in the past means now.
fn retry_after(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTime::<Utc>::from(httpdate::parse_http_date(value).ok()?);
    Some((at - now).to_std().unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = "2026-11-20T12:00:00Z".parse().expect("a time");
        for (value, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Fri, 20 Nov 2026 12:01:30 GMT", Some(90)),
            ("Friday, 20-Nov-26 12:01:30 GMT", Some(90)),
            ("Fri Nov 20 12:01:30 2026", Some(90)),
            ("Fri, 20 Nov 2026 11:00:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("1.5", None),
            ("99999999999999999999999", None),
        ] {
            assert_eq!(retry_after(value, now), expected.map(Duration::from_secs), "{value}");
        }
    }
}
