use serde_json::json;

use super::{migrated, ok, refused, rowcast};
use crate::kit::{Binary, TestDb};

#[tokio::test]
async fn migrate_says_what_it_did_and_does_it_once() {
    let db = TestDb::bare().await;
    let first = &ok(&rowcast(&db, &["migrate"]).await)[0];
    assert_eq!(first["applied"].as_array().map(Vec::len), first["total"].as_u64().map(|n| n as usize), "{first}");
    let second = &ok(&rowcast(&db, &["migrate"]).await)[0];
    assert_eq!(second["applied"], json!([]));
}

#[tokio::test]
async fn migrate_without_the_right_says_which_right() {
    let db = TestDb::bare().await;
    db.admin_exec("create role nobody_special login").await;
    let run = Binary::new(&["migrate"]).env("DATABASE_URL", &db.url_as("nobody_special")).output().await;
    db.admin_exec("drop role nobody_special").await;
    let errors = refused(&run, 1);
    assert!(errors.contains("permission denied") && errors.contains("\nhint: "), "{errors}");
    assert!(errors.contains("right"), "{errors}");
}

#[tokio::test]
async fn watch_and_unwatch_do_what_the_functions_do() {
    let db = migrated().await;
    db.exec("create table orders (id int primary key, status text, secret text)").await;
    let watch = ["watch", "orders", "orders:{id}", "--columns", "id,status", "--when", "new.status <> 'draft'"];
    let more = ["--operations", "insert,update", "--event", "changed", "--no-bell"];
    ok(&rowcast(&db, &[&watch[..], &more[..]].concat()).await);
    let route = db
        .text(
            "select row_to_json(x)::text from (select template, r.event, r.operations, r.columns, \"when\", bell, bulk
               from rowcast.route r join rowcast.source s on s.id = r.source where until is null) x",
        )
        .await;
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&route).expect("JSON"),
        json!({"template": "orders:{id}", "event": "changed", "operations": ["insert", "update"],
               "columns": ["id", "status"], "when": "new.status <> 'draft'", "bell": false, "bulk": false})
    );

    let gone = &ok(&rowcast(&db, &["unwatch", "orders", "orders:{id}"]).await)[0];
    assert_eq!(gone["routes"], 1);
    assert_eq!(db.text("select count(*)::text from pg_trigger where tgrelid = 'orders'::regclass").await, "0");
    assert_eq!(ok(&rowcast(&db, &["unwatch", "orders"]).await)[0]["routes"], 0);
}

#[tokio::test]
async fn what_postgres_refuses_is_said_in_its_words_with_a_hint() {
    let db = migrated().await;
    db.exec("create table orders (id int primary key)").await;
    for (args, said) in [
        (&["watch", "nowhere", "a:{id}"][..], "relation \"nowhere\" does not exist"),
        (&["watch", "orders", "a:{nope}"], "column nope"),
        (&["watch", "orders", "a:{id}", "--when", "new.nope > 1"], "nope"),
        (&["send", "", "e"], "a channel name must not be empty"),
    ] {
        let errors = refused(&rowcast(&db, args).await, 1);
        assert!(errors.starts_with("rowcast: ") && errors.contains(said), "{args:?}: {errors}");
        assert!(errors.lines().count() <= 2, "a sentence and a hint: {errors}");
    }
    let bare = TestDb::bare().await;
    let errors = refused(&rowcast(&bare, &["send", "a", "b"]).await, 1);
    assert!(errors.contains("hint: Run `rowcast migrate`"), "{errors}");
}

#[tokio::test]
async fn send_keeps_the_digits_of_its_payload() {
    let db = migrated().await;
    ok(&rowcast(&db, &["send", "prices", "changed", r#"{"p": 10.50}"#]).await);
    ok(&rowcast(&db, &["send", "prices", "gone"]).await);
    let sent =
        db.texts("select concat_ws(' ', channel, event, new) from rowcast.event where op = 's' order by id").await;
    assert_eq!(sent, [Some(r#"prices changed {"p": 10.50}"#.into()), Some("prices gone null".into())]);
}

#[tokio::test]
async fn wrong_usage_is_2_and_no_error_shows_a_password() {
    let unreachable = "postgres://someone:s3cret@127.0.0.1:1/db";
    for (args, url, code) in [
        (&["fly"][..], unreachable, 2),
        (&["send", "a", "b", "{broken"], unreachable, 2),
        (&["migrate"], "mysql://someone:s3cret@127.0.0.1/db", 2),
        (&["migrate", "--config", "not-there.toml"], unreachable, 2),
        (&["migrate", "-v", "--listen", "nonsense"], unreachable, 1),
        (&["migrate"], unreachable, 1),
    ] {
        let errors = refused(&Binary::new(args).env("DATABASE_URL", url).output().await, code);
        assert!(!errors.is_empty() && !errors.contains("s3cret"), "{args:?}: {errors}");
    }
    let errors = refused(&Binary::new(&["migrate"]).output().await, 2);
    assert!(errors.contains("hint: Set DATABASE_URL"), "{errors}");
}
