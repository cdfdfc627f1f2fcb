//! A key set behind a URL (RFC 7517): fetched when first needed, kept, and fetched again when it is old or a token names
//! a key that is not in it.
//!
//! ```text
//!  key in the set ─▶ answered at once; the set is old: a fetch begins meanwhile
//!  key not in it, or nobody has asked for long ─▶ waits for the one fetch (5 s at most), then the set decides
//! ```
//! Bounds: one fetch at a time, none sooner than `REFETCH_S` after the one before, so that tokens with made-up keys
//! cannot make us ask; an answer of `BYTES_MAX` bytes and `KEYS_MAX` keys. A set that cannot be fetched anew stays.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use tokio::sync::watch;

use super::TokenError;
use super::key::{Algorithm, Key};
use crate::auth::Stats;

const FRESH_S: i64 = 600;
/// A set of this age counts no more before its issuer was asked again, unless the issuer is known to be down.
const LAPSED_S: i64 = 2 * FRESH_S;
const REFETCH_S: i64 = 30;
const TIMEOUT: Duration = Duration::from_secs(5);
const BYTES_MAX: usize = 256 * 1024;
const KEYS_MAX: usize = 64;

pub struct Jwks {
    source: Arc<Source>,
}

struct Source {
    url: String,
    client: reqwest::Client,
    stats: Arc<Stats>,
    /// Never held while waiting.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tried_at_s: Option<i64>,
    fetched_at_s: Option<i64>,
    failing: bool,
    /// Closed when the fetch has ended, however it did.
    fetch: Option<watch::Receiver<()>>,
    keys: Vec<(Option<String>, Arc<Key>)>,
}

impl Jwks {
    pub fn new(url: String, client: reqwest::Client, stats: Arc<Stats>) -> Self {
        Self { source: Arc::new(Source { url, client, stats, state: Mutex::default() }) }
    }

    /// The keys that may have signed: the one with this id, or all where the token names none.
    pub async fn keys(&self, kid: Option<&str>, algorithm: Algorithm, now_s: i64) -> Result<Vec<Arc<Key>>, TokenError> {
        if let Some(mut fetch) = self.refresh(kid, algorithm, now_s) {
            let _ = fetch.changed().await; // nothing is sent on it: it closes
        }
        let state = self.source.state();
        if state.fetched_at_s.is_none() {
            return Err(TokenError::NoKeys);
        }
        let meant = state.keys.iter().filter(|(id, _)| kid.is_none() || id.as_deref() == kid);
        Ok(meant.map(|(_, key)| key.clone()).collect())
    }

    /// Begins a fetch where one is due; what is to be waited for before the set is looked at.
    fn refresh(&self, kid: Option<&str>, algorithm: Algorithm, now_s: i64) -> Option<watch::Receiver<()>> {
        let mut state = self.source.state();
        let within = |at: Option<i64>, s: i64| at.is_some_and(|at| (at..at + s).contains(&now_s));
        let fresh = within(state.fetched_at_s, FRESH_S);
        let known =
            kid.map_or(!state.keys.is_empty(), |kid| state.keys.iter().any(|(id, _)| id.as_deref() == Some(kid)));
        if fresh && known {
            return None;
        }
        let under_way = state.fetch.clone().filter(|fetch| fetch.has_changed().is_ok());
        let fetch = match under_way {
            Some(fetch) => fetch,
            None if within(state.tried_at_s, REFETCH_S) => return None,
            None => {
                let (done, fetch) = watch::channel(());
                state.tried_at_s = Some(now_s);
                state.fetch = Some(fetch.clone());
                // Not the caller's own future: whoever asked may leave, and others wait for it, too.
                tokio::spawn(self.source.clone().renew(algorithm, now_s, done));
                fetch
            }
        };
        let lapsed = !state.failing && !within(state.fetched_at_s, LAPSED_S);
        (!known || lapsed).then_some(fetch)
    }
}

impl Source {
    async fn renew(self: Arc<Self>, algorithm: Algorithm, now_s: i64, done: watch::Sender<()>) {
        let fetched = self.fetch(algorithm).await;
        let mut state = self.state();
        state.failing = fetched.is_err();
        match fetched {
            Ok(keys) => {
                self.stats.jwks_fetched.fetch_add(1, Relaxed);
                state.keys = keys;
                state.fetched_at_s = Some(now_s);
            }
            Err(why) => {
                self.stats.jwks_failed.fetch_add(1, Relaxed);
                tracing::warn!(why, "auth.jwks: the key set cannot be fetched");
            }
        }
        drop(state);
        drop(done);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self, algorithm: Algorithm) -> Result<Vec<(Option<String>, Arc<Key>)>, String> {
        let get = async {
            let mut response = self.client.get(&self.url).send().await?.error_for_status()?;
            let mut body = Vec::new();
            while let Some(piece) = response.chunk().await? {
                if body.len() + piece.len() > BYTES_MAX {
                    return Ok(None);
                }
                body.extend_from_slice(&piece);
            }
            Ok::<_, reqwest::Error>(Some(body))
        };
        let body = match tokio::time::timeout(TIMEOUT, get).await {
            Ok(Ok(Some(body))) => body,
            Ok(Ok(None)) => return Err(format!("it has more than {BYTES_MAX} bytes")),
            Ok(Err(e)) => return Err(e.without_url().to_string()),
            Err(_) => return Err("no answer in time".into()),
        };
        let set: Set = serde_json::from_slice(&body).map_err(|e| format!("it is not a key set: {e}"))?;
        let keys: Vec<_> = set
            .keys
            .into_iter()
            .take(KEYS_MAX)
            .filter_map(|jwk| Some((jwk.kid.clone(), Arc::new(jwk.key(algorithm)?))))
            .collect();
        if keys.is_empty() {
            return Err(format!("it has no key for {}", algorithm.name()));
        }
        Ok(keys)
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: Option<String>,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Jwk {
    /// None: for something else than this algorithm's signatures.
    fn key(&self, algorithm: Algorithm) -> Option<Key> {
        if self.alg.as_deref().is_some_and(|alg| alg != algorithm.name())
            || self.usage.as_deref().is_some_and(|usage| usage != "sig")
        {
            return None;
        }
        let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?.trim_end_matches('=')).ok();
        match self.kty.as_deref()? {
            "RSA" => Some(Key::Rsa(algorithm.rsa()?, bytes(&self.n)?, bytes(&self.e)?)),
            "EC" => {
                let (curve, length, ec) = algorithm.ec()?;
                let (x, y) = (bytes(&self.x)?, bytes(&self.y)?);
                let fits = self.crv.as_deref() == Some(curve) && x.len() == length && y.len() == length;
                fits.then(|| Key::Public(ec, [&[4][..], &x, &y].concat()))
            }
            _ => None,
        }
    }
}
