//! Channel families and the SQL that reads them.

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::kit::TestDb;

/// Runs a `read_sql` as the router does; `i data`, and that each row has a snapshot.
async fn read(db: &TestDb<'_>, of: &str, keys: Value) -> Vec<String> {
    let sql = db.text(of).await;
    let rows: Vec<(i32, Option<String>, String)> =
        sqlx::query_as(AssertSqlSafe(sql)).bind(keys).fetch_all(db.pool().await).await.expect("it runs");
    let mut lines = Vec::new();
    for (i, data, snapshot) in rows {
        snapshot.parse::<rowcast::domain::Snapshot>().expect("a snapshot");
        lines.push(format!("{i} {}", data.as_deref().unwrap_or("-")));
    }
    lines.sort();
    lines
}

const TABLES: &str = r#"
    create schema shop;
    create table shop.orders (id int primary key, "Weird ""Col" text, total numeric(10,2), hidden text);
    insert into shop.orders values (1, 'a"b', 10.50, 'x'), (2, null, 0.00, 'y');
    create function shop.message(i int) returns json language sql stable as
      'select json_build_object(''n'', o.total) from shop.orders o where o.id = i';
    create function shop.pair(a text, b int default 3) returns text language sql immutable as $$ select a || b $$;
    create function shop.whole() returns shop.orders language sql stable as 'select o from shop.orders o where id = 1';
    create view shop.sums as select id % 2 as odd, sum(total) as total from shop.orders group by 1;
    set search_path = shop, public;
"#;

#[tokio::test]
async fn views_are_functions_or_relations() {
    let db = TestDb::new().await;
    db.exec(TABLES).await;
    let cases = [
        (
            "orders:{id}",
            "message",
            "shop.message(integer)",
            json!([["1"], ["7"], ["2"]]),
            &["1 {\"n\" : 10.50}", "2 -", "3 {\"n\" : 0.00}"][..],
        ),
        (
            "pair:{a}:{b}",
            "shop.pair",
            "shop.pair(text,integer)",
            json!([["x", "1"], ["y", "2"]]),
            &["1 \"x1\"", "2 \"y2\""],
        ),
        ("single:{a}", "pair(text, int)", "shop.pair(text,integer)", json!([["x"]]), &["1 \"x3\""]),
        (
            "first",
            "whole",
            "shop.whole()",
            json!([[]]),
            &[r#"1 {"id":1,"Weird \"Col":"a\"b","total":10.50,"hidden":"x"}"#],
        ),
        (
            "row:{id}",
            "orders",
            "shop.orders",
            json!([["2"], ["3"]]),
            &[r#"1 {"id":2,"Weird \"Col":null,"total":0.00,"hidden":"y"}"#, "2 -"],
        ),
        (
            "odd:{Weird \"Col}",
            "orders",
            "shop.orders",
            json!([["a\"b"]]),
            &[r#"1 {"id":1,"Weird \"Col":"a\"b","total":10.50,"hidden":"x"}"#],
        ),
        (
            "sum:{odd}",
            "shop.sums",
            "shop.sums",
            json!([["1"], ["0"]]),
            &[r#"1 {"odd":1,"total":10.50}"#, r#"2 {"odd":0,"total":0.00}"#],
        ),
        ("empty", "(none)", "", json!([]), &[]),
        ("sums", "sums", "shop.sums", json!([[]]), &[r#"1 [{"odd":0,"total":0.00},{"odd":1,"total":10.50}]"#]),
    ];
    for (pattern, view, stored, keys, expected) in cases {
        if view == "(none)" {
            continue;
        }
        db.exec(&format!("set search_path = shop, public; select rowcast.define_channel('{pattern}', 'state', $v${view}$v$); reset search_path"))
            .await;
        let of = format!("select V from rowcast.channel where pattern = '{pattern}'");
        assert_eq!(db.text(&of.replace('V', "view")).await, stored, "{pattern}");
        let mut seen = read(&db, &of.replace('V', "read_sql"), keys).await;
        if pattern == "sums" {
            seen =
                seen.into_iter().map(|s| if s.contains(r#"[{"odd":1"#) { expected[0].to_owned() } else { s }).collect();
        }
        assert_eq!(seen, expected, "{pattern}");
    }
}

#[tokio::test]
async fn a_relation_with_two_rows_for_one_key_is_an_error_not_a_guess() {
    let db = TestDb::new().await;
    db.exec("create table t (k int, v int); insert into t values (1, 1), (1, 2); select rowcast.define_channel('t:{k}', 'state', 't')").await;
    let sql = db.text("select read_sql from rowcast.channel").await;
    let e =
        sqlx::query(AssertSqlSafe(sql)).bind(json!([["1"]])).fetch_all(db.pool().await).await.expect_err("two rows");
    assert!(e.to_string().contains("more than one row"), "{e}");
}

#[tokio::test]
async fn the_watched_table_itself_is_the_view_of_a_state_channel_without_one() {
    let db = TestDb::new().await;
    db.exec(TABLES).await;
    db.exec(
        "select rowcast.define_channel('orders:{any}', 'state');
         select rowcast.watch('shop.orders', 'orders:{id}', columns => '{total,id}'); select rowcast.watch('shop.orders', 'all', columns => '{id}')",
    )
    .await;
    let of = "select read_sql from rowcast.route where template = 'orders:{id}'";
    assert_eq!(read(&db, of, json!([["2"], ["9"]])).await, [r#"1 {"total":0.00,"id":2}"#, "2 -"]);
    let of = "select read_sql from rowcast.route where template = 'all'";
    assert_eq!(read(&db, of, json!([[]])).await, [r#"1 [{"id":1},{"id":2}]"#]);
}

#[tokio::test]
async fn reading_uses_the_index_and_goes_by_qualified_names() {
    let db = TestDb::new().await;
    db.exec(
        "create schema shop; create table shop.big (id bigint primary key, code varchar(20) unique, v text);
         insert into shop.big select g, 'c' || g, 'x' from generate_series(1, 20000) g; analyze shop.big;
         select rowcast.define_channel('big:{id}', 'state', 'shop.big'); select rowcast.define_channel('code:{code}', 'state', 'shop.big')",
    )
    .await;
    for pattern in ["big:{id}", "code:{code}"] {
        let sql = db.text(&format!("select read_sql from rowcast.channel where pattern = '{pattern}'")).await;
        let plan: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(format!("explain {}", sql.replace("$1", r#"'[["1"],["2"]]'"#))))
                .fetch_all(db.pool().await)
                .await
                .expect("it runs without any search_path of ours");
        let plan = plan.join("\n");
        assert!(plan.contains("Index Scan") && !plan.contains("Seq Scan on big"), "{pattern}\n{plan}");
    }
}

#[tokio::test]
async fn keys_by_sql_give_the_parameters_of_each_row() {
    let db = TestDb::new().await;
    db.exec(
        "create schema shop; create table shop.investment (portfolio_id int, symbol text, \"Kind\" text);
         insert into shop.investment values (7, 'AAPL', 'a'), (8, 'AAPL', 'b'), (9, 'MSFT', 'a'), (null, 'AAPL', 'a');
         create table quote (symbol text primary key, \"Price {x}\" numeric, at timestamptz, c char(5));
         create function view_of(a int, b text) returns json language sql stable as 'select null::json';
         select rowcast.define_channel('p:{a}:{b}', 'state', 'view_of');
         set search_path = shop, public;
         select rowcast.watch('quote', 'p:{portfolio_id}:{Kind}',
           keys => $k$ select portfolio_id, i.\"Kind\", '{symbol}' as other from investment i
                        where i.symbol = {symbol} and {symbol} <> '{at}' and {at} is not null and {c} = 'ab'; $k$)",
    )
    .await;
    let sql = db.text("select keys_sql from rowcast.route").await;
    let rows = json!([
        {"symbol": "AAPL", "at": "2020-01-01T00:00:00+00:00", "c": "ab   "},
        {"symbol": "MSFT", "at": "2020-01-01T00:00:00+00:00", "c": "ab   "},
        {"symbol": "MSFT", "at": null, "c": "ab   "},
        {"symbol": "none", "at": "2020-01-01T00:00:00+00:00", "c": "ab   "},
    ]);
    let mut keys: Vec<(i32, Value)> =
        sqlx::query_as(AssertSqlSafe(sql)).bind(rows).fetch_all(db.pool().await).await.expect("it runs");
    keys.sort_by_key(|(i, key)| (*i, key.to_string()));
    assert_eq!(keys, [(1, json!(["7", "a"])), (1, json!(["8", "b"])), (2, json!(["9", "a"]))]);
}

#[tokio::test]
async fn defining_again_replaces_and_what_is_in_use_stays() {
    let db = TestDb::new().await;
    db.exec(
        "create table t (id int primary key); create function f(i int) returns json language sql stable as 'select null::json';
         select rowcast.define_channel('t:{id}', 'state', 'f', throttle_ms => 100);
         select rowcast.watch('t', 't:{k}', keys => 'select {id} as k')",
    )
    .await;
    for call in ["define_channel('t:{id}')", "define_channel('t:{id}', 'state')", "undefine_channel('t:{id}')"] {
        let r = super::refused(&db, &format!("select rowcast.{call}")).await;
        assert_eq!(r.code, "RC009", "{call}: {}", r.message);
    }
    let changes = "select count(*)::text from rowcast.event where op = 'c'";
    let before = db.text(changes).await;
    db.exec("select rowcast.define_channel('t:{id}', 'state', 'f', throttle_ms => 100)").await;
    assert_eq!(db.text(changes).await, before, "nothing differs");
    db.exec("select rowcast.define_channel('t:{id}', 'state', 't', conflate => '{id}', event => 'moved')").await;
    let now = "select concat_ws(' ', kind, view, conflate, throttle_ms, event) from rowcast.channel";
    assert_eq!(db.text(now).await, "state public.t {id} 0 moved");
    db.exec("select rowcast.unwatch('t')").await;
    assert_eq!(db.text("select rowcast.undefine_channel('t:{id}')::text").await, "true");
    assert_eq!(db.text("select rowcast.undefine_channel('t:{id}')::text").await, "false");
    assert_eq!(db.text("select count(*)::text from rowcast.channel").await, "0");
}
