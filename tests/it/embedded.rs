//! The private Postgres: who may use it, what is left of it, what a killed owner leaves behind.

use rowcast::embedded::{Embedded, EmbeddedError, Mode, Options};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::kit::{Binary, Dir, OwnCluster, PATIENCE, TestDb, cluster, patiently};

fn options(root: std::path::PathBuf) -> Options {
    Options { root, durable: false, settings: vec![("shared_buffers".into(), "16MB".into())] }
}

async fn ask(url: &str, sql: &str) -> String {
    let mut c = PgConnection::connect(url).await.unwrap_or_else(|e| panic!("{e} at {url}"));
    let answer =
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut c).await.unwrap_or_else(|e| panic!("{e} in {sql}"));
    c.close().await.expect("a session ends");
    answer
}

#[tokio::test]
async fn one_url_is_understood_by_sqlx_tokio_postgres_and_psql() {
    let db = TestDb::bare().await;
    let pg = cluster();
    let who = "select current_database() || ' ' || current_user";
    let expected = format!("{} rowcast", db.name);
    let url = pg.url(&db.name);

    assert_eq!(ask(&url, who).await, expected);

    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect(&url);
    tokio::spawn(connection);
    assert_eq!(client.query_one(who, &[]).await.expect(who).get::<_, String>(0), expected);

    let line = format!("{} -Atc \"{who}\"", pg.psql(&db.name));
    for line in [line, format!("psql '{url}' -Atc \"{who}\"")] {
        let psql = tokio::process::Command::new("sh").arg("-c").arg(&line).env("PGPORT", "1").output();
        let out = patiently(&line, psql).await.expect("there is a shell");
        assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), expected, "{line}: {out:?}");
    }
}

#[tokio::test]
async fn a_strange_and_long_path_works() {
    let dir = Dir::new("strange");
    for name in ["a b,c%\"'d", &"long".repeat(30)] {
        let pg = Embedded::start(options(dir.path().join(name))).expect(name);
        assert_eq!(ask(&pg.url("postgres"), "select 'here'").await, "here");
        let line = format!("{} -Atc 'select 1'", pg.psql("postgres"));
        let out = patiently("psql", tokio::process::Command::new("sh").arg("-c").arg(&line).output()).await;
        assert_eq!(out.expect("there is a shell").stdout, b"1\n", "{line}");
        pg.remove().expect("our own cluster");
    }
}

#[tokio::test]
async fn a_second_owner_is_refused_and_the_first_goes_on() {
    let dir = Dir::new("two");
    let first = Embedded::start(options(dir.path().join("pg"))).expect("a free directory");
    let refused = Embedded::start(options(dir.path().join("pg"))).expect_err("the directory is taken");
    assert!(matches!(refused, EmbeddedError::InUse { pid: Some(pid), .. } if pid == std::process::id()), "{refused}");
    assert!(refused.to_string().contains("in use"), "{refused}");
    assert_eq!(ask(&first.url("postgres"), "select 'still here'").await, "still here");
}

#[tokio::test]
async fn what_a_killed_owner_left_running_is_replaced_and_its_data_kept() {
    let dir = Dir::new("leftover");
    let root = dir.path().join("pg");
    let owner = Binary::of_test("embedded::an_owner_to_be_killed").env("OWNED_ROOT", &root.to_string_lossy());
    let mut owner = owner.start();
    let url = owner.line_with("postgres://").await;
    let mut c = PgConnection::connect(&url).await.expect("it runs");
    sqlx::raw_sql("create table kept as select 'mark' as word").execute(&mut c).await.expect("a new table");
    owner.kill9().await;
    sqlx::raw_sql("select 1").execute(&mut c).await.expect("the server outlives its owner");

    let second = Embedded::start(options(root)).expect("the leftover gives way");
    assert!(patiently("the old session's end", sqlx::raw_sql("select 1").execute(&mut c)).await.is_err());
    assert_eq!(second.url("postgres"), url);
    assert_eq!(ask(&url, "select word from kept").await, "mark");
}

/// Not a test: the process that the test above kills.
#[test]
#[ignore]
fn an_owner_to_be_killed() {
    let Some(root) = std::env::var_os("OWNED_ROOT") else { return };
    let pg = Embedded::start(options(root.into())).expect("a free directory");
    println!("{}", pg.url("postgres"));
    // Ends with the test that waits for it to die, should that forget to kill it.
    std::thread::park_timeout(2 * PATIENCE);
}

#[tokio::test]
async fn data_outlives_every_way_to_end() {
    let pg = OwnCluster::start();
    let url = pg.url("postgres");
    let mut c = PgConnection::connect(&url).await.expect("it runs");
    sqlx::raw_sql("create table n (i int)").execute(&mut c).await.expect("a new table");
    c.close().await.expect("a session ends");
    for (i, mode) in [Mode::Smart, Mode::Fast, Mode::Immediate, Mode::Kill9].into_iter().enumerate() {
        ask(&url, &format!("insert into n values ({i}) returning 'ok'")).await;
        let before = pg.pid();
        pg.restart(mode).unwrap_or_else(|e| panic!("{mode:?}: {e}"));
        assert_ne!(pg.pid(), before);
        assert_eq!(ask(&url, "select count(*)::text from n").await, (i + 1).to_string(), "{mode:?}");
    }
    pg.stop(Mode::Fast);
    assert_eq!(pg.pid(), None);
    assert!(PgConnection::connect(&url).await.is_err());
    pg.restart(Mode::Fast).expect("a stopped cluster starts");
    assert_eq!(ask(&url, "select count(*)::text from n").await, "4");
}

/// A checkout in root's home: 0700, so the user that Postgres runs as cannot walk there.
#[tokio::test]
async fn a_closed_parent_moves_the_cluster_and_says_so() {
    let dir = Dir::new("closed");
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("our directory");
    let root = dir.path().join("home/pg");
    let pg = Embedded::start(options(root.clone())).expect("a directory is found");
    assert_eq!(ask(&pg.url("postgres"), "select 'here'").await, "here");
    // SAFETY: geteuid has no preconditions.
    let moved = unsafe { libc::geteuid() } == 0;
    assert_eq!(pg.relocated_from(), moved.then_some(&*root.canonicalize().expect("it was made")));
    assert_eq!(pg.root().starts_with(dir.path()), !moved);
    let (place, url) = (pg.root().to_owned(), pg.url("postgres"));
    drop(pg);
    let again = Embedded::start(options(root)).expect("the same one again");
    assert_eq!((again.root(), again.url("postgres")), (&*place, url));
    again.remove().expect("our own cluster");
    assert!(!place.exists());
}

#[tokio::test]
async fn a_bad_setting_is_reported_in_the_words_of_postgres() {
    let dir = Dir::new("bad");
    let mut options = options(dir.path().join("pg"));
    options.settings.push(("shared_bufers".into(), "1".into()));
    let e = Embedded::start(options).expect_err("no such setting");
    assert!(matches!(&e, EmbeddedError::Failed { log, .. } if log.contains("shared_bufers")), "{e}");
}
