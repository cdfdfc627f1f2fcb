//! Each wrong call fails there and then, with a stable code, one sentence that says which thing is wrong, and a hint.

use super::refused;
use crate::kit::TestDb;

const TABLES: &str = r#"
    create table grade (id int primary key, "Name" text, tags text[], doc jsonb, n int, secret text);
    create view grade_view as select * from grade;
    create materialized view grade_mat as select 1 as a;
    create sequence grade_seq;
    create table parted (id int) partition by list (id);
    create table leaf partition of parted for values in (1);
    create table parent (id int);
    create table child () inherits (parent);
    create table torn (id int primary key references grade on delete cascade, n int references grade on delete set default);
    create function nil() returns json language sql stable as 'select null::json';
    create function shaky(i int) returns json language sql volatile as 'select null::json';
    create function many(i int) returns setof json language sql stable as 'select null::json';
    create function twice(i int) returns json language sql stable as 'select null::json';
    create function twice(i text) returns json language sql stable as 'select null::json';
    create function good(i int) returns json language sql stable as 'select null::json';
    select rowcast.define_channel('bare:{id}', 'state');
    select rowcast.define_channel('fed:{id}', 'state', 'good');
"#;

/// The call, its code, and what its sentence must name.
const CASES: &[(&str, &str, &str)] = &[
    // The table.
    ("watch('grade_view', 'a')", "RC001", "grade_view cannot be watched: it is a view"),
    ("watch('grade_mat', 'a')", "RC001", "is a materialized view"),
    ("watch('grade_seq', 'a')", "RC001", "is not a table"),
    ("watch('pg_class', 'a')", "RC001", "belongs to the system"),
    ("watch('information_schema.sql_features', 'a')", "RC001", "belongs to the system"),
    ("watch('rowcast.event', 'a')", "RC001", "belongs to rowcast itself"),
    ("watch('parted', 'a', bulk => true)", "RC001", "is partitioned"),
    ("watch('leaf', 'a', bulk => true)", "RC001", "has a parent"),
    ("watch('parent', 'a', bulk => true)", "RC001", "has children"),
    ("watch('torn', 'a', bulk => true)", "RC001", "has a foreign key with \"on delete cascade\" and one with"),
    ("watch(null, 'a')", "RC001", "no table is named"),
    ("watch(4294967290::oid::regclass, 'a')", "RC001", "no table with oid 4294967290"),
    ("watch('grades', 'a')", "42P01", "\"grades\" does not exist"),
    // The channel.
    ("watch('grade', null)", "RC002", "1 to 255 bytes"),
    ("watch('grade', '')", "RC002", "1 to 255 bytes"),
    ("watch('grade', repeat('ż', 128))", "RC002", "1 to 255 bytes"),
    ("watch('grade', E'a\\u0085b')", "RC002", "control characters"),
    ("watch('grade', 'a{')", "RC002", "in pairs around a column name"),
    ("watch('grade', 'a}')", "RC002", "in pairs around a column name"),
    ("watch('grade', 'a{}')", "RC002", "in pairs around a column name"),
    ("watch('grade', 'a{b{c}}')", "RC002", "in pairs around a column name"),
    ("watch('grade', '{id}{n}')", "RC002", "text between two parameters"),
    ("watch('grade', '{id}-{id}')", "RC002", "once in a channel template: id"),
    ("watch('grade', 'a:{tags}')", "RC002", "tags cannot be part of a channel name"),
    ("watch('grade', 'a:{doc}')", "RC002", "doc cannot be part of a channel name"),
    ("watch('grade', 'a:{mark}')", "RC003", "names column mark, which table public.grade does not have"),
    ("watch('grade', 'a:{name}')", "RC003", "names column name"),
    ("watch('grade', 'a:{ctid}')", "RC003", "names column ctid"),
    // The options.
    ("watch('grade', 'a', columns => '{id,mark}')", "RC003", "columns names column mark"),
    ("watch('grade', 'a', columns => '{}')", "RC006", "columns names no column"),
    ("watch('grade', 'a', columns => array['id', null])", "RC006", "columns names no column"),
    ("watch('grade', 'a', operations => '{insert,upsert}')", "RC006", "unknown operation: upsert"),
    ("watch('grade', 'a', operations => '{}')", "RC006", "no operation"),
    ("watch('grade', 'a', event => '')", "RC006", "event name"),
    ("watch('grade', 'a', event => repeat('e', 101))", "RC006", "event name"),
    ("watch('grade', 'a', event => E'e\\n')", "RC006", "event name"),
    // The condition: one boolean expression, and nothing that could reach out of it.
    ("watch('grade', 'a', \"when\" => ' ')", "RC004", "is empty"),
    ("watch('grade', 'a', \"when\" => 'new.mark > 1')", "RC003", "column new.mark does not exist"),
    ("watch('grade', 'a', \"when\" => 'n > 1')", "RC003", "\"n\" is ambiguous"),
    ("watch('grade', 'a', \"when\" => 'new.n')", "RC004", "must be type boolean"),
    ("watch('grade', 'a', \"when\" => 'new.n >')", "RC004", "syntax error"),
    ("watch('grade', 'a', \"when\" => 'true, true')", "RC004", "syntax error"),
    ("watch('grade', 'a', \"when\" => 'nowhere(new.n)')", "RC004", "nowhere(integer) does not exist"),
    ("watch('grade', 'a', \"when\" => 'new.ctid = old.ctid')", "RC004", "system column"),
    ("watch('grade', 'a', \"when\" => 'exists (select 1)')", "RC004", "subquery"),
    ("watch('grade', 'a', \"when\" => 'count(*) > 1')", "RC004", "aggregate"),
    ("watch('grade', 'a', \"when\" => 'row_number() over () > 1')", "RC004", "window"),
    ("watch('grade', 'a', \"when\" => 'generate_series(1, 2) > 1')", "RC004", "set-returning"),
    ("watch('grade', 'a', \"when\" => 'true); drop table grade; --')", "RC004", "comments"),
    ("watch('grade', 'a', \"when\" => 'true); drop table grade; select (true')", "RC004", "semicolon"),
    ("watch('grade', 'a', \"when\" => 'true) or (true')", "RC004", "closes a parenthesis"),
    ("watch('grade', 'a', \"when\" => 'true))')", "RC004", "closes a parenthesis"),
    ("watch('grade', 'a', \"when\" => 'true ) or ) true ((')", "RC004", "closes a parenthesis"),
    ("watch('grade', 'a', \"when\" => '((true)')", "RC004", "opens a parenthesis"),
    ("watch('grade', 'a', \"when\" => 'new.tags[1) = 2]')", "RC004", "closes a parenthesis"),
    ("watch('grade', 'a', \"when\" => 'true /* ')", "RC004", "comments"),
    ("watch('grade', 'a', \"when\" => $w$new.\"Name\" = ' -- $w$)", "RC004", "comments"),
    ("watch('grade', 'a', \"when\" => $w$new.\"Name\" = 'x$w$)", "RC004", "quote that is not closed"),
    ("watch('grade', 'a', \"when\" => $w$new.\"Name\" = $$x$$ $w$)", "RC004", "dollar signs"),
    ("watch('grade', 'a', \"when\" => $w$new.\"Name\" = e'\\' or true) then x ' $w$)", "RC004", "E''"),
    ("watch('grade', 'a', \"when\" => $w$new.\"Name\" = u&'x' $w$)", "RC004", "E''"),
    ("watch('grade', 'a', \"when\" => 'new.n = $1')", "RC004", "dollar signs"),
    // Keys.
    ("watch('grade', 'loose:{id}', keys => 'select 1 as id')", "RC005", "loose:{id} is not defined as one"),
    ("watch('grade', 'bare:{id}', keys => 'select 1 as id')", "RC005", "bare:{id} has none"),
    ("watch('grade', 'fed:{id}', keys => 'select 1 as idd')", "RC005", "gives no column id"),
    ("watch('grade', 'fed:{id}', keys => 'select 1 as id; select 2')", "RC005", "semicolon"),
    ("watch('grade', 'fed:{id}', keys => 'select 1 as id) x; --')", "RC005", "comments"),
    (
        "watch('grade', 'fed:{id}', keys => 'select id from nowhere where a = {id}')",
        "RC005",
        "\"nowhere\" does not exist",
    ),
    ("watch('grade', 'fed:{id}', keys => 'select id from grade where n = {mark}')", "RC003", "keys names column mark"),
    ("watch('grade', 'fed:{id}', keys => 'delete from grade returning id')", "RC005", "syntax error"),
    // Channels.
    ("define_channel('z:{x')", "RC002", "in pairs around a column name"),
    ("define_channel('z:{x}', 'stream')", "RC009", "no kind of channel 'stream'"),
    ("define_channel('z:{x}', throttle_ms => -1)", "RC009", "throttle_ms"),
    ("define_channel('z:{x}', throttle_ms => 3600001)", "RC009", "throttle_ms"),
    ("define_channel('z:{x}', event => '')", "RC009", "event name"),
    ("define_channel('z:{x}', conflate => '{a')", "RC002", "conflation key"),
    ("define_channel('fed:{other}')", "RC009", "fed:{other} describes the same channels as fed:{id}"),
    ("define_channel('z:{x}', 'state', 'nowhere')", "RC009", "no function, view or table nowhere"),
    ("define_channel('z:{x}', 'state', 'a b c')", "RC009", "not a name"),
    ("define_channel('z:{x}', 'state', 'nil')", "RC009", "takes 0 arguments, and the pattern has 1"),
    ("define_channel('z', 'state', 'good')", "RC009", "takes 1 arguments, and the pattern has 0"),
    ("define_channel('z:{x}', 'state', 'shaky')", "RC009", "is volatile"),
    ("define_channel('z:{x}', 'state', 'many')", "RC009", "returns a set"),
    ("define_channel('z:{x}', 'state', 'twice')", "RC009", "more than one function twice"),
    ("define_channel('z:{x}', 'state', 'grade')", "RC009", "has no column x"),
    ("define_channel('z:{x}', 'state', 'grade_seq')", "RC009", "neither a function nor a relation"),
    ("define_channel('z:{doc}', 'state', 'parted')", "RC009", "has no column doc"),
    // Messages.
    ("send('', 'e')", "RC010", "channel name must not be empty"),
    ("send(null, 'e')", "RC010", "channel name must not be empty"),
    ("send(repeat('x', 256), 'e')", "RC010", "this one has 256"),
    ("send(E'a\\tb', 'e')", "RC010", "control characters"),
    ("send('c', '')", "RC010", "event name must not be empty"),
    ("send('c', repeat('x', 101))", "RC010", "this one has 101"),
    ("send('c', 'e', '{')", "22P02", "json"),
];

#[tokio::test]
async fn what_is_wrong_is_named() {
    let db = TestDb::new().await;
    db.exec(TABLES).await;
    let before = db.text("select count(*)::text from rowcast.event").await;
    let mut wrong = Vec::new();
    for (call, code, part) in CASES {
        let r = refused(&db, &format!("select rowcast.{call}")).await;
        if r.code != *code || !r.message.contains(part) || (r.code.starts_with("RC") && r.hint.is_empty()) {
            wrong.push(format!("{call}\n  {} {}\n  hint: {}", r.code, r.message, r.hint));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(db.text("select count(*)::text from rowcast.event").await, before, "a refused call leaves nothing");
    assert_eq!(db.text("select count(*)::text from rowcast.route").await, "0");
    assert_eq!(db.text("select count(*)::text from pg_trigger where tgname like '00\\_rowcast%'").await, "0");
}

#[tokio::test]
async fn hints_list_the_columns() {
    let db = TestDb::new().await;
    db.exec(TABLES).await;
    for call in ["'a:{mark}'", "'a', columns => '{mark}'", "'a', \"when\" => 'new.mark > 1'"] {
        let r = refused(&db, &format!("select rowcast.watch('grade', {call})")).await;
        assert!(r.hint.contains(r#"id, "Name", tags, doc, n, secret"#), "{call}: {}", r.hint);
    }
}

#[tokio::test]
async fn temporary_tables_are_refused() {
    let db = TestDb::new().await;
    let r = refused(&db, "create temp table fleeting (id int); select rowcast.watch('fleeting', 'a')").await;
    assert_eq!((r.code.as_str(), r.message.contains("is a temporary table")), ("RC001", true), "{}", r.message);
}

#[tokio::test]
async fn templates_are_parsed_as_in_the_domain() {
    use rowcast::domain::Pattern;
    let db = TestDb::new().await;
    for text in [
        "rates",
        "orders:{id}",
        "{a}/{b}",
        "a:{Order ID}:b",
        "{a}!",
        "{é}ü{ö}",
        "",
        "a{",
        "a}",
        "a{}",
        "a{b{c}}",
        "{a}{b}",
        "{a}-{a}",
        "a\t{b}",
        "}{",
        "{{a}}",
        "a\u{9f}",
        "{a\\b}'\"%s",
    ] {
        let ours = Pattern::parse(text).map(|p| p.params().map(str::to_owned).collect::<Vec<_>>());
        let sql: Result<Vec<String>, _> =
            sqlx::query_scalar("select rowcast.parse_template($1)").bind(text).fetch_one(db.pool().await).await;
        match (ours, sql) {
            (Ok(ours), Ok(sql)) => assert_eq!(ours, sql, "{text:?}"),
            (Err(_), Err(_)) => {}
            (ours, sql) => panic!("{text:?}: {ours:?} here, {sql:?} in SQL"),
        }
    }
}
