//! Row-level capture: every kind of statement, every kind of value.

use super::{captured, run};
use crate::kit::TestDb;

#[tokio::test]
async fn a_row_leaves_what_happened_to_it_and_no_more() {
    let db = TestDb::new().await;
    db.exec(
        "create table t (id int primary key, v text, price numeric(12,2), big bigint, bytes bytea);
         select rowcast.watch('t', 't:{id}')",
    )
    .await;
    db.exec(r"insert into t values (1, 'a', 10.50, 9007199254740993, '\xdeadbeef')").await;
    db.exec("update t set v = 'a'").await;
    db.exec("update t set v = null where id = 1").await;
    db.exec("delete from t").await;
    db.exec("truncate t").await;
    let image = |v: &str| format!(r#"{{"id":1,"v":{v},"price":10.50,"big":9007199254740993,"bytes":"\\xdeadbeef"}}"#);
    let expected = [
        format!("i {}", image("\"a\"")),
        format!("u {} < {}", image("null"), image("\"a\"")),
        format!("d < {}", image("null")),
        "t".to_owned(),
    ];
    assert_eq!(captured(&db).await, expected);
}

#[tokio::test]
async fn values_keep_their_text() {
    let db = TestDb::new().await;
    db.exec("create type mood as enum ('sad', 'ok'); create type pair as (a int, b text)").await;
    let cases = [
        ("numeric", "12345678901234567890.123450", "12345678901234567890.123450"),
        ("numeric", "1e-20", "0.00000000000000000001"),
        ("numeric(12,2)", "1.5", "1.50"),
        ("float8", "0.1", "0.1"),
        ("bool", "true", "true"),
        ("timestamptz", "'2020-01-01 12:00:00.123456+02'", "\"2020-01-01T10:00:00.123456+00:00\""),
        ("date", "'2020-01-31'", "\"2020-01-31\""),
        ("uuid", "'00000000-0000-0000-0000-00000000000a'", "\"00000000-0000-0000-0000-00000000000a\""),
        ("json", "'{\"b\": 1.0,  \"a\": [1e2]}'", "{\"b\": 1.0,  \"a\": [1e2]}"),
        ("jsonb", "'{\"b\": 1.50}'", "{\"b\": 1.50}"),
        ("xml", "'<a b=\"c\"/>'", "\"<a b=\\\"c\\\"/>\""),
        ("point", "'(1,2)'", "\"(1,2)\""),
        ("int[]", "'{1,null,3}'", "[1,null,3]"),
        ("text[]", "array['a,b', '\"']", "[\"a,b\",\"\\\"\"]"),
        ("bytea", "'\\x00ff'", "\"\\\\x00ff\""),
        ("mood", "'ok'", "\"ok\""),
        ("pair", "row(1, 'x')", "{\"a\":1,\"b\":\"x\"}"),
        ("int4range", "'[1,3)'", "\"[1,3)\""),
        ("text", "E'a\\'b\\\\c\\n\\u00e9'", "\"a'b\\\\c\\né\""),
        ("text", "null", "null"),
    ];
    for (i, (kind, literal, json)) in cases.iter().enumerate() {
        for bulk in [false, true] {
            let t = format!("t{i}_{bulk}");
            db.exec(&format!(
                "set timezone = 'UTC'; create table {t} (id int, v {kind}); select rowcast.watch('{t}', 'x:{{id}}', bulk => {bulk});
                 insert into {t} values (1, {literal}); update {t} set id = id; update {t} set id = 2"
            ))
            .await;
            let expected =
                [format!(r#"i {{"id":1,"v":{json}}}"#), format!(r#"u {{"id":2,"v":{json}}} < {{"id":1,"v":{json}}}"#)];
            assert_eq!(captured(&db).await, expected, "{kind} {literal}, bulk {bulk}");
        }
    }
}

#[tokio::test]
async fn rows_of_any_size_are_whole() {
    let db = TestDb::new().await;
    // Random text does not compress: it is stored out of line.
    db.exec(
        "create table doc (id int, body text); select rowcast.watch('doc', 'doc:{id}');
         insert into doc select 1, string_agg(md5(i::text), '') from generate_series(1, 40000) i;
         update doc set id = 2",
    )
    .await;
    let lengths = "select string_agg(length(new ->> 'body') || ' ' || coalesce((new ->> 'body' = old ->> 'body')::text, '-'), ',' order by id)
                     from rowcast.event where source > 0";
    assert_eq!(db.text(lengths).await, "1280000 -,1280000 true");
}

#[tokio::test]
async fn odd_names_are_names_like_any_other() {
    let db = TestDb::new().await;
    db.exec(
        r#"create schema "My ""Schema";
           create table "My ""Schema"."Odd ""T'%1$s {x}" ("Id ""q" int, "per%cent" int, "dollar$rowcast$" text, "new" int, "old" int,
             "select" int, p int, n int, m int, i int, "back\slash" int);"#,
    )
    .await;
    let table = r#"'"My ""Schema"."Odd ""T''%1$s {x}"'"#;
    for bulk in [false, true] {
        db.exec(&format!(
            r#"select rowcast.watch({table}, 'odd:{{Id "q}}', columns => array['per%cent', 'dollar$rowcast$', 'select', 'new', 'm', 'back\slash'],
                 bulk => {bulk}, "when" => $w$new."dollar$rowcast$" like 'a''%\\c' and old."old" is null and new."select" = 3$w$)"#
        ))
        .await;
        db.exec(
            r#"insert into "My ""Schema"."Odd ""T'%1$s {x}" values (1, 2, 'a''b\c', 7, null, 3, 4, 5, 6, 7, 8),
                 (2, 2, 'b', 7, null, 3, 4, 5, 6, 7, 8)"#,
        )
        .await;
        let lines = captured(&db).await;
        assert_eq!(lines.len(), 1, "{lines:?}");
        let expected =
            r#"i {"Id \"q":1,"per%cent":2,"dollar$rowcast$":"a'b\\c","new":7,"select":3,"m":6,"back\\slash":8} {"#;
        assert!(lines[0].starts_with(expected), "bulk {bulk}: {}", lines[0]);
    }
    db.exec(&format!("select rowcast.unwatch({table})")).await;
    assert_eq!(db.text("select count(*)::text from pg_trigger where tgname like '00\\_rowcast%'").await, "0");
}

#[tokio::test]
async fn statements_that_do_several_things_are_taken_apart() {
    let db = TestDb::new().await;
    db.exec(
        "create table parent (id int primary key);
         create table t (id int primary key, p int references parent on delete cascade on update cascade);
         select rowcast.watch('t', 't:{id}');
         insert into parent values (1), (2), (3); insert into t values (10, 1), (11, 1), (30, 3)",
    )
    .await;
    captured(&db).await;
    let cases: [(&str, &[&str]); 7] = [
        ("delete from parent where id = 1", &[r#"d < {"id":10,"p":1}"#, r#"d < {"id":11,"p":1}"#]),
        ("update parent set id = 4 where id = 3", &[r#"u {"id":30,"p":4} < {"id":30,"p":3}"#]),
        (
            "insert into t values (30, 2), (31, 2) on conflict (id) do update set p = excluded.p",
            &[r#"u {"id":30,"p":2} < {"id":30,"p":4}"#, r#"i {"id":31,"p":2}"#],
        ),
        ("insert into t values (30, 4) on conflict do nothing", &[]),
        (
            "update t set id = id + 100",
            &[r#"u {"id":130,"p":2} < {"id":30,"p":2}"#, r#"u {"id":131,"p":2} < {"id":31,"p":2}"#],
        ),
        (
            "insert into t values (1); savepoint a; insert into t values (2); rollback to a; insert into t values (3)",
            &[r#"i {"id":1,"p":null}"#, r#"i {"id":3,"p":null}"#],
        ),
        (
            "insert into t values (4); delete from t where id = 4",
            &[r#"i {"id":4,"p":null}"#, r#"d < {"id":4,"p":null}"#],
        ),
    ];
    for (sql, expected) in cases {
        let sql = if sql.contains("savepoint") { format!("begin; {sql}; commit") } else { sql.to_owned() };
        db.exec(&sql).await;
        assert_eq!(captured(&db).await, expected, "{sql}");
    }
    if db.text("select current_setting('server_version_num')").await.as_str() >= "150000" {
        db.exec(
            "delete from t; insert into t values (1, 2), (2, 2); delete from rowcast.event;
             merge into t using (values (1, 4), (2, null), (3, 4)) s (id, p) on t.id = s.id
               when matched and s.p is null then delete
               when matched then update set p = s.p
               when not matched then insert values (s.id, s.p)",
        )
        .await;
        let merged = [r#"u {"id":1,"p":4} < {"id":1,"p":2}"#, r#"d < {"id":2,"p":2}"#, r#"i {"id":3,"p":4}"#];
        assert_eq!(captured(&db).await, merged);
    }
}

#[tokio::test]
async fn all_rows_of_a_transaction_carry_its_top_level_xid() {
    let db = TestDb::new().await;
    db.exec("create table t (id int); select rowcast.watch('t', 't:{id}')").await;
    db.exec(
        "begin; insert into t values (1); savepoint a; insert into t values (2); select rowcast.send('c', 'e'); commit",
    )
    .await;
    let one = "select count(*) || ' ' || count(distinct xid) from rowcast.event where source >= 0";
    assert_eq!(db.text(one).await, "3 1");
}

#[tokio::test]
async fn the_first_version_of_a_row_comes_first_though_a_users_trigger_changes_it_again() {
    let db = TestDb::new().await;
    db.exec(
        "create table t (id int primary key, v int);
         create function again() returns trigger language plpgsql as
           $$ begin update t set v = v + 100 where id = new.id; return null; end $$;
         create trigger a_user after insert on t for each row execute function again();
         select rowcast.watch('t', 't:{id}');
         insert into t values (1, 1)",
    )
    .await;
    assert_eq!(captured(&db).await, [r#"i {"id":1,"v":1}"#, r#"u {"id":1,"v":101} < {"id":1,"v":1}"#]);
}

#[tokio::test]
async fn what_replication_applies_is_captured_too() {
    let db = TestDb::new().await;
    db.exec("create table t (id int); select rowcast.watch('t', 't:{id}')").await;
    db.admin_exec("set session_replication_role = replica; insert into t values (1); truncate t").await;
    assert_eq!(captured(&db).await, [r#"i {"id":1}"#, "t"]);
}

#[tokio::test]
async fn ids_follow_the_versions_of_a_row() {
    let db = TestDb::new().await;
    db.exec("create table t (id int, v int); insert into t values (1, 0); select rowcast.watch('t', 't:{id}')").await;
    let (mut a, mut b) = (db.connect().await, db.connect().await);
    // a takes its xid first and changes the row last: order by xid would be wrong.
    run(&mut a, "begin; select pg_current_xact_id()").await;
    run(&mut b, "update t set v = 1").await;
    run(&mut a, "update t set v = 2; commit").await;
    assert_eq!(captured(&db).await, [r#"u {"id":1,"v":1} < {"id":1,"v":0}"#, r#"u {"id":1,"v":2} < {"id":1,"v":1}"#]);
}
