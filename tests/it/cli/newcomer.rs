//! What the README has somebody do with a table of his own, and what the program says where a step is left out.

use super::{migrated, ok, rowcast, text};
use crate::kit::Binary;

const WATCH: &str = "select rowcast.watch('orders', 'orders:{id}')";
const OPEN: &str = "select rowcast.define_access('orders:{id}', everyone => true)";

#[tokio::test]
async fn a_table_is_watched_opened_and_followed_by_the_readmes_own_lines() {
    let readme = include_str!("../../../README.md");
    assert!([WATCH, OPEN].iter().all(|line| readme.contains(line)), "the README has other lines");
    let db = migrated().await;
    db.exec("create table orders (id bigint primary key, status text)").await;
    let closed =
        |args: &[&str]| Binary::new(args).env("DATABASE_URL", &db.url()).env("ROWCAST_CONNECTION_OPEN", "false");
    let server = closed(&["serve", "--listen", "127.0.0.1:0"]).start().ready().await;
    db.exec(WATCH).await;
    // Without the second line: the refusal is that line.
    let run = closed(&["tail", "orders:42", "--url", &server.url]).output().await;
    let errors = text(&run.stderr);
    assert!(!run.status.success() && errors.contains("select rowcast.define_access("), "{errors}");
    let findings = text(&closed(&["doctor", "--json"]).output().await.stdout);
    assert!(findings.contains("nobody may listen to orders:{id}") && findings.contains(OPEN), "{findings}");

    db.exec(OPEN).await;
    let findings = text(&closed(&["doctor", "--json"]).output().await.stdout);
    assert!(findings.contains("something says who may listen to each watched channel"), "{findings}");
    let mut tail = closed(&["tail", "orders:42", "--snapshot", "--count", "1", "--url", &server.url]).start();
    assert!(tail.line().await.expect("a frame").contains("\"snapshot\""));
    db.exec("insert into orders values (42, 'new')").await;
    assert!(tail.line().await.expect("a frame").contains("\"status\":\"new\""));
    // A rule that cannot be asked is found before its users find it.
    db.exec(
        "create table owners (id bigint, who text);
         select rowcast.define_access('orders:{id}', allow => 'exists (select from owners where id = {id}::bigint and who = rowcast.user_id())');
         drop table owners",
    )
    .await;
    let findings = text(&closed(&["doctor", "--json"]).output().await.stdout);
    let line = findings.lines().find(|line| line.contains("\"access listen orders:{id}\"")).unwrap_or_default();
    assert!(line.contains("\"fail\"") && line.contains("owners"), "{findings}");
}

#[tokio::test]
async fn watching_says_nothing_on_stderr_whether_a_rule_stands_or_not() {
    let db = migrated().await;
    db.exec("create table orders (id bigint primary key, status text)").await;
    ok(&rowcast(&db, &["watch", "orders", "orders:{id}"]).await);
    let opened = async |channel: &str| db.text(&format!("select rowcast.opened('{channel}')::text")).await;
    assert_eq!(opened("orders:{id}").await, "false");
    db.exec("select rowcast.define_access('orders:{number}', everyone => true), rowcast.define_access('a.b:{x}:{y}'), rowcast.define_access('wide:{all}')")
        .await;
    db.exec("select rowcast.define_access('told', 'publish')").await;
    for (channel, want) in [
        ("orders:{id}", "true"),
        // Of the rule of a family, and of one that is none's.
        ("orders:{a}:{b}", "false"),
        ("wide:{a}:{b}", "true"),
        ("orders", "false"),
        ("a.b:{p}:{q}", "true"),
        ("axb:{p}:{q}", "false"),
        ("told", "false"),
    ] {
        assert_eq!(opened(channel).await, want, "{channel}");
    }
}
