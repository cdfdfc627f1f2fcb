//! Changing a watched table never makes the next write fail, loses no event, and shows no column that was not listed.

use super::{captured, run};
use crate::kit::TestDb;

const ROUTES: [&str; 4] = [
    "",
    ", columns => '{v,n}'",
    ", \"when\" => 'new.n is distinct from old.n or new.v is distinct from old.v'",
    ", columns => '{v,n}', \"when\" => 'new.n > 0 or old.n > 0'",
];

/// The change, then a write of one row, and what must (and must not) be in each image of it.
const CHANGES: &[(&str, &str)] = &[
    ("alter table t drop column v", "update t set n = n + 1"),
    ("alter table t drop column n", "update t set v = v || 'x'"),
    ("alter table t rename column v to w", "update t set n = n + 1"),
    ("alter table t rename column n to m", "update t set m = m + 1"),
    ("alter table t alter column n type bigint", "update t set n = n + 9007199254740993"),
    ("alter table t alter column n type text", "update t set n = n || '1'"),
    ("alter table t alter column id type bigint", "update t set n = n + 1"),
    ("alter table t add column more text default 'psst'", "update t set n = n + 1"),
    ("alter table t add column \"new\" text default 'psst'", "update t set n = n + 1"),
    (
        "alter table t rename to away; alter table away rename to back; alter table back rename to T",
        "update t set n = n + 1",
    ),
    ("alter table t alter column v type varchar(40)", "update t set n = n + 1"),
    ("alter table t drop column n, add column n text default '5'", "update t set n = n || '1'"),
];

#[tokio::test]
async fn the_next_write_row_by_row_succeeds_and_is_captured() {
    for route in ROUTES {
        change_and_write(&format!("bulk => false{route}")).await;
    }
}

#[tokio::test]
async fn the_next_write_in_bulk_succeeds_and_is_captured() {
    for route in ROUTES {
        change_and_write(&format!("bulk => true{route}")).await;
    }
}

async fn change_and_write(options: &str) {
    let db = TestDb::new().await;
    // Two sessions that have cached plans of the old shape: one that changes the table, one that does not.
    let (mut a, mut b) = (db.connect().await, db.connect().await);
    for (i, (change, write)) in CHANGES.iter().enumerate() {
        let case = format!("{change}; {write} with {options}");
        let t = format!("t{i}");
        let [change, write] = [change, write].map(|sql| {
            sql.replace("table t ", &format!("table {t} "))
                .replace(" t set", &format!(" {t} set"))
                .replace("to T", &format!("to {t}"))
        });
        run(
            &mut a,
            &format!(
                "create table {t} (id int primary key, v text, n int, secret text);
                 select rowcast.watch('{t}', 't:{{id}}', {options})"
            ),
        )
        .await;
        for (id, session) in [(1, &mut a), (2, &mut b)] {
            let warm = format!("insert into {t} values ({id}, 'v', 1, 'hash')");
            run(
                session,
                &format!("{warm}; update {t} set n = 2 where id = {id}; delete from {t} where id = {id}; {warm}"),
            )
            .await;
        }
        captured(&db).await;
        run(&mut a, &change).await;
        let mut fresh = db.connect().await;
        for session in [&mut a, &mut b, &mut fresh] {
            run(session, &write).await;
            let lines = captured(&db).await;
            assert_eq!(lines.len(), 2, "{case}: {lines:?}");
            for (line, id) in lines.iter().zip([1, 2]) {
                assert!(line.starts_with(&format!(r#"u {{"id":{id}"#)), "{case}: {line}");
                let listed = options.contains("columns");
                assert_eq!(line.contains("hash"), !listed, "{case}: {line}");
                assert!(!listed || !line.contains("psst"), "{case}: {line}");
            }
        }
        run(&mut b, &format!("delete from {t}")).await;
        assert_eq!(captured(&db).await.len(), 2, "{case}: delete");
        run(&mut a, &format!("truncate {t}")).await;
        assert_eq!(captured(&db).await.len(), 1, "{case}: truncate");
        // tend() generates the function for the new shape: from there on nothing needs a way around.
        let mended = db.text("select rowcast.tend(3600, 1 << 30) ->> 'mended'").await;
        assert_eq!(mended == "0", change.contains("rename to"), "{case}");
        run(&mut b, &format!("insert into {t} (id) values (7)")).await;
    }
}

#[tokio::test]
async fn a_type_changed_in_the_middle_of_a_transaction_is_followed() {
    let db = TestDb::new().await;
    db.exec(
        r#"create table t (id int, n int); select rowcast.watch('t', 't:{id}', columns => '{n}', "when" => 'new.n > 0');
           begin; insert into t values (1, 1); alter table t alter column n type numeric(4,1); insert into t values (2, 2); commit"#,
    )
    .await;
    let lines = captured(&db).await;
    assert_eq!(lines[0], r#"i {"id":1,"n":1} {1}"#);
    assert!(lines[1] == r#"i {"id":2,"n":2.0} {-1}"# || lines[1] == r#"i {"id":2,"n":2.0} {1}"#, "{}", lines[1]);
}

#[tokio::test]
async fn a_condition_that_can_no_longer_be_evaluated_counts_as_held_and_says_so() {
    let db = TestDb::new().await;
    for bulk in [false, true] {
        db.exec(&format!(
            r#"drop table if exists t; create table t (id int, n int);
               select rowcast.watch('t', 't:{{id}}', bulk => {bulk}, "when" => 'new.n > 5'); alter table t drop column n"#
        ))
        .await;
        db.exec("insert into t values (1)").await;
        let route = db.text("select max(id)::text from rowcast.route").await;
        assert_eq!(captured(&db).await, [format!(r#"i {{"id":1}} {{-{route}}}"#)], "bulk {bulk}");
    }
    let missing = db.text(r#"select rowcast.tend(3600, 1 << 30)::text"#).await;
    assert!(missing.contains("mended"));
}

#[tokio::test]
async fn a_table_that_is_dropped_is_forgotten() {
    let db = TestDb::new().await;
    db.exec("create table t (id int); create table u (id int); select rowcast.watch('t', 't'), rowcast.watch('u', 'u'); drop table t")
        .await;
    assert_eq!(
        db.text("select string_agg(\"table\" || ' ' || present, ',') from rowcast.watched()").await,
        "public.t false,public.u true"
    );
    assert_eq!(db.text("select rowcast.tend(3600, 1 << 30) ->> 'tables_forgotten'").await, "1");
    assert_eq!(db.text("select string_agg(\"table\", ',') from rowcast.watched()").await, "public.u");
    assert_eq!(db.text("select count(*)::text from pg_proc where proname ~ '^capture_[0-9]'").await, "1");
    let ended = "select (r.until = e.id)::text from rowcast.route r, rowcast.event e where r.template = 't' and e.op = 'c' order by e.id desc limit 1";
    assert_eq!(db.text(ended).await, "true", "its routes end at an event of their own");
    assert_eq!(db.text("select rowcast.tend(3600, 1 << 30) ->> 'tables_forgotten'").await, "0");
}
