//! `"when"` and `columns`: what is recorded, and what never is.

use super::{captured, refused};
use crate::kit::TestDb;

#[tokio::test]
async fn a_row_is_recorded_when_some_route_wants_it() {
    let db = TestDb::new().await;
    db.exec(
        r#"create table t (id int, n int, v text);
           select rowcast.watch('t', 'a:{id}', "when" => 'new.n > 5');
           select rowcast.watch('t', 'b:{id}', "when" => 'new.n is distinct from old.n', operations => '{update}')"#,
    )
    .await;
    let cases: [(&str, &[&str]); 6] = [
        ("insert into t values (1, 1), (2, 6)", &[r#"i {"id":2,"n":6,"v":null} {1}"#]),
        ("update t set v = 'x' where id = 1", &[]),
        ("update t set n = 2 where id = 1", &[r#"u {"id":1,"n":2,"v":"x"} < {"id":1,"n":1,"v":"x"} {2}"#]),
        ("update t set n = 7 where id = 1", &[r#"u {"id":1,"n":7,"v":"x"} < {"id":1,"n":2,"v":"x"} {1,2}"#]),
        ("delete from t", &[]), // new is null
        ("truncate t", &["t {1}"]),
    ];
    for (sql, expected) in cases {
        db.exec(sql).await;
        assert_eq!(captured(&db).await, expected, "{sql}");
    }
    // One route without a condition wants everything of its operations.
    db.exec("select rowcast.watch('t', 'c', operations => '{delete}'); insert into t values (1, 1); delete from t")
        .await;
    assert_eq!(captured(&db).await, [r#"d < {"id":1,"n":1,"v":null}"#]);
}

#[tokio::test]
async fn a_condition_is_one_expression_whatever_it_holds() {
    let db = TestDb::new().await;
    db.exec("create table t (id int, a int[], v text, \"case\" int, \"se;lect\" int)").await;
    let conditions = [
        "new.id > 0",
        "new.id > 0 -- 1".trim_end_matches(" -- 1"),
        "case when new.id > 0 then true else false end",
        "new.v = 'it''s (not; a) -- comment' or true",
        "new.\"se;lect\" is null and new.\"case\" is null",
        "new.a[1] is null and (new.a)[1:2] is null",
        "new.v like '%\\%' or new.v is null",
        "date'2020-01-01' < now() and '2020-01-01'::timestamp with time zone < now()",
        "new.* is distinct from old.*",
        "old.id is null or (old).id <> (new).id",
        "new.id between 0 and 10 and not new.id = any ('{7,8}'::int[])",
        "new.id > 0\n  and\n  new.id < 5",
        "coalesce(current_setting('a.b', true), '') = ''",
    ];
    for (i, condition) in conditions.iter().enumerate() {
        for bulk in [false, true] {
            let call = format!("select rowcast.watch('t', 'c', bulk => {bulk}, \"when\" => $w${condition}$w$)");
            db.exec(&call).await;
            db.exec(&format!("insert into t values ({})", i % 4 + 1)).await;
            let lines = captured(&db).await;
            assert_eq!(lines.len(), 1, "{condition}, bulk {bulk}");
            assert!(!lines[0].contains("{-"), "{condition}, bulk {bulk}: {}", lines[0]);
        }
    }
}

#[tokio::test]
async fn names_in_a_condition_mean_what_they_mean_to_its_author() {
    let db = TestDb::new().await;
    db.exec(
        "create schema shop; create type shop.mood as enum ('sad', 'ok');
         create function shop.hot(i int) returns bool language sql immutable as 'select i > 5';
         -- In another schema lies a function that the server would take before the built-in one.
         create function shop.lower(text) returns text language sql immutable as $$ select 'mine' $$;
         create table shop.t (id int, m shop.mood, v text)",
    )
    .await;
    for bulk in [false, true] {
        db.exec(&format!(
            r#"set search_path = shop, pg_catalog;
               select rowcast.watch('t', 'c', bulk => {bulk}, "when" => $w$hot(new.id) and new.m = 'ok' and lower(new.v) = 'mine'$w$);
               reset search_path"#
        ))
        .await;
        db.exec("insert into shop.t values (6, 'ok', 'X'), (6, 'sad', 'X'), (5, 'ok', 'X')").await;
        let lines = captured(&db).await;
        assert_eq!(lines.len(), 1, "bulk {bulk}: {lines:?}");
        assert!(lines[0].starts_with(r#"i {"id":6,"m":"ok","v":"X"} {"#) && !lines[0].contains('-'), "{}", lines[0]);
    }
    let r = refused(&db, r#"select rowcast.watch('shop.t', 'd', "when" => 'hot(new.id)')"#).await;
    assert!(r.code == "RC004" && r.message.contains("hot(integer) does not exist"), "{}", r.message);
}

#[tokio::test]
async fn what_no_route_names_never_enters_the_log() {
    let db = TestDb::new().await;
    db.exec(
        "create table account (id int, owner text, password text, note text);
         select rowcast.watch('account', 'account:{id}', columns => '{note}');
         insert into account values (1, 'me', 'hash1', 'a'); update account set password = 'hash2'; delete from account",
    )
    .await;
    let expected =
        [r#"i {"id":1,"note":"a"}"#, r#"u {"id":1,"note":"a"} < {"id":1,"note":"a"}"#, r#"d < {"id":1,"note":"a"}"#];
    assert_eq!(captured(&db).await, expected);
    // What a second route names is recorded too, and its key, and what its keys need.
    db.exec(
        "create function view_of(i int) returns json language sql stable as 'select null::json';
         select rowcast.define_channel('by:{k}', 'state', 'view_of');
         select rowcast.watch('account', 'by:{k}', columns => '{id}', keys => 'select 1 as k where {owner} is not null');
         insert into account values (1, 'me', 'hash1', 'a')",
    )
    .await;
    assert_eq!(captured(&db).await, [r#"i {"id":1,"owner":"me","note":"a"}"#]);
    // One route for all columns, and everything is; without it, it is not.
    db.exec("select rowcast.watch('account', 'all'); insert into account values (1, 'me', 'hash1', 'a')").await;
    assert_eq!(captured(&db).await, [r#"i {"id":1,"owner":"me","password":"hash1","note":"a"}"#]);
    db.exec("select rowcast.unwatch('account', 'all'); insert into account values (1, 'me', 'hash1', 'a')").await;
    assert_eq!(captured(&db).await, [r#"i {"id":1,"owner":"me","note":"a"}"#]);
}
