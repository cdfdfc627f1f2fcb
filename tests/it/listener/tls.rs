//! `sslmode` against a Postgres that speaks TLS, with certificates of our own.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rowcast::embedded::Mode;
use rowcast::listener::{Config, check};

use super::url;
use crate::kit::{OwnCluster, TestDb, wait_until};

/// The kit's clusters have no TCP port; this runs one of them again, with a port and TLS.
struct TlsPostgres {
    server: Child,
    port: u16,
    db: String,
    cluster: OwnCluster,
}

impl TlsPostgres {
    async fn start(certificate: &str, key: &str) -> Self {
        let cluster = OwnCluster::start();
        let db = TestDb::on(&cluster).await;
        let name = db.name.clone();
        for role in ["tls_only", "plain_only"] {
            db.admin_exec(&format!("create role {role} login in role app")).await;
        }
        db.admin_exec("create role secretive login in role app password 'hunter2'").await;
        drop(db);
        cluster.stop(Mode::Fast);

        let data = cluster.root().join("data");
        write_pair(&data, certificate, key);
        let hba = "hostnossl all tls_only 127.0.0.1/32 reject\nhostssl all plain_only 127.0.0.1/32 reject\n\
                   host all secretive 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\nlocal all all trust\n";
        std::fs::write(data.join("pg_hba.conf"), hba).expect("our own cluster");
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = taken.local_addr().expect("bound").port();
        drop(taken);
        let owner = std::fs::metadata(&data).expect("our own cluster");
        let server = Command::new(cluster.bin_dir().join("postgres"))
            .arg("-D")
            .arg(&data)
            .args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                &format!("port={port}"),
                "-c",
                "ssl=on",
                "-c",
                "fsync=off",
            ])
            .args(["-c", &format!("unix_socket_directories=\"{}\"", cluster.socket_dir().display())])
            .uid(owner.uid())
            .gid(owner.gid())
            .current_dir(&data)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binaries are there");
        let postgres = Self { server, port, db: name, cluster };
        wait_until("it takes connections", async || postgres.ask("app", "sslmode=disable").await.is_ok()).await;
        postgres
    }

    /// Connects as the listener does; is it encrypted?
    async fn ask(&self, user: &str, rest: &str) -> Result<bool, String> {
        let host = if rest.contains("host=") { "" } else { "host=127.0.0.1" };
        let address = format!("{host} port={} user={user} dbname={} {rest}", self.port, self.db);
        check(&Config::default(), &url(&address)).await.map(|c| c.encrypted).map_err(|e| e.to_string())
    }

    fn data(&self) -> PathBuf {
        self.cluster.root().join("data")
    }

    fn signal(&self, signal: libc::c_int) {
        // SAFETY: two integers; the child has not been waited for, so the pid is its own.
        assert_eq!(unsafe { libc::kill(self.server.id() as libc::pid_t, signal) }, 0, "the process is ours");
    }
}

impl Drop for TlsPostgres {
    fn drop(&mut self) {
        self.signal(libc::SIGQUIT);
        let _ = self.server.wait();
    }
}

fn write_pair(data: &Path, certificate: &str, key: &str) {
    let owner = std::fs::metadata(data).expect("our own cluster");
    for (name, pem) in [("server.crt", certificate), ("server.key", key)] {
        let path = data.join(name);
        std::fs::write(&path, pem).expect("our own cluster");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("our own file");
        chown(&path, Some(owner.uid()), Some(owner.gid())).expect("to whom the directory belongs");
    }
}

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new([]).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().expect("ring makes keys");
    let pem = params.self_signed(&key).expect("signs").pem();
    Authority { pem, issuer: Issuer::new(params, key) }
}

/// Valid for `localhost`, so not for `127.0.0.1`.
fn names() -> CertificateParams {
    CertificateParams::new(["localhost".to_owned()]).expect("a name")
}

#[tokio::test]
async fn sslmode_means_what_it_means_to_libpq() {
    let (ours, other) = (authority("ours"), authority("other"));
    let key = KeyPair::generate().expect("ring makes keys");
    let certificate = names().signed_by(&key, &ours.issuer).expect("signs");
    let postgres = TlsPostgres::start(&certificate.pem(), &key.serialize_pem()).await;
    let right = postgres.cluster.root().join("right.pem");
    let wrong = postgres.cluster.root().join("wrong.pem");
    let empty = postgres.cluster.root().join("empty.pem");
    std::fs::write(&right, &ours.pem).expect("our own directory");
    std::fs::write(&wrong, &other.pem).expect("our own directory");
    std::fs::write(&empty, "").expect("our own directory");

    let (right, wrong, empty) = (right.display(), wrong.display(), empty.display());
    let socket = postgres.cluster.socket_dir().display();
    let cases: Vec<(&str, String, Result<bool, &str>)> = vec![
        ("app", "sslmode=disable".into(), Ok(false)),
        ("app", "sslmode=allow".into(), Ok(false)),
        ("app", "".into(), Ok(true)), // prefer
        ("app", "sslmode=require".into(), Ok(true)),
        ("app", format!("sslmode=require host={socket}"), Ok(false)), // never over a socket
        ("app", format!("sslmode=require sslrootcert={right}"), Ok(true)),
        ("app", format!("sslmode=require sslrootcert={wrong}"), Err("UnknownIssuer")),
        ("app", format!("sslmode=prefer sslrootcert={wrong}"), Ok(false)),
        ("app", format!("sslmode=verify-ca sslrootcert={right}"), Ok(true)),
        ("app", format!("sslmode=verify-ca sslrootcert={wrong}"), Err("UnknownIssuer")),
        ("app", format!("sslmode=verify-full sslrootcert={right}"), Err("not valid for name \"127.0.0.1\"")),
        ("app", format!("sslmode=verify-full sslrootcert={right} host=localhost"), Ok(true)),
        ("app", format!("sslmode=verify-full sslrootcert={wrong} host=localhost"), Err("UnknownIssuer")),
        ("app", format!("sslmode=verify-ca sslrootcert={empty}"), Err("it holds no certificate")),
        ("app", "sslmode=require sslrootcert=/nowhere/x".into(), Err("sslrootcert /nowhere/x: No such file")),
        ("tls_only", "sslmode=disable".into(), Err("pg_hba.conf")),
        ("tls_only", "sslmode=allow".into(), Ok(true)),
        ("tls_only", "sslmode=prefer".into(), Ok(true)),
        ("plain_only", "sslmode=allow".into(), Ok(false)),
        ("plain_only", "sslmode=prefer".into(), Ok(false)),
        ("plain_only", "sslmode=require".into(), Err("pg_hba.conf")),
        ("secretive", "password=hunter2 channel_binding=require sslmode=require".into(), Ok(true)),
        ("secretive", "password=hunter2 channel_binding=require sslmode=disable".into(), Err("channel binding")),
        ("secretive", "password=wrong".into(), Err("password authentication failed")),
    ];
    for (user, rest, expected) in cases {
        let got = postgres.ask(user, &rest).await;
        match (&got, expected) {
            (Ok(encrypted), Ok(wanted)) if *encrypted == wanted => {}
            (Err(error), Err(part)) if error.contains(part) && !error.contains("hunter2") => {}
            _ => panic!("{user} {rest}: {got:?}, expected {expected:?}"),
        }
    }
    // The machine's own authorities know nothing of ours, if it has any.
    for mode in ["sslmode=verify-ca", "sslmode=verify-full", "sslrootcert=system"] {
        let error = postgres.ask("app", &format!("{mode} host=localhost")).await.expect_err(mode);
        assert!(error.contains("UnknownIssuer") || error.contains("no trusted root"), "{mode}: {error}");
    }

    // As in Postgres' manual: one self-signed certificate, an authority by its extensions, is server and root at once.
    let mut params = names();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let own_root = params.self_signed(&key).expect("signs").pem();
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let expired = params.self_signed(&key).expect("signs").pem();
    let file = postgres.cluster.root().join("self.pem");
    for (pem, trusted) in [(own_root, true), (expired, false)] {
        std::fs::write(&file, &pem).expect("our own directory");
        write_pair(&postgres.data(), &pem, &key.serialize_pem());
        postgres.signal(libc::SIGHUP);
        let ask = |mode: &'static str, host: &'static str| {
            let rest = format!("sslmode={mode} sslrootcert={} host={host}", file.display());
            let postgres = &postgres;
            async move { postgres.ask("app", &rest).await }
        };
        let told = if trusted { "it is trusted" } else { "it is refused" };
        wait_until(told, async || match ask("verify-full", "localhost").await {
            Ok(encrypted) => trusted && encrypted,
            Err(error) => !trusted && error.contains("xpired"),
        })
        .await;
        assert_eq!(ask("verify-ca", "127.0.0.1").await.is_ok(), trusted);
        assert!(ask("verify-full", "127.0.0.1").await.is_err());
    }
    let stranger = format!("sslmode=verify-ca sslrootcert={wrong}");
    assert!(postgres.ask("app", &stranger).await.is_err());
}

#[tokio::test]
async fn a_server_without_tls_is_used_plain_or_not_at_all() {
    let db = super::notes().await;
    let proxy = db.proxy().await;
    for (mode, fine) in [("disable", true), ("allow", true), ("prefer", true), ("require", false)] {
        let address = format!("postgres://app@{}/{}?sslmode={mode}", proxy.addr(), db.name);
        match check(&Config::default(), &url(&address)).await {
            Ok(checked) => assert!(fine && !checked.encrypted, "{mode}"),
            Err(error) => assert!(!fine && error.to_string().contains("does not support TLS"), "{mode}: {error}"),
        }
    }
}
