//! `rowcast bench` on somebody's Postgres: it measures, and leaves nothing behind.

use std::time::Duration;

use serde_json::Value;

use super::refused;
use crate::kit::{Binary, OwnCluster, TestDb, wait_until};

const SHORT: [&str; 7] = ["bench", "--seconds", "1", "--writers", "1,3", "--clients", "20"];

/// A dozen measurements of a second, and a machine that does other things meanwhile.
const LONGEST: Duration = Duration::from_secs(240);

/// A cluster with a role that may create databases, as a careful owner would give it; and its URL.
async fn cluster() -> (OwnCluster, String) {
    let cluster = OwnCluster::start();
    let db = TestDb::at(&cluster, "postgres");
    db.admin_exec("create role bencher login createdb").await;
    let url = db.url_as("bencher");
    (cluster, url)
}

/// Everything in the cluster that outlives a session.
async fn inventory(cluster: &OwnCluster) -> Vec<Option<String>> {
    TestDb::at(cluster, "postgres")
        .texts(
            "select 'database ' || datname from pg_database union all select 'role ' || rolname from pg_roles
             union all select 'member ' || roleid || ' ' || member from pg_auth_members
             union all select 'table ' || oid::regclass from pg_class where relkind in ('r', 'S', 'v') order by 1",
        )
        .await
}

#[track_caller]
fn finite(value: &Value, path: &str) -> f64 {
    let number = value.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {path} in {value}"));
    assert!(number.is_finite() && number > 0.0, "{path} is {number}");
    number
}

#[tokio::test]
async fn a_short_bench_measures_everything_and_leaves_nothing_behind() {
    let (cluster, url) = cluster().await;
    let before = inventory(&cluster).await;
    let mut run = Binary::new(&[&SHORT[..], &["--yes", "--json"]].concat()).env("DATABASE_URL", &url).start();
    let status = run.ended_within(LONGEST).await;
    let errors = run.errors().await;
    assert!(status.success(), "{errors}");
    let report: Value = serde_json::from_str(&run.output().await).expect("one JSON object");
    for n in 0..2 {
        for name in ["unwatched_per_s", "watched_per_s", "ratio"] {
            finite(&report, &format!("/writers/{n}/{name}"));
        }
        for name in ["unwatched_ms", "watched_ms", "by_statement_ms", "watched_ratio", "by_statement_ratio"] {
            finite(&report, &format!("/bulk/{n}/{name}"));
        }
    }
    assert_eq!(report["latency"]["clients"], 20);
    assert!(finite(&report, "/latency/commit/p50_ms") <= finite(&report, "/latency/commit/p99_ms"));
    finite(&report, "/latency/whole/p50_ms");
    finite(&report, "/fanout/steps/0/changes_per_s");
    assert_eq!(report["fanout"]["clients"], 20);
    // In a pipe a line for each phase, and no bar.
    assert!(errors.contains("3 writers") && errors.contains("fan-out to 20 clients"), "{errors}");
    assert!(!errors.contains('\r') && !errors.contains('\u{1b}'), "{errors:?}");
    assert_eq!(inventory(&cluster).await, before);
}

#[tokio::test]
async fn an_interrupted_bench_leaves_nothing_behind() {
    let (cluster, url) = cluster().await;
    let before = inventory(&cluster).await;
    // As a role that may make others: the migrations then make one, too.
    let admin = TestDb::at(&cluster, "postgres").admin_url();
    for (url, phase) in [(&url, "starting a server"), (&admin, "1 writer")] {
        let mut run = Binary::new(&[&SHORT[..], &["--yes"]].concat()).env("DATABASE_URL", url).start();
        run.error_with(phase, LONGEST).await;
        let beside = TestDb::at(&cluster, "postgres");
        let there = || async {
            beside.texts("select datname::text from pg_database where datname = 'rowcast_bench'").await.len() == 1
        };
        wait_until("the bench's database", there).await;
        run.signal(libc::SIGINT);
        assert_eq!(run.ended().await.code(), Some(1));
        let errors = run.errors().await;
        assert!(errors.contains("stopped before the end"), "{errors}");
        assert_eq!(inventory(&cluster).await, before, "interrupted at {phase}");
    }
}

/// What a killed bench cannot take back it leaves to be seen: the database, but no server.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_killed_bench_takes_its_server_with_it() {
    let (cluster, url) = cluster().await;
    let mut run = Binary::new(&[&SHORT[..], &["--yes"]].concat()).env("DATABASE_URL", &url).start();
    run.error_with("1 writer", LONGEST).await;
    run.kill9().await;
    let beside = TestDb::at(&cluster, "postgres");
    let nobody = || async {
        beside.texts("select pid::text from pg_stat_activity where datname = 'rowcast_bench' and backend_type = 'client backend'")
            .await
            .is_empty()
    };
    wait_until("its sessions end", nobody).await;
    let errors = refused(&Binary::new(&[&SHORT[..], &["--yes"]].concat()).env("DATABASE_URL", &url).output().await, 1);
    assert!(errors.contains("or one was killed") && errors.contains("drop database rowcast_bench"), "{errors}");
}

#[tokio::test]
async fn a_bench_refuses_what_a_careful_owner_would() {
    let (cluster, url) = cluster().await;
    let db = TestDb::at(&cluster, "postgres");
    let bench = async |args: &[&str], url: &str, code| {
        refused(&Binary::new(&[&SHORT[..], args].concat()).env("DATABASE_URL", url).output().await, code)
    };
    let before = inventory(&cluster).await;

    let errors = bench(&[], &url, 2).await;
    assert!(errors.contains("nobody is here to agree") && errors.contains("hint: Say --yes"), "{errors}");
    let errors = bench(&["--yes"], &db.url_as("app"), 1).await;
    assert!(errors.contains("role app may not create databases") && errors.contains("createdb"), "{errors}");
    let errors = bench(&["--yes", "--writers", "200"], &url, 1).await;
    assert!(errors.contains("connections left") && errors.contains("hint: Ask for fewer --writers"), "{errors}");
    let errors = bench(&["--yes"], "postgres://nobody@127.0.0.1:1/x?sslmode=disable", 1).await;
    assert!(errors.contains("cannot connect to 127.0.0.1:1") && errors.contains("hint: "), "{errors}");
    assert_eq!(inventory(&cluster).await, before);

    // What is there already is somebody's, even where the name is ours.
    db.admin_exec("create database rowcast_bench owner bencher").await;
    let before = inventory(&cluster).await;
    let errors = bench(&["--yes"], &url, 1).await;
    assert!(errors.contains("there is a database rowcast_bench already") && errors.contains("hint: "), "{errors}");
    assert_eq!(inventory(&cluster).await, before);
}

#[tokio::test]
async fn without_a_database_it_measures_a_private_one() {
    let mut run = Binary::new(&["bench", "--seconds", "1", "--writers", "2", "--clients", "5"]).start();
    let status = run.ended_within(LONGEST).await;
    let (errors, report) = (run.errors().await, run.output().await);
    assert!(status.success(), "{errors}");
    for part in
        ["a private one in ", "WRITERS", "A watched table takes ", "LATENCY: 5 clients", "FAN-OUT: 5 subscribers"]
    {
        assert!(report.contains(part), "no {part} in {report}");
    }
    assert!(!report.contains("NaN") && !report.contains("inf "), "{report}");
    assert!(!run.dir().join(".rowcast").exists(), "it took its cluster away");
}
