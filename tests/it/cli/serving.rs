use std::path::PathBuf;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{migrated, ok, refused};
use crate::kit::ws::{Client, Frame};
use crate::kit::{Binary, Running, TestDb, http_client, wait_until};

#[tokio::test]
async fn serve_wants_a_migrated_database_and_a_free_address() {
    let bare = TestDb::bare().await;
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    let errors = refused(&Binary::new(&serve).env("DATABASE_URL", &bare.url()).output().await, 1);
    assert!(errors.contains("hint: Run `rowcast migrate`"), "{errors}");

    let db = migrated().await;
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = holder.local_addr().expect("bound").to_string();
    let run = Binary::new(&["serve", "--listen", &taken]).env("DATABASE_URL", &db.url()).output().await;
    let errors = refused(&run, 1);
    assert!(errors.contains(&taken) && errors.contains("hint: ") && errors.contains("--listen"), "{errors}");
}

#[tokio::test]
async fn what_the_configuration_has_wrong_is_said_once_and_ends_with_2() {
    let db = migrated().await;
    for (file, want) in [
        ("[endpoint.x]\npath = '/ws/x'", "endpoint.x.channels: name at least one"),
        ("[provider.source.lunch]", "there is no provider \"lunch\""),
        ("[provider.source.simulated]\n[rates]\nrefresh_cron = 'now'", "[rates] refresh_cron: "),
        ("[auth]\njwt = true", "[auth] needs the secret key"),
        ("[auth]\njwt = true\nsecret_key_file = 'gone'", "No such file or directory"),
        ("[http]\ntls_cert_file = 'gone'\ntls_key_file = 'gone'", "No such file or directory"),
        ("[http]\nlisten = 'here'", "an address is HOST:PORT"),
    ] {
        let serve = Binary::new(&["serve"]).env("DATABASE_URL", &db.url()).file("rowcast.toml", file);
        let errors = refused(&serve.env("ROWCAST_LOG_LEVEL", "error").output().await, 2);
        assert_eq!(errors.matches(want).count(), 1, "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
    let nowhere = "postgres://app:s3cret@127.0.0.1:1/shop";
    let errors = refused(&Binary::new(&["serve"]).env("DATABASE_URL", nowhere).output().await, 1);
    assert!(errors.contains("refused") && !errors.contains("s3cret"), "{errors}");
}

#[tokio::test]
async fn serve_is_ready_when_it_says_so_and_ends_on_sigterm() {
    let db = migrated().await;
    let mut server =
        Binary::new(&["serve", "--listen", "127.0.0.1:0"]).env("DATABASE_URL", &db.url()).start().ready().await;
    let ready = http_client().get(server.http("/readyz")).send().await.expect("it listens");
    assert_eq!(ready.status(), 200);
    let address = server.url.trim_start_matches("http://").to_owned();
    ok(&Binary::new(&["healthcheck", "--listen", &address]).output().await);

    server.signal(libc::SIGTERM);
    assert_eq!(server.ended().await.code(), Some(0));
    let errors = refused(&Binary::new(&["healthcheck", "--listen", &address]).output().await, 1);
    assert!(errors.contains("nobody answers"), "{errors}");
}

/// Half open: it takes the connection and says nothing. Better ended, and started again by whoever supervises, than neither up nor down.
#[tokio::test]
async fn serve_does_not_wait_for_ever_for_a_silent_database() {
    let db = migrated().await;
    let proxy = db.proxy().await;
    proxy.blackhole();
    let serve = Binary::new(&["serve", "--listen", "127.0.0.1:0"])
        .env("DATABASE_URL", &db.url_through(&proxy))
        .env("ROWCAST_STORE_POOL_WAIT_MS", "500")
        .env("ROWCAST_STORE_STATEMENT_TIMEOUT_MS", "100");
    let errors = refused(&serve.output().await, 1);
    assert!(errors.contains("cannot be reached") && errors.contains("hint: "), "{errors}");
}

#[tokio::test]
async fn demo_takes_a_free_port_where_its_own_is_taken() {
    let db = TestDb::bare().await;
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = holder.local_addr().expect("bound").to_string();
    let mut demo = Binary::new(&["demo", "--listen", &taken]).env("DATABASE_URL", &db.url()).start();
    let first = demo.line().await.expect("a line");
    assert!(first.contains(&taken) && first.contains("free port"), "{first}");
    let mut demo = demo.ready().await;
    assert!(!demo.url.ends_with(&taken));
    let mut said = String::new();
    while !said.contains("Ctrl-C") {
        said.push_str(&demo.line().await.expect("what to do"));
    }
    for part in [&format!("{}/rates", demo.url), "psql \"$DATABASE_URL\"", "update rowcast_fx.rates set rate"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let page = http_client().get(demo.http("/rates")).send().await.expect("it listens");
    assert_eq!(page.status(), 200);
    demo.signal(libc::SIGINT);
    assert_eq!(demo.ended().await.code(), Some(0));
}

#[tokio::test]
async fn demo_does_not_overwrite_rates_that_are_real() {
    let db = migrated().await;
    db.exec(
        "insert into rowcast_fx.rates (source_currency, destination_currency, rate, sources) values ('USD', 'NGN', 1, '{ecb}')",
    )
    .await;
    let run = Binary::new(&["demo", "--listen", "127.0.0.1:0"]).env("DATABASE_URL", &db.url()).output().await;
    let errors = refused(&run, 1);
    assert!(errors.contains("of other providers") && errors.contains("hint: "), "{errors}");
}

/// Where the private Postgres of a running demo notes its pid while it lives.
fn pid_file(demo: &Running) -> PathBuf {
    let url = std::fs::read_to_string(demo.dir().join(".rowcast/database_url")).expect("noted while it runs");
    let root = url.split(['=', '&']).nth(1).expect("postgres:///postgres?host=DIR&…");
    PathBuf::from(root).join("data/postmaster.pid")
}

#[tokio::test]
async fn demo_brings_its_own_postgres_and_takes_it_along() {
    let mut demo = Binary::new(&["demo", "--listen", "127.0.0.1:0"]).start();
    let first = demo.line().await.expect("a line");
    assert!(first.contains("private Postgres") && first.contains("for development"), "{first}");
    let mut demo = demo.ready().await;
    let pid_file = pid_file(&demo);
    assert!(pid_file.exists());

    // The line that it says to type, as it stands, in a session like psql's; and an application's client sees it.
    let update = loop {
        let line = demo.line().await.expect("what to do");
        if let Some(at) = line.find("update ") {
            break line[at..].to_owned();
        }
    };
    assert!(update.starts_with("update rates set rate"), "{update}");
    let mut client = Client::connect(&format!("{}/ws/rates/", demo.url.replacen("http", "ws", 1))).await;
    let url = std::fs::read_to_string(demo.dir().join(".rowcast/database_url")).expect("noted while it runs");
    let mut psql = PgConnection::connect(url.trim()).await.expect("it runs");
    wait_until("a refresh has been", async || {
        sqlx::raw_sql(AssertSqlSafe(update.as_str())).execute(&mut psql).await.expect("it works").rows_affected() == 1
    })
    .await;
    let typed: String = sqlx::query_scalar("select inverse::text from rates where held_until > now()")
        .fetch_one(&mut psql)
        .await
        .expect("one is held");
    let told = |frame: Frame| frame.value.pointer("/data/rate/data/rate").map(ToString::to_string);
    while told(client.skip_to("rate_update").await).as_ref() != Some(&typed) {}
    client.close().await;
    psql.close().await.expect("a session ends");
    demo.signal(libc::SIGINT);
    assert_eq!(demo.ended().await.code(), Some(0));
    assert!(!pid_file.exists(), "Postgres has ended in order");
    assert!(!demo.dir().join(".rowcast/database_url").exists());
}

#[tokio::test]
async fn a_signal_while_the_private_postgres_starts_leaves_none_behind() {
    let mut demo = Binary::new(&["demo", "--listen", "127.0.0.1:0"]).start();
    let noted = demo.dir().join(".rowcast/database_url");
    let is_noted = async || std::fs::read_to_string(&noted).is_ok_and(|url| url.ends_with('\n'));
    wait_until("Postgres runs", is_noted).await;
    let pid_file = pid_file(&demo);
    demo.signal(libc::SIGTERM);
    assert_eq!(demo.ended().await.code(), Some(0));
    assert!(!pid_file.exists(), "Postgres has ended in order");
}
