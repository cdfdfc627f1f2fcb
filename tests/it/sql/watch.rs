//! Routes: idempotent, versioned, and never crossed by an event.

use super::{captured, refusal, refused, run};
use crate::kit::{TestDb, wait_until};

const VERSIONS: &str = "select coalesce(string_agg(concat_ws(' ', id, template, event, columns, since, until), ', ' order by id), '') from rowcast.route";
const CHANGES: &str = "select count(*)::text from rowcast.event where op = 'c' and source = -1";

#[tokio::test]
async fn watching_again_does_nothing_where_nothing_differs() {
    let db = TestDb::new().await;
    db.exec("create table t (id int primary key, v text)").await;
    let call = r#"select rowcast.watch('t', 't:{id}', columns => '{v}', "when" => 'new.id > 0', operations => '{delete,insert,insert}')::text"#;
    let id = db.text(call).await;
    let before = (db.text(VERSIONS).await, db.text("select xmin::text from pg_proc where proname = 'capture_1'").await);
    assert_eq!(db.text(call).await, id);
    assert_eq!(
        (db.text(VERSIONS).await, db.text("select xmin::text from pg_proc where proname = 'capture_1'").await),
        before
    );
    assert_eq!(db.text(CHANGES).await, "1");
    // But what somebody took away is put back.
    db.exec(r#"drop trigger "00_rowcast_1_row" on t; alter table t disable trigger "00_rowcast_1_update""#).await;
    let broken = "select triggers_missing::text || triggers_disabled::text from rowcast.watched()";
    assert_eq!(db.text(broken).await, r#"{"public.t 00_rowcast_1_row"}{"public.t 00_rowcast_1_update"}"#);
    assert_eq!(db.text(call).await, id);
    assert_eq!(db.text(broken).await, "{}{}");
    assert_eq!(db.text(CHANGES).await, "1");
}

#[tokio::test]
async fn a_changed_route_is_a_new_version_and_the_old_one_ends_where_it_begins() {
    let db = TestDb::new().await;
    db.exec("create table t (id int, v text)").await;
    for call in ["", ", columns => '{v}'", ", event => 'e'", ", \"when\" => 'true'"] {
        db.exec(&format!("select rowcast.watch('t', 't:{{id}}'{call})")).await;
    }
    assert_eq!(db.text(VERSIONS).await, "1 t:{id} 1 2, 2 t:{id} {v} 2 4, 3 t:{id} e 3, 4 t:{id} 4");
    assert_eq!(db.text(CHANGES).await, "4");
    assert_eq!(db.text("select rowcast.unwatch('t', 'nothing')::text").await, "0");
    assert_eq!(db.text("select rowcast.unwatch('t', 't:{id}')::text").await, "2");
    assert_eq!(db.text("select rowcast.unwatch('t')::text").await, "0");
    assert_eq!(db.text(VERSIONS).await, "1 t:{id} 1 2, 2 t:{id} {v} 2 4, 3 t:{id} e 3 5, 4 t:{id} 4 5");
    assert_eq!(db.text(CHANGES).await, "5");
    let traces = "select (select count(*) from pg_trigger where tgname like '00\\_rowcast%') || ' ' || (select count(*) from rowcast.source)
                     || ' ' || (select count(*) from pg_proc where proname ~ '^capture_[0-9]')";
    assert_eq!(db.text(traces).await, "0 0 0");
    // A table watched anew is another source: the log still speaks of the old one.
    db.exec("select rowcast.watch('t', 't:{id}')").await;
    assert_eq!(db.text("select id::text from rowcast.source").await, "2");
}

#[tokio::test]
async fn a_failed_transaction_leaves_no_trace() {
    let db = TestDb::new().await;
    db.exec("create table t (id int)").await;
    db.exec("begin; select rowcast.watch('t', 't:{id}'); insert into t values (1); rollback; insert into t values (2)")
        .await;
    assert_eq!(db.text("select count(*)::text from rowcast.event").await, "0");
    assert_eq!(db.text("select count(*)::text from pg_trigger where tgname like '00\\_rowcast%'").await, "0");
}

#[tokio::test]
async fn watch_and_writers_of_one_table_take_turns() {
    let db = TestDb::new().await;
    db.exec("create table t (id int); select rowcast.watch('t', 'a')").await;
    let (mut writer, mut owner, mut late) = (db.connect().await, db.connect().await, db.connect().await);
    // A writer in flight: watch waits for it, and gives up in time with a sentence.
    run(&mut writer, "begin; insert into t values (1)").await;
    let e = sqlx::raw_sql("select rowcast.watch('t', 'b')").execute(&mut owner).await.expect_err("the table is locked");
    let r = refusal(&e);
    assert!(
        r.code == "RC008" && r.message.contains("public.t is busy") && r.hint.starts_with("Try again"),
        "{}",
        r.message
    );
    run(&mut writer, "commit").await;
    // And the other way round: who writes after watch() gets ids after it, and the new function.
    run(&mut owner, r#"begin; select rowcast.watch('t', 'b', "when" => 'new.id > 1')"#).await;
    let write = tokio::spawn(async move {
        run(&mut late, "insert into t values (2)").await;
    });
    wait_until("the writer waits", async || {
        db.text("select count(*)::text from pg_locks where relation = 't'::regclass and not granted").await == "1"
    })
    .await;
    run(&mut owner, "commit").await;
    write.await.expect("written");
    assert_eq!(captured(&db).await, [r#"i {"id":1}"#, r#"i {"id":2} {2}"#]);
    let order =
        "select (since < (select max(last_value) from rowcast.event_id))::text from rowcast.route where template = 'b'";
    assert_eq!(db.text(order).await, "true");
}

#[tokio::test]
async fn two_changes_of_the_configuration_do_not_cross() {
    let db = TestDb::new().await;
    db.exec("create table t (id int); create table u (id int)").await;
    let mut first = db.connect().await;
    run(&mut first, "begin; select rowcast.watch('t', 'a')").await;
    let r = super::refused(&db, "select rowcast.watch('u', 'b')").await;
    assert!(r.code == "RC008" && r.message.contains("another transaction is changing"), "{}", r.message);
    run(&mut first, "commit").await;
    db.exec("select rowcast.watch('u', 'b')").await;
}

#[tokio::test]
async fn a_migration_creates_watches_and_writes_in_one_transaction() {
    let db = TestDb::new().await;
    db.exec(
        "begin; create table t (id int); insert into t values (0); select rowcast.watch('t', 't:{id}'); insert into t values (1);
         alter table t add column v text; update t set v = 'x' where id = 1; commit",
    )
    .await;
    assert_eq!(captured(&db).await, [r#"i {"id":1}"#, r#"u {"id":1,"v":"x"} < {"id":1,"v":null}"#]);
}

#[tokio::test]
async fn everything_that_users_meet_says_what_it_is() {
    let db = TestDb::new().await;
    db.exec("create table t (id int); select rowcast.watch('t', 't')").await;
    let silent = "
        select coalesce(string_agg(what, ', '), '') from (
          select p.oid::regprocedure::text as what from pg_proc p
           where p.pronamespace = 'rowcast'::regnamespace and obj_description(p.oid, 'pg_proc') is null
          union all
          select c.oid::regclass::text from pg_class c
           where c.relnamespace = 'rowcast'::regnamespace and c.relkind in ('r', 'p', 'S', 'v') and not c.relispartition
             and c.relname !~ '(_id_seq|^_migration)$' and c.relname <> '_migration' and obj_description(c.oid, 'pg_class') is null
          union all
          select c.oid::regclass::text || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
           where c.relnamespace = 'rowcast'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition and a.attnum > 0
             and c.relname <> '_migration' and a.attname not in ('one') and col_description(c.oid, a.attnum) is null
          union all
          select tgname from pg_trigger where tgrelid = 't'::regclass and obj_description(oid, 'pg_trigger') is null) x";
    assert_eq!(db.text(silent).await, "");
}

#[tokio::test]
async fn a_table_has_no_more_routes_than_its_rows_have_message_numbers() {
    let db = TestDb::new().await;
    db.exec("create table t (id int); select rowcast.watch('t', 't1:{id}')").await;
    db.exec(
        "insert into rowcast.route (source, template, operations, since)
         select source, 't' || n || ':{id}', operations, since from rowcast.route, generate_series(2, 512) n",
    )
    .await;
    let r = refused(&db, "select rowcast.watch('t', 't513:{id}')").await;
    assert!(r.code == "RC006" && r.message == "public.t has 512 routes, and no more fit", "{}: {}", r.code, r.message);
    // Another version of one that is there, and one in the place of another.
    db.exec("select rowcast.watch('t', 't512:{id}', columns => '{id}')").await;
    db.exec("select rowcast.unwatch('t', 't7:{id}'), rowcast.watch('t', 't513:{id}')").await;
}
