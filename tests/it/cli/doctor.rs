use serde_json::Value;
use sqlx::Connection as _;

use super::{json_lines, migrated, ok, refused, rowcast, text};
use crate::kit::{Binary, TestDb};

fn verdict<'a>(findings: &'a [Value], name: &str) -> (&'a str, String) {
    let found =
        findings.iter().find(|f| f["name"] == name).unwrap_or_else(|| panic!("nothing on {name}: {findings:#?}"));
    let said = format!("{} {}", found["detail"].as_str().unwrap_or(""), found["hint"].as_str().unwrap_or(""));
    (found["verdict"].as_str().expect("a verdict"), said)
}

#[tokio::test]
async fn a_healthy_database_passes_with_its_times() {
    let db = migrated().await;
    db.exec("create table orders (id int primary key); select rowcast.watch('orders', 'orders:{id}')").await;
    let run = rowcast(&db, &["doctor"]).await;
    let findings = ok(&run);
    for name in
        ["database", "version", "tls", "primary", "rights", "schema", "capture", "table public.orders", "round trip"]
    {
        assert_eq!(verdict(&findings, name).0, "ok", "{name}: {findings:#?}");
    }
    assert!(verdict(&findings, "round trip").1.contains(" ms"));
    // Nobody serves it, which is worth a word.
    let (word, said) = verdict(&findings, "listener");
    assert!(word == "warn" && said.contains("rowcast serve"), "{said}");
}

#[tokio::test]
async fn each_defect_is_named_with_its_cure() {
    let db = migrated().await;
    db.exec(
        "create table gone (id int); create table still (id int); create table lost (id int); create table fine (id int);
         select rowcast.watch(t::regclass, t || ':{id}') from unnest('{gone,still,lost,fine}'::text[]) t",
    )
    .await;
    let trigger = "select tgname from pg_trigger where tgrelid = 'still'::regclass and tgname like '%update'";
    let trigger = db.text(&trigger.replace("tgname from", "tgname::text from")).await;
    db.exec("drop table gone").await;
    db.exec(&format!("alter table still disable trigger \"{trigger}\"")).await;
    db.exec("do $$ begin execute (select format('drop trigger %I on lost', tgname) from pg_trigger where tgrelid = 'lost'::regclass limit 1); end $$")
        .await;
    db.exec("select setval('rowcast.lease', 1)").await;
    let run = rowcast(&db, &["doctor", "--json"]).await;
    assert_eq!(run.status.code(), Some(1));
    let findings = json_lines(&run);
    for (name, word, said) in [
        ("table public.gone", "warn", "dropped"),
        ("table public.still", "fail", "enable always trigger"),
        ("table public.lost", "fail", "not there"),
        ("table public.fine", "ok", "fine:{id}"),
        ("capture", "fail", "rowcast serve"),
    ] {
        let (found, text) = verdict(&findings, name);
        assert!(found == word && text.contains(said), "{name}: {found} {text}");
    }
}

#[tokio::test]
async fn too_many_powers_and_strange_holders_are_named() {
    let db = migrated().await;
    let (role, stranger) = (format!("doctor_{}", db.name), format!("holder_{}", db.name));
    db.admin_exec(&format!(
        "create role {stranger} login;
         create role {role} login createdb bypassrls in role app, pg_read_all_settings, pg_read_server_files"
    ))
    .await;
    let powers = async |url: String| {
        let run = Binary::new(&["doctor", "--json"]).env("DATABASE_URL", &url).output().await;
        let findings = json_lines(&run);
        let (word, said) = verdict(&findings, "powers");
        (word.to_owned(), said)
    };
    let (word, said) = powers(db.url_as(&role)).await;
    let named = ["bypassrls", "createdb", "pg_read_server_files"];
    assert!(word == "warn" && named.iter().all(|power| said.contains(power)), "{said}");
    let (word, said) = powers(db.admin_url()).await;
    assert!(word == "warn" && said.contains("superuser") && !said.contains("pg_read_server_files"), "{said}");

    // Any role can take an advisory lock; a writer's own lasts only as long as its transaction.
    let mut held = sqlx::PgConnection::connect(&db.url_as(&stranger)).await.expect("may connect");
    for (sql, word) in [
        ("select pg_advisory_lock(1381257, 2)", "warn"),
        ("select pg_advisory_unlock_all()", "ok"),
        ("select pg_advisory_lock(1381257, 1)", "warn"),
    ] {
        sqlx::raw_sql(sql).execute(&mut held).await.expect("any role may");
        let run = rowcast(&db, &["doctor", "--json"]).await;
        let findings = json_lines(&run);
        let (found, said) = verdict(&findings, "locks");
        assert_eq!((found, said.contains(&stranger)), (word, word == "warn"), "{sql}: {said}");
    }
}

#[tokio::test]
async fn what_is_missing_altogether_is_said_first() {
    let db = TestDb::bare().await;
    let run = rowcast(&db, &["doctor"]).await;
    assert_eq!(run.status.code(), Some(1));
    let findings = json_lines(&run);
    let (word, said) = verdict(&findings, "schema");
    assert!(word == "fail" && said.contains("rowcast migrate"), "{said}");

    let url = "postgres://someone:s3cret@127.0.0.1:1/db";
    let run = Binary::new(&["doctor"]).env("DATABASE_URL", url).output().await;
    assert_eq!(run.status.code(), Some(1));
    let said = text(&run.stdout);
    assert!(said.contains("refused") && !said.contains("s3cret"), "{said}");
    assert!(text(&run.stderr).is_empty());
    refused(&Binary::new(&["doctor", "--nonsense"]).output().await, 2);
}
