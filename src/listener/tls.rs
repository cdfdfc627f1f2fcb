//! libpq's meaning of `sslmode`, in rustls' terms. The crypto provider is `ring`, named here and nowhere taken from
//! the process. PostgreSQL documentation, 34.19 "SSL Support", table 34.1.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::ListenerError;
use crate::domain::{DatabaseUrl, SslMode, SslRootCert};

/// How to speak TLS with this database, and how much to ask of its certificate. Reads the root certificates anew
/// each time, so that a reconnect takes renewed ones.
pub(super) async fn connector(url: &DatabaseUrl) -> Result<MakeRustlsConnect, ListenerError> {
    Ok(made(match (url.ssl_mode, &url.ssl_root_cert) {
        (SslMode::VerifyFull, root) => Trust::Named(roots(root.as_ref()).await?),
        (SslMode::VerifyCa, root) => Trust::Chain(roots(root.as_ref()).await?),
        (_, Some(root)) => Trust::Chain(roots(Some(root)).await?),
        (_, None) => Trust::Anyone,
    }))
}

/// For a connection that will not be encrypted: the client's type is the same.
pub(super) fn unused_connector() -> MakeRustlsConnect {
    made(Trust::Anyone)
}

fn made(trust: Trust) -> MakeRustlsConnect {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("ring supports TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { provider, trust }))
        .with_no_client_auth();
    MakeRustlsConnect::new(config)
}

async fn roots(from: Option<&SslRootCert>) -> Result<Roots, ListenerError> {
    let mut roots = Roots { store: RootCertStore::empty(), listed: Vec::new() };
    match from {
        Some(SslRootCert::File(path)) => {
            let refused = |cause: String| ListenerError::RootCert { path: path.clone(), cause };
            let pem = tokio::fs::read(path).await.map_err(|e| refused(e.to_string()))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|e| refused(e.to_string()))?;
                roots.store.add(certificate.clone()).map_err(|e| refused(e.to_string()))?;
                roots.listed.push(certificate);
            }
            if roots.store.is_empty() {
                return Err(refused("it holds no certificate".into()));
            }
        }
        Some(SslRootCert::System) | None => {
            let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs)
                .await
                .map_err(|e| ListenerError::SystemRoots(e.to_string()))?;
            // Machines carry odd certificates; the readable ones count.
            roots.store.add_parsable_certificates(found.certs);
            if roots.store.is_empty() {
                let causes: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
                return Err(ListenerError::SystemRoots(causes.join("; ")));
            }
        }
    }
    Ok(roots)
}

#[derive(Debug)]
struct Roots {
    store: RootCertStore,
    /// The certificates of the file themselves.
    listed: Vec<CertificateDer<'static>>,
}

#[derive(Debug)]
enum Trust {
    Anyone,
    Chain(Roots),
    Named(Roots),
}

#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    trust: Trust,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let (Trust::Chain(roots) | Trust::Named(roots)) = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &roots.store, intermediates, now, algorithms).or_else(
            |error| {
                // Postgres' manual makes a self-signed certificate that is its own root (17.9.4); webpki takes it for
                // an authority and refuses it as a server's. It has checked the dates by then, and the certificate is,
                // byte for byte, one that the file names.
                let own_root = is_authority_as_server(&error) && roots.listed.iter().any(|c| c == end_entity);
                if own_root { Ok(()) } else { Err(error) }
            },
        )?;
        if let Trust::Named(_) = self.trust {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn is_authority_as_server(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(CertificateError::Other(other))
        if other.0.to_string().contains("CaUsedAsEndEntity"))
}
