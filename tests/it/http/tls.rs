//! HTTPS and WSS by the process itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rowcast::http;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::kit::{Binary, Dir, http_client, patiently, wait_until, ws};
use crate::native::server::{Server, Settings};

/// A certificate that is its own root.
struct Pair {
    cert: String,
    key: String,
    der: CertificateDer<'static>,
}

impl Pair {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".into()]).expect("a name");
        let cert = params.self_signed(&key).expect("signs");
        Self { cert: cert.pem(), key: key.serialize_pem(), der: cert.der().clone() }
    }

    fn write(&self, dir: &Path) -> (PathBuf, PathBuf) {
        let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
        std::fs::write(&cert, &self.cert).expect("our own directory");
        std::fs::write(&key, &self.key).expect("our own directory");
        (cert, key)
    }

    async fn server(&self, dir: &Path, check_ms: u64) -> Server {
        let (cert, key) = self.write(dir);
        let http = http::Config {
            tls_cert_file: Some(cert),
            tls_key_file: Some(key),
            tls_check_interval_ms: check_ms,
            ..Default::default()
        };
        Server::with(Settings { http, ..Default::default() }).await
    }
}

/// A connection that trusts these certificates, and no others.
async fn connect(server: &Server, trusted: &[&Pair]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for pair in trusted {
        roots.add(pair.der.clone()).expect("a certificate");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let tcp = patiently("a connection", TcpStream::connect(server.address)).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    patiently("the TLS handshake", TlsConnector::from(Arc::new(config)).connect(name, tcp)).await
}

async fn subscriber(server: &Server, pair: &Pair) -> ws::Client {
    let io = connect(server, &[pair]).await.expect("a right certificate");
    let mut client = ws::Client::over(io, format!("wss://localhost:{}/ws", server.address.port())).await.expect("101");
    client.next_of("welcome").await;
    client.send(json!({ "type": "subscribe", "channel": "a" })).await;
    client.next_of("subscribed").await;
    client.next_of("snapshot").await;
    client
}

async fn get(io: &mut TlsStream<TcpStream>, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    patiently("room", io.write_all(request.as_bytes())).await.expect("sent");
    let mut all = Vec::new();
    let _ = patiently("the answer", io.read_to_end(&mut all)).await;
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test]
async fn sockets_and_requests_are_encrypted() {
    let (dir, pair) = (Dir::new("tls"), Pair::new());
    let server = pair.server(dir.path(), 60_000).await;
    let mut client = subscriber(&server, &pair).await;
    for n in 0..3 {
        server.world.say("a", &n.to_string());
        assert_eq!(client.next_of("event").await["data"], n);
    }
    let mut io = connect(&server, &[&pair]).await.expect("a right certificate");
    assert_eq!(io.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]), "a WebSocket needs HTTP/1.1");
    let answer = get(&mut io, "/healthz").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#"{"status":"ok"}"#), "{answer}");
    assert!(answer.contains("strict-transport-security: max-age=15552000"), "{answer}");
    let plain = Server::start().await;
    let answer = http_client().get(plain.url("/healthz")).send().await.expect("an answer");
    assert!(!answer.headers().contains_key("strict-transport-security"), "only under TLS");

    // Who speaks plain HTTP, or shakes no hands, gets nothing and harms nobody.
    let mut tcp = TcpStream::connect(server.address).await.expect("open");
    tcp.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    let mut all = Vec::new();
    let _ = patiently("the end", tcp.read_to_end(&mut all)).await;
    assert!(!all.starts_with(b"HTTP"), "{all:?}");
    assert!(connect(&server, &[]).await.is_err(), "not trusted");
    server.world.say("a", "3");
    assert_eq!(client.next_of("event").await["data"], 3);
    client.close().await;
    wait_until("it is forgotten", async || server.hub.connections() == 0).await;
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections() {
    // Must be first: without a handler the signal would end the tests.
    let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).expect("a handler");
    for by_signal in [false, true] {
        let (dir, old, new) = (Dir::new("tls"), Pair::new(), Pair::new());
        let server = old.server(dir.path(), if by_signal { 3_600_000 } else { 20 }).await;
        let mut client = subscriber(&server, &old).await;
        assert!(connect(&server, &[&new]).await.is_err(), "the old one is served");
        std::fs::write(dir.path().join("cert.pem"), "half of it").expect("our own directory");
        new.write(dir.path());
        wait_until("the new one is served", async || {
            if by_signal {
                // SAFETY: our own process, which has a handler.
                assert_eq!(unsafe { libc::kill(libc::getpid(), libc::SIGHUP) }, 0);
                patiently("the signal", hangup.recv()).await;
            }
            connect(&server, &[&new]).await.is_ok()
        })
        .await;
        assert!(connect(&server, &[&old]).await.is_err(), "the old one is gone");
        server.world.say("a", "1");
        assert_eq!(client.next_of("event").await["data"], 1);
        // What cannot be used does not replace what can.
        std::fs::write(dir.path().join("key.pem"), &old.key).expect("our own directory");
        let mut io = connect(&server, &[&new]).await.expect("still served");
        assert!(get(&mut io, "/healthz").await.contains("200 OK"));
    }
}

#[tokio::test]
async fn files_that_will_not_do_are_named_at_the_start() {
    let (pair, other) = (Pair::new(), Pair::new());
    let cases = [
        (None, Some(&*pair.key), vec!["tls_cert_file", "cert.pem", "No such file"]),
        (Some(&*pair.cert), None, vec!["tls_key_file", "key.pem", "No such file"]),
        (Some("garbage"), Some(&*pair.key), vec!["tls_cert_file", "BEGIN CERTIFICATE"]),
        (Some(&*pair.cert), Some("garbage"), vec!["tls_key_file", "BEGIN PRIVATE KEY"]),
        (Some(&*pair.cert), Some(&*other.key), vec!["do not go together"]),
        (Some(&*pair.key), Some(&*pair.key), vec!["tls_cert_file"]),
    ];
    let db = crate::kit::TestDb::new().await;
    let start = |command: &str| {
        Binary::new(&[command])
            .env("DATABASE_URL", &db.url())
            .env("ROWCAST_LISTEN", "127.0.0.1:0")
            .env("ROWCAST_HTTP_TLS_CERT_FILE", "cert.pem")
    };
    for (cert, key, said) in cases {
        let mut binary = start("serve").env("ROWCAST_HTTP_TLS_KEY_FILE", "key.pem");
        for (name, content) in [("cert.pem", cert), ("key.pem", key)] {
            if let Some(content) = content {
                binary = binary.file(name, content);
            }
        }
        let run = binary.output().await;
        let error = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(!run.status.success() && said.iter().all(|s| error.contains(s)), "{said:?} in {error}");
        assert!(!error.contains(pair.key.lines().nth(1).expect("base64")), "the key is not shown");
    }
    let run = start("serve").output().await;
    assert!(String::from_utf8_lossy(&run.stderr).contains("belong together"));

    let mut good = start("serve")
        .env("ROWCAST_HTTP_TLS_KEY_FILE", "key.pem")
        .file("cert.pem", &pair.cert)
        .file("key.pem", &pair.key);
    good = good.env("ROWCAST_SHUTDOWN_GRACE_MS", "500");
    let server = good.start().ready().await;
    let address = server.url.strip_prefix("https://").unwrap_or_else(|| panic!("{}", server.url)).to_owned();
    let asked = start("healthcheck").env("ROWCAST_HTTP_TLS_KEY_FILE", "key.pem").env("ROWCAST_LISTEN", &address);
    let run = asked.output().await;
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}
