//! One row of the log for many rows of a statement: what is in it, and how much.

use super::{captured, run};
use crate::kit::TestDb;

/// Op and number of changes of each row of the log.
async fn sizes(db: &TestDb<'_>) -> Vec<String> {
    let sql = "select op::text || ' ' || case when op in ('I', 'U', 'D') then
                 (select json_array_length(e.value)::text from json_each(coalesce(new, old) -> 0) e limit 1) else '1' end
                 from rowcast.event where source > 0 order by id";
    db.texts(sql).await.into_iter().flatten().collect()
}

#[tokio::test]
async fn a_statement_is_one_row_and_one_changed_row_is_no_batch() {
    let db = TestDb::new().await;
    db.exec("create table t (id int primary key, v int); select rowcast.watch('t', 't:{id}', bulk => true)").await;
    db.exec("insert into t select g, 0 from generate_series(1, 40) g; update t set v = 1; delete from t where id > 20")
        .await;
    db.exec("insert into t values (99, 0)").await;
    db.exec("update t set v = 2 where id = 1").await;
    db.exec("update t set id = 98 where id = 99").await;
    db.exec("delete from t where id = 98; update t set v = 1; update t set v = 1").await;
    assert_eq!(sizes(&db).await, ["I 40", "U 40", "D 20", "i 1", "v 1", "u 1", "d 1", "U 1"]);
    let lines = captured(&db).await;
    assert_eq!(lines.len(), 40 + 40 + 20 + 5);
    assert_eq!(lines[102], r#"u {"id":98,"v":0} < {"id":99,"v":0}"#);
    assert_eq!(lines[104], r#"u {"id":1,"v":1}"#, "what did not change is in no batch");
}

#[tokio::test]
async fn values_of_a_batch_keep_their_text() {
    let db = TestDb::new().await;
    db.exec("create type mood as enum ('sad', 'ok'); create type pair as (a int, b text)").await;
    let cases = [
        ("numeric", "12345678901234567890.123450", "12345678901234567890.123450"),
        ("numeric", "'NaN'", "\"NaN\""),
        ("float8", "'-Infinity'", "\"-Infinity\""),
        ("bool", "true", "true"),
        ("timestamptz", "'2020-01-01 12:00:00.123456+02'", "\"2020-01-01T10:00:00.123456+00:00\""),
        ("json", "'{\"b\": 1.0,  \"a\": [1e2], \"c\": \"],}\"}'", "{\"b\": 1.0,  \"a\": [1e2], \"c\": \"],}\"}"),
        ("json", "E'{\"b\":\\n [1,\\n 2]}'", "{\"b\":\n [1,\n 2]}"),
        ("jsonb", "'{\"b\": [1.50, null]}'", "{\"b\": [1.50, null]}"),
        ("xml", "'<a b=\"c\"/>'", "\"<a b=\\\"c\\\"/>\""),
        ("int[]", "'{1,null,3}'", "[1,null,3]"),
        ("text[]", "array['a,b', '\"']", "[\"a,b\",\"\\\"\"]"),
        ("bytea", "'\\x00ff'", "\"\\\\x00ff\""),
        ("mood", "'ok'", "\"ok\""),
        ("pair", "row(1, 'x')", "{\"a\":1,\"b\":\"x\"}"),
        ("text", "E'a\\'b\\\\c\\n\\u00e9],}'", "\"a'b\\\\c\\né],}\""),
        ("text", "null", "null"),
    ];
    for (i, (kind, literal, json)) in cases.iter().enumerate() {
        db.exec(&format!(
            "set timezone = 'UTC'; create table t{i} (id int, v {kind}); select rowcast.watch('t{i}', 'x:{{id}}', bulk => true);
             insert into t{i} values (1, {literal}), (2, null), (3, {literal}); update t{i} set id = id + 10"
        ))
        .await;
        assert_eq!(sizes(&db).await, ["I 3", "U 3"], "{kind} {literal}");
        let image = |id: i32| {
            let v = if id % 10 == 2 { "null" } else { json };
            format!(r#"{{"id":{id},"v":{v}}}"#)
        };
        let inserts = [1, 2, 3].map(|id| format!("i {}", image(id)));
        let updates = [1, 2, 3].map(|id| format!("u {} < {}", image(id + 10), image(id)));
        assert_eq!(captured(&db).await, [inserts, updates].concat(), "{kind} {literal}");
    }
}

#[tokio::test]
async fn a_batch_fits_a_page_and_leaves_each_route_its_numbers() {
    let db = TestDb::new().await;
    // Bytes of a note, routes, and the changes that a batch may have at most.
    let cases = [(0, 1, 512), (100, 1, 80), (100, 9, 56), (3000, 1, 3), (20000, 1, 1), (0, 200, 2)];
    for (n, (bytes, routes, most)) in cases.into_iter().enumerate() {
        let table = format!("t{n}");
        db.exec(&format!("create table {table} (id int, v text)")).await;
        let watch = format!(
            "select rowcast.watch('{table}', 'x{n}:{{id}}', 'e' || g, bulk => true) from generate_series(1, {routes}) g"
        );
        db.exec(&watch).await;
        // Incompressible.
        let note = format!("(select string_agg(md5(random()::text || h), '') from generate_series(1, {bytes} / 32) h)");
        db.exec(&format!("insert into {table} select g, {note} from generate_series(1, 600) g")).await;
        let sizes: Vec<usize> = sizes(&db)
            .await
            .iter()
            .map(|line| line.split_once(' ').expect("two").1.parse().expect("a number"))
            .collect();
        assert_eq!(sizes.iter().sum::<usize>(), 600, "{table}");
        let largest = *sizes.iter().max().expect("some");
        assert!(largest <= most && (largest > most / 2 || most == 512), "{table}: {largest}");
        let longest = db.text("select max(length(new::text))::text from rowcast.event where source > 0").await;
        let longest: usize = longest.parse().expect("a number");
        assert!(longest < 7_000 + bytes, "{table}: {longest} bytes");
        assert_eq!(captured(&db).await.len(), 600);
    }
}

#[tokio::test]
async fn many_and_oddly_named_columns_come_as_they_are() {
    let db = TestDb::new().await;
    let many: Vec<String> = (0..120).map(|n| format!("c{n}")).collect();
    let odd =
        ["new", "old", "x", "q", "g", "n1", "o1", "m", "i", "c", "moved", "rowcast_x", "a\"b", "a b", "select", "pair"];
    for (table, names) in [("many", many), ("odd", odd.map(String::from).to_vec())] {
        let quoted: Vec<String> = names.iter().map(|n| format!("\"{}\"", n.replace('"', "\"\""))).collect();
        let columns: Vec<String> = quoted.iter().map(|n| format!("{n} int")).collect();
        let values: Vec<String> = (0..names.len()).map(|n| format!("g + {n}")).collect();
        db.exec(&format!(
            "create table {table} (id int, {}); select rowcast.watch('{table}', 't:{{id}}', bulk => true);
             insert into {table} select g, {} from generate_series(1, 2) g",
            columns.join(","),
            values.join(",")
        ))
        .await;
        let image = |id: usize, g: usize| {
            let members = names.iter().enumerate().map(|(n, name)| format!("{}:{}", serde_json::json!(name), g + n));
            format!("{{\"id\":{id},{}}}", members.collect::<Vec<_>>().join(","))
        };
        assert_eq!(sizes(&db).await, ["I 2"], "{table}");
        assert_eq!(captured(&db).await, [1, 2].map(|g| format!("i {}", image(g, g))));
        db.exec(&format!("update {table} set id = case id when 1 then 7 else id end, {0} = {0}", quoted[0])).await;
        assert_eq!(captured(&db).await, [format!("u {} < {}", image(7, 1), image(1, 1))]);
        db.exec(&format!("update {table} set id = id + 10; delete from {table}")).await;
        let mut moved: Vec<String> = captured(&db).await;
        moved.sort();
        let expected = [
            format!("d < {}", image(12, 2)),
            format!("d < {}", image(17, 1)),
            format!("u {} < {}", image(12, 2), image(2, 2)),
            format!("u {} < {}", image(17, 1), image(7, 1)),
        ];
        assert_eq!(moved, expected, "{table}");
    }
}

#[tokio::test]
async fn of_rows_that_move_and_rows_that_stay_each_has_its_own() {
    let db = TestDb::new().await;
    db.exec(
        "create table t (id int primary key, owner text, v int); select rowcast.watch('t', 'o:{owner}', bulk => true);
         select rowcast.watch('t', 'hot', \"when\" => 'new.v > 5');
         insert into t select g, 'a', g from generate_series(1, 8) g; delete from rowcast.event where source > 0;
         update t set owner = case when id % 3 = 0 then 'b' else owner end, v = v + 1",
    )
    .await;
    assert_eq!(sizes(&db).await, ["U 8"]);
    let expected: Vec<String> = (1..=8)
        .map(|id| {
            let new = format!(r#"{{"id":{id},"owner":"{}","v":{}}}"#, if id % 3 == 0 { "b" } else { "a" }, id + 1);
            let old = if id % 3 == 0 { format!(r#" < {{"id":{id},"owner":"a","v":{id}}}"#) } else { String::new() };
            format!("u {new}{old}{}", if id + 1 > 5 { " {2}" } else { "" })
        })
        .collect();
    assert_eq!(captured(&db).await, expected);
}

#[tokio::test]
async fn what_is_altered_is_in_the_next_batch() {
    let db = TestDb::new().await;
    let mut session = db.connect().await;
    let cases = [
        ("add column more int default 5", r#"{"id":1,"v":"a","more":5}"#, false),
        ("drop column v", r#"{"id":1}"#, false),
        ("rename column v to w", r#"{"id":1,"w":"a"}"#, false),
        ("alter column id type text", r#"{"id":"1","v":"a"}"#, true),
        ("add column more int, drop column more", r#"{"id":1,"v":"a"}"#, true),
    ];
    for (change, image, batch) in cases {
        run(&mut session, "create table t (id int, v text); select rowcast.watch('t', 't:{id}', bulk => true)").await;
        run(&mut session, "insert into t values (1, 'a'), (2, 'a')").await;
        assert_eq!((sizes(&db).await, captured(&db).await.len()), (vec!["I 2".to_owned()], 2));
        let change = change.replace(", drop", "; alter table t drop");
        run(&mut session, &format!("alter table t {change}")).await;
        for generated in [false, true] {
            run(&mut session, "insert into t select * from t").await;
            if batch || generated {
                assert!(sizes(&db).await[0].starts_with('I'), "{change}, generated anew: {generated}");
            }
            assert_eq!(captured(&db).await[0], format!("i {image}"), "{change}, generated anew: {generated}");
            run(&mut session, "select rowcast.follow_ddl()").await;
        }
        run(&mut session, "select rowcast.unwatch('t'); drop table t").await;
    }
}

#[tokio::test]
async fn a_table_without_columns_is_watched_all_the_same() {
    let db = TestDb::new().await;
    db.exec("create table t (); select rowcast.watch('t', 't', bulk => true); insert into t select from generate_series(1, 3)").await;
    assert_eq!(captured(&db).await, ["i {}"; 3]);
}

#[tokio::test]
async fn no_name_of_a_column_keeps_its_changes_out() {
    let db = TestDb::new().await;
    // Two that the generated SQL has for itself, so that it must go row by row; and others.
    let names = ["rowcast_i", "rowcast_s", "rowcast_r", "rowcast_x", "rowcast_n", "a\\&b\\1"];
    for (n, name) in names.into_iter().enumerate() {
        for condition in ["", ", \"when\" => 'new.v > 0 or old.v > 0'"] {
            db.exec(&format!(
                "create table t (id int, \"{name}\" int, v int);
                 select rowcast.watch('t', 't:{{id}}', bulk => true{condition}); insert into t values (1, 3, 1), (2, 4, 2)"
            ))
            .await;
            assert_eq!(captured(&db).await.len(), 2, "{name}{condition}");
            db.exec("update t set v = v + 1, id = id + 5").await;
            assert_eq!(sizes(&db).await == ["U 2"], n > 1, "{name}{condition}");
            let lines = captured(&db).await;
            let quoted = serde_json::json!(name);
            for (line, (id, k, v)) in lines.iter().zip([(6, 3, 2), (7, 4, 3)]) {
                let image = |id: i32, v: i32| format!(r#"{{"id":{id},{quoted}:{k},"v":{v}}}"#);
                let expected = format!("u {} < {}", image(id, v), image(id - 5, v - 1));
                assert!(line.starts_with(&expected), "{line}, not {expected}");
            }
            db.exec("delete from t; drop table t").await;
            assert_eq!(captured(&db).await.len(), 2, "{name}{condition}");
        }
    }
}

#[tokio::test]
async fn columns_that_came_behind_a_dropped_one_are_not_left_out() {
    let db = TestDb::new().await;
    db.exec("create table t (id int, v int); select rowcast.watch('t', 't:{id}', bulk => true); insert into t values (1, 1), (2, 2)")
        .await;
    captured(&db).await;
    db.exec("alter table t add price int; alter table t drop price; alter table t add price numeric").await;
    db.exec("update t set price = id * 1.5; insert into t values (3, 3, 9), (4, 4, 9)").await;
    let expected = [
        r#"u {"id":1,"v":1,"price":1.5} < {"id":1,"v":1,"price":null}"#,
        r#"u {"id":2,"v":2,"price":3.0} < {"id":2,"v":2,"price":null}"#,
        r#"i {"id":3,"v":3,"price":9}"#,
        r#"i {"id":4,"v":4,"price":9}"#,
    ];
    assert_eq!(captured(&db).await, expected);
}
