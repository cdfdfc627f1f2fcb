//! The server's own certificate: read at the start, and again when its files change or SIGHUP comes. New connections
//! get the newest; those that stand keep what they began with.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A bad start says what to mend; a bad reload is logged, and the old certificate stays.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("http.tls_cert_file and http.tls_key_file belong together: set both, or neither")]
    Half,
    #[error("cannot read {setting} {}: {source}", path.display())]
    Read { setting: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{setting} {} holds no {what} in PEM: {cause}", path.display())]
    Pem { setting: &'static str, path: PathBuf, what: &'static str, cause: String },
    #[error("the certificate {} and the key {} do not go together: {source}", cert.display(), key.display())]
    Pair { cert: PathBuf, key: PathBuf, source: rustls::Error },
}

const CERT: &str = "http.tls_cert_file";
const KEY: &str = "http.tls_key_file";

pub(super) struct Certificates {
    cert: PathBuf,
    key: PathBuf,
    now: Mutex<Now>,
}

struct Now {
    config: Arc<ServerConfig>,
    /// What the files held: a copy with a new date is no new certificate.
    seen: (Vec<u8>, Vec<u8>),
}

impl Certificates {
    /// `None`: plain HTTP was asked for.
    pub fn load(cert: Option<&Path>, key: Option<&Path>) -> Result<Option<Arc<Self>>, TlsError> {
        let (cert, key) = match (cert, key) {
            (Some(cert), Some(key)) => (cert.to_owned(), key.to_owned()),
            (None, None) => return Ok(None),
            _ => return Err(TlsError::Half),
        };
        let seen = read(&cert, &key)?;
        let now = Mutex::new(Now { config: configured(&cert, &key, &seen)?, seen });
        Ok(Some(Arc::new(Self { cert, key, now })))
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).config.clone().into()
    }

    /// Looks until the task is aborted.
    pub fn watch(self: Arc<Self>, interval: Duration) -> JoinHandle<()> {
        tokio::spawn(async move {
            let mut hangups = signal(SignalKind::hangup()).ok();
            let mut failed = None;
            loop {
                let hangup = async {
                    match &mut hangups {
                        Some(hangups) => drop(hangups.recv().await),
                        None => std::future::pending().await,
                    }
                };
                let asked = tokio::time::timeout(interval, hangup).await.is_ok();
                match self.reload() {
                    Ok(true) => tracing::info!(cert = %self.cert.display(), "http.tls: a new certificate"),
                    Ok(false) if asked => tracing::info!("http.tls: the certificate has not changed"),
                    Ok(false) => {}
                    Err(error) => {
                        // Once: half-written files will be whole at the next look.
                        let error = error.to_string();
                        if failed.as_ref() != Some(&error) {
                            tracing::warn!(%error, "http.tls: the old certificate stays");
                        }
                        failed = Some(error);
                        continue;
                    }
                }
                failed = None;
            }
        })
    }

    /// True: there is a new one.
    fn reload(&self) -> Result<bool, TlsError> {
        let seen = read(&self.cert, &self.key)?;
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.seen == seen {
            return Ok(false);
        }
        *now = Now { config: configured(&self.cert, &self.key, &seen)?, seen };
        Ok(true)
    }
}

fn read(cert: &Path, key: &Path) -> Result<(Vec<u8>, Vec<u8>), TlsError> {
    let read = |setting, path: &Path| {
        std::fs::read(path).map_err(|source| TlsError::Read { setting, path: path.to_owned(), source })
    };
    Ok((read(CERT, cert)?, read(KEY, key)?))
}

fn configured(cert: &Path, key: &Path, seen: &(Vec<u8>, Vec<u8>)) -> Result<Arc<ServerConfig>, TlsError> {
    let bad = |setting, path: &Path, what, cause: String| TlsError::Pem { setting, path: path.to_owned(), what, cause };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&seen.0)
        .collect::<Result<_, _>>()
        .map_err(|e| bad(CERT, cert, "certificate", e.to_string()))?;
    if chain.is_empty() {
        return Err(bad(CERT, cert, "certificate", "there is no 'BEGIN CERTIFICATE'".into()));
    }
    // Not the parser's own words: they could quote the key.
    let private = PrivateKeyDer::from_pem_slice(&seen.1).map_err(|_| {
        bad(KEY, key, "private key", "'BEGIN PRIVATE KEY' (or EC, RSA), not encrypted, is wanted".into())
    })?;
    let pair = |source| TlsError::Pair { cert: cert.to_owned(), key: key.to_owned(), source };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(pair)?;
    // A WebSocket needs HTTP/1.1.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
