//! What the migrations make, where, and what they refuse.

use serde_json::json;

use crate::kit::{Binary, TestDb};

const NOTHING_MADE: &str = "select (to_regnamespace('rowcast_reference') is null and to_regclass('game_order') is null and not exists (select from rowcast.route))::text";

#[tokio::test]
async fn migrate_makes_it_once() {
    let db = TestDb::bare().await;
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/reference")).expect("ours").count();
    for (now, core) in [(files, 10), (0, 0)] {
        let run = Binary::new(&["migrate", "--with", "reference"]).env("DATABASE_URL", &db.url()).output().await;
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let said: serde_json::Value = serde_json::from_slice(&run.stdout).expect("one JSON document");
        assert_eq!(said["reference"]["applied"].as_array().map(Vec::len), Some(now), "{said}");
        assert_eq!(said["reference"]["total"], files);
        assert!(said["applied"].as_array().map(Vec::len) >= Some(core), "{said}");
    }
    let run = Binary::new(&["migrate"]).env("DATABASE_URL", &db.url()).output().await;
    let said: serde_json::Value = serde_json::from_slice(&run.stdout).expect("one JSON document");
    assert_eq!(said["reference"], json!(null));
}

#[tokio::test]
async fn everything_says_what_it_is_and_whose() {
    let db = TestDb::reference().await;
    let silent = "
        select x from (
          select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
           where n.nspname in ('public', 'rowcast_reference') and c.relkind in ('r', 'v') and obj_description(c.oid, 'pg_class') is null
          union all
          select c.relname || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
           where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and a.attnum > 0 and col_description(c.oid, a.attnum) is null
          union all
          select p.oid::regprocedure::text from pg_proc p where p.pronamespace = 'rowcast_reference'::regnamespace and obj_description(p.oid, 'pg_proc') is null
          union all
          select g.tgrelid::regclass || '.' || g.tgname from pg_trigger g join pg_class c on c.oid = g.tgrelid
           where c.relnamespace = 'public'::regnamespace and not g.tgisinternal and obj_description(g.oid, 'pg_trigger') is null
        ) as u (x)";
    assert_eq!(db.texts(silent).await, []);
    // Who writes calls none of them by name; whoever runs as its owner reads what it names.
    let open =
        "select p.oid::regprocedure::text from pg_proc p where p.pronamespace = 'rowcast_reference'::regnamespace
        and (has_function_privilege('public', p.oid, 'execute')
             or p.prosecdef and not coalesce(p.proconfig @> '{\"search_path=pg_catalog, pg_temp\"}', false))";
    assert_eq!(db.texts(open).await, []);
    let unindexed = "select k.conrelid::regclass || ' ' || k.conname from pg_constraint k
        where k.contype = 'f' and k.conrelid::regclass::text !~ '^lol' and k.connamespace = 'public'::regnamespace
          and not exists (select from pg_index i where i.indrelid = k.conrelid and i.indkey[0] = k.conkey[1])";
    assert_eq!(db.texts(unindexed).await, []);
    let floats = "select attrelid::regclass || '.' || attname from pg_attribute where atttypid in ('float4'::regtype, 'float8'::regtype, 'money'::regtype)
        and attrelid in (select oid from pg_class where relnamespace = 'public'::regnamespace)";
    assert_eq!(db.texts(floats).await, []);
}

#[tokio::test]
async fn what_is_in_the_way_is_named_and_nothing_is_made() {
    let cases = [
        (
            "create table portfolio (id int); create view submission as select 1 as x",
            "schema public has portfolio, submission already",
        ),
        ("create type achievement as (x int)", "schema public has achievement already"),
        ("select rowcast.define_channel('order:{number}')", "these channels are in use already: order:{number}"),
        (
            "create table t (id int); select rowcast.watch('t', 'student:{id}')",
            "these channels are in use already: student:{id}",
        ),
        (
            "create table auth_user (id uuid primary key, username text)",
            "column first_name, id, is_active, is_staff, is_superuser, last_name is missing or of another type",
        ),
        ("create schema rowcast_reference", "there is a schema rowcast_reference already"),
        ("alter role current_user set search_path = nowhere", "no schema of the search_path exists"),
    ];
    for (sql, expected) in cases {
        let db = TestDb::new().await;
        // Settings of the role are of the database, too: other tests share the role.
        let sql = sql.replace("role current_user", &format!("database {}", db.name));
        db.exec(&sql).await;
        let refused = db.migrate_reference().await.expect_err(&sql).to_string();
        assert!(refused.contains(expected), "{sql}: {refused}");
        assert!(refused.contains('('), "a hint in {refused}");
        let made = db.text(NOTHING_MADE.replace("to_regnamespace('rowcast_reference') is null", "true").as_str()).await;
        if sql.contains("rowcast_reference") || sql.contains("watch(") {
            continue;
        }
        assert_eq!(made, "true", "{sql}");
        assert_eq!(db.text(NOTHING_MADE).await, "true", "{sql}");
    }
}

#[tokio::test]
async fn djangos_own_tables_are_kept() {
    let db = TestDb::new().await;
    // As Django 5.2 makes it: no defaults.
    db.exec(
        "create table auth_user (id integer primary key generated by default as identity, password varchar(128) not null, last_login timestamptz,
           is_superuser boolean not null, username varchar(150) not null unique, first_name varchar(150) not null, last_name varchar(150) not null,
           email varchar(254) not null, is_staff boolean not null, is_active boolean not null, date_joined timestamptz not null);
         insert into auth_user (password, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined)
           values ('pbkdf2_sha256$x', false, 'django', 'Django', 'Reinhardt', '', true, true, now())",
    )
    .await;
    db.migrate_reference().await.expect("it fits");
    assert_eq!(
        db.text("select rowcast_reference.is_staff('1')::text || name from rowcast_reference.person").await,
        "trueDjango Reinhardt"
    );
    assert_eq!(db.text("select coalesce(obj_description('auth_user'::regclass), 'its own')").await, "its own");
    assert_eq!(
        db.text("select obj_description('django_session'::regclass)").await,
        "rowcast reference: Django's sessions, made because there were none."
    );
}

/// In another schema than public, under a name that needs quotes; and moved away later.
#[tokio::test]
async fn the_tables_are_found_where_they_were_made() {
    let db = TestDb::new().await;
    db.exec(&format!("create schema \"My App\"; alter database {} set search_path = \"My App\", public", db.name))
        .await;
    db.migrate_reference().await.expect("it fits");
    let all = "insert into auth_user (username) values ('a'), ('b'); insert into user_profile values (1, 'STUDENT', 2);
        insert into game_order (customer_id) values (1); insert into order_transaction (user_id, order_id, amount, type) values (1, 1, 1, 'DEPOSIT');
        insert into submission (student_id, assignment_title, grade) values (1, 'x', 1); insert into achievement (user_id, title, points) values (1, 'x', 1);
        insert into notification (recipient_id, title, message) values (1, 'x', 'y'); insert into portfolio (user_id, name) values (1, 'p');
        select rowcast_reference.record_portfolio_values('1 day'), rowcast_reference.trim_order_history('1 day'), rowcast_reference.mark_read('1', 1)";
    let path = |path: &str| format!("set local search_path = {path}");
    db.exec(&format!("begin; {}; {all}; commit", path("\"My App\""))).await;
    // Whoever asks with whatever path gets the same.
    let asked = "select concat_ws(' ', rowcast_reference.home(), rowcast_reference.order_update(1) ->> 'order_id', rowcast_reference.unread('1'),
        rowcast_reference.leaderboard() -> 0 ->> 'points', (select value from rowcast_reference.portfolio_history(rowcast_reference.portfolio_of('1'), '2020-01-01', 5)))";
    assert_eq!(db.text(asked).await, "My App 1 0 1 0.00");
}
