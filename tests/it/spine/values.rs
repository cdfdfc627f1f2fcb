//! Values arrive as Postgres wrote them; tables may be called and built in any way.

use super::*;

#[tokio::test]
async fn values_keep_their_text() {
    let db = TestDb::new().await;
    db.exec(
        "create table v (id int primary key, n numeric, big bigint, f float8, t timestamptz, j jsonb, raw json, a int[], b bytea, u uuid,
                         p point, x text, gone text);
         select rowcast.watch('v', 'v'); set timezone = 'UTC'",
    )
    .await;
    let server = Server::start(&db).await;
    let mut ws = client(&server).await;
    subscribe(&mut ws, "v").await;
    let sql = r#"set timezone = 'UTC'; insert into v values (1, 10.500, 9007199254740993, 0.1, '2026-01-02 03:04:05.678901+00', '{"b": 1.10, "a": [null]}',
                 '{"b" : 1.10 }', '{1,2}', '\xdeadbeef', '00000000-0000-4000-8000-000000000001', '(1,2)', E'q"\\\n\u00fc', null)"#;
    let expected = concat!(
        r#"insert {"id":1,"n":10.500,"big":9007199254740993,"f":0.1,"t":"2026-01-02T03:04:05.678901+00:00","j":{"a": [null], "b": 1.10},"#,
        r#""raw":{"b" : 1.10 },"a":[1,2],"b":"\\xdeadbeef","u":"00000000-0000-4000-8000-000000000001","p":"(1,2)","x":"q\"\\\nü","gone":null}"#
    );
    assert_eq!(heard(&db, &mut ws, "v", sql).await, [expected]);
    server.stop().await;
}

#[tokio::test]
async fn large_rows_pass() {
    let db = TestDb::new().await;
    db.exec("create table big (id int primary key, body text); select rowcast.watch('big', 'big')").await;
    let server = Server::start(&db).await;
    let mut ws = client(&server).await;
    subscribe(&mut ws, "big").await;
    for (id, bytes) in [(1, 9_000), (2, 300_000)] {
        db.exec(&format!("insert into big values ({id}, repeat('x', {bytes}))")).await;
        let frame = ws.next_of("event").await;
        assert_eq!(frame["data"]["body"].as_str().map(str::len), Some(bytes));
    }
    server.stop().await;
}

#[tokio::test]
async fn odd_names_composite_keys_and_partitions_work() {
    let db = TestDb::new().await;
    db.exec(
        r#"create schema "Odd";
           create table "Odd"."Line Item" ("Order ID" int, "No" int, "it's" text, primary key ("Order ID", "No"));
           select rowcast.watch('"Odd"."Line Item"', 'line:{Order ID}-{No}');
           create table part (region text, id int, v text, primary key (region, id)) partition by list (region);
           create table part_eu partition of part for values in ('eu'); create table part_us partition of part for values in ('us');
           select rowcast.watch('part', 'part:{id}')"#,
    )
    .await;
    let server = Server::start(&db).await;
    let mut ws = client(&server).await;
    subscribe(&mut ws, "line:4-2").await;
    let sql = r#"insert into "Odd"."Line Item" values (4, 2, 'x')"#;
    let line = r#"insert {"Order ID":4,"No":2,"it's":"x"}"#;
    assert_eq!(heard(&db, &mut ws, "line:4-2", sql).await, [line]);
    let mut ws = client(&server).await;
    subscribe(&mut ws, "part:1").await;
    let sql = "insert into part values ('eu', 1, 'a'); update part_eu set v = 'direct'; update part set region = 'us'; truncate part_us";
    assert_eq!(
        heard(&db, &mut ws, "part:1", sql).await,
        [
            r#"insert {"region":"eu","id":1,"v":"a"}"#,
            r#"update {"region":"eu","id":1,"v":"direct"}"#,
            r#"delete {"region":"eu","id":1,"v":"direct"}"#,
            r#"insert {"region":"us","id":1,"v":"direct"}"#,
            "truncate null",
        ]
    );
    server.stop().await;
}
