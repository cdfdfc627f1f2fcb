//! Partitioned tables and old-style inheritance.

use super::captured;
use crate::kit::TestDb;

const TRIGGERS: &str = "select count(*)::text from pg_trigger where tgname like '00\\_rowcast%'";

async fn parted(db: &TestDb<'_>) {
    db.exec(
        "create table p (id int, k int, v text, primary key (id, k)) partition by list (k);
         create table p1 partition of p for values in (1);
         create table p2 (v text, dropped int, k int not null, id int not null, primary key (id, k));
         alter table p2 drop column dropped; alter table p attach partition p2 for values in (2);
         create table deep partition of p for values in (4, 5) partition by list (k);
         create table p4 partition of deep for values in (4)",
    )
    .await;
}

#[tokio::test]
async fn partitions_are_seen_however_they_are_written() {
    let db = TestDb::new().await;
    parted(&db).await;
    db.exec("select rowcast.watch('p', 'p:{id}', columns => '{k,v}')").await;
    let cases: [(&str, &[&str]); 7] = [
        (
            "insert into p values (1, 1, 'root'), (2, 2, 'root')",
            &[r#"i {"id":1,"k":1,"v":"root"}"#, r#"i {"id":2,"k":2,"v":"root"}"#],
        ),
        ("insert into p1 values (3, 1, 'leaf')", &[r#"i {"id":3,"k":1,"v":"leaf"}"#]),
        ("insert into deep values (4, 4, 'deep')", &[r#"i {"id":4,"k":4,"v":"deep"}"#]),
        ("update p set v = v", &[]),
        ("update p set k = 2 where id = 1", &[r#"d < {"id":1,"k":1,"v":"root"}"#, r#"i {"id":1,"k":2,"v":"root"}"#]),
        (
            "create table p3 partition of p for values in (3); insert into p3 values (5, 3, 'later')",
            &[r#"i {"id":5,"k":3,"v":"later"}"#],
        ),
        ("delete from p2 where id = 1", &[r#"d < {"id":1,"k":2,"v":"root"}"#]),
    ];
    for (sql, expected) in cases {
        db.exec(sql).await;
        assert_eq!(captured(&db).await, expected, "{sql}");
    }
    db.admin_exec(
        "set session_replication_role = replica; insert into p1 values (9, 1, 'r'); insert into p3 values (9, 3, 'r')",
    )
    .await;
    assert_eq!(captured(&db).await.len(), 2, "also what replication applies to old and new partitions");
}

#[tokio::test]
async fn truncate_is_one_event_whatever_it_empties() {
    let db = TestDb::new().await;
    parted(&db).await;
    db.exec("select rowcast.watch('p', 'p:{id}')").await;
    let cases = [
        ("truncate p", 1),
        ("truncate p1", 1),
        ("truncate p4", 1),
        ("truncate deep", 1),
        ("truncate p1, p2", 1),
        ("begin; truncate p1; insert into p1 values (1, 1); truncate p1; commit", 3),
        ("begin; truncate p1; truncate p2; rollback; truncate p2", 1),
        ("create table p3 partition of p for values in (3); truncate p", 1),
    ];
    for (sql, events) in cases {
        db.exec(sql).await;
        assert_eq!(captured(&db).await.len(), events, "{sql}");
    }
    // A new partition has no truncate trigger of its own until tend() comes by.
    let missing = "select array_to_string(triggers_missing, ',') from rowcast.watched()";
    assert_eq!(db.text(missing).await, "public.p3 00_rowcast_1_truncate");
    assert_eq!(db.text("select rowcast.tend(3600, 1 << 30) ->> 'mended'").await, "1");
    assert_eq!(db.text(missing).await, "");
    db.exec("truncate p3").await;
    assert_eq!(captured(&db).await, ["t"]);
}

#[tokio::test]
async fn a_partition_may_be_watched_besides_its_parent() {
    let db = TestDb::new().await;
    parted(&db).await;
    db.exec(
        "select rowcast.watch('p', 'p:{id}'); select rowcast.watch('p1', 'p1:{id}'); insert into p values (1, 1, 'x')",
    )
    .await;
    let sources = "select string_agg(source::text, ',' order by source) from rowcast.event where op = 'i'";
    assert_eq!(db.text(sources).await, "1,2");
    db.exec("select rowcast.unwatch('p'); delete from rowcast.event; insert into p values (2, 1, 'x')").await;
    assert_eq!(db.text(sources).await, "2");
    db.exec("select rowcast.unwatch('p1')").await;
    assert_eq!(db.text(TRIGGERS).await, "0", "every trace is gone");
}

#[tokio::test]
async fn whoever_owns_the_table_may_go_on_creating_partitions() {
    let db = TestDb::new().await;
    parted(&db).await;
    db.admin_exec("create role tenant_of_trees; alter table public.p owner to tenant_of_trees; grant create on schema public to tenant_of_trees")
        .await;
    // Row triggers are copied to a new partition with the rights of whoever creates it.
    db.admin_exec("select rowcast.watch('public.p', 'p:{id}')").await;
    db.admin_exec("set role tenant_of_trees; create table public.p3 partition of public.p for values in (3); insert into public.p values (1, 3, 'x')").await;
    assert_eq!(captured(&db).await, [r#"i {"id":1,"k":3,"v":"x"}"#]);
}

#[tokio::test]
async fn children_of_old_style_inheritance_are_attached_each() {
    let db = TestDb::new().await;
    db.exec(
        "create table h (id int, v text); create table h1 (extra int) inherits (h); create table h2 () inherits (h1);
         select rowcast.watch('h', 'h:{id}', columns => '{v}');
         insert into h values (1, 'a'); insert into h1 values (2, 'b', 7); insert into h2 values (3, 'c', 8); update h set v = 'z' where id > 1",
    )
    .await;
    let expected = [
        r#"i {"id":1,"v":"a"}"#,
        r#"i {"id":2,"v":"b"}"#,
        r#"i {"id":3,"v":"c"}"#,
        r#"u {"id":2,"v":"z"} < {"id":2,"v":"b"}"#,
        r#"u {"id":3,"v":"z"} < {"id":3,"v":"c"}"#,
    ];
    assert_eq!(captured(&db).await, expected);
    // A child that comes later is found missing, and mended by watching again or by tend().
    db.exec("create table h3 () inherits (h); select rowcast.watch('h', 'h:{id}', columns => '{v}'); insert into h3 values (4, 'd')").await;
    assert_eq!(captured(&db).await, [r#"i {"id":4,"v":"d"}"#]);
    db.exec("create table h4 () inherits (h)").await;
    assert_eq!(db.text("select rowcast.tend(3600, 1 << 30) ->> 'mended'").await, "3");
    db.exec("truncate h; select rowcast.unwatch('h')").await;
    assert_eq!(captured(&db).await, ["t"]);
    assert_eq!(db.text(TRIGGERS).await, "0", "every trace is gone");
}
