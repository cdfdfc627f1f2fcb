//! Event channels: which change is which event of which channel.

use super::*;

#[tokio::test]
async fn each_change_is_an_event_and_a_no_op_is_none() {
    let db = TestDb::new().await;
    db.exec("create table item (id int primary key, v text); select rowcast.watch('item', 'items')").await;
    let server = Server::start(&db).await;
    let mut ws = client(&server).await;
    assert_eq!(subscribe(&mut ws, "items").await.raw_of("data"), "[]");
    for (sql, events) in [
        ("insert into item values (1, 'a')", vec![r#"insert {"id":1,"v":"a"}"#]),
        ("update item set v = 'a'", vec![]),
        ("update item set v = 'b'", vec![r#"update {"id":1,"v":"b"}"#]),
        ("begin; update item set v = 'never'; rollback", vec![]),
        (
            "begin; update item set v = 'c'; savepoint s; update item set v = 'gone'; rollback to s; commit",
            vec![r#"update {"id":1,"v":"c"}"#],
        ),
        (
            "insert into item values (1, 'x'), (2, 'y') on conflict (id) do update set v = excluded.v",
            vec![r#"update {"id":1,"v":"x"}"#, r#"insert {"id":2,"v":"y"}"#],
        ),
        ("update item set id = id + 10", vec![r#"update {"id":11,"v":"x"}"#, r#"update {"id":12,"v":"y"}"#]),
        ("delete from item where id = 11", vec![r#"delete {"id":11,"v":"x"}"#]),
        ("truncate item", vec!["truncate null"]),
    ] {
        assert_eq!(heard(&db, &mut ws, "items", sql).await, events, "{sql}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_moved_row_leaves_one_channel_and_enters_the_other() {
    let db = TestDb::new().await;
    db.exec(
        "create table task (id int primary key, owner text); insert into task values (1, 'ann');
         select rowcast.watch('task', 'of:{owner}')",
    )
    .await;
    let server = Server::start(&db).await;
    let (mut ann, mut bob) = (client(&server).await, client(&server).await);
    subscribe(&mut ann, "of:ann").await;
    subscribe(&mut bob, "of:bob").await;
    db.exec("update task set owner = 'bob'").await;
    mark(&db, "of:ann", "end").await;
    mark(&db, "of:bob", "end").await;
    assert_eq!(until_mark(&mut ann).await, [r#"delete {"id":1,"owner":"ann"}"#]);
    assert_eq!(until_mark(&mut bob).await, [r#"insert {"id":1,"owner":"bob"}"#]);
    // Into nowhere: a null key is no channel.
    assert_eq!(
        heard(&db, &mut bob, "of:bob", "update task set owner = null").await,
        [r#"delete {"id":1,"owner":"bob"}"#]
    );
    server.stop().await;
}

#[tokio::test]
async fn truncate_reaches_every_channel_of_the_table() {
    let db = TestDb::new().await;
    db.exec("create table task (id int primary key, owner text); select rowcast.watch('task', 'of:{owner}')").await;
    let server = Server::start(&db).await;
    let (mut ann, mut bob) = (client(&server).await, client(&server).await);
    subscribe(&mut ann, "of:ann").await;
    subscribe(&mut bob, "of:bob").await;
    db.exec("truncate task").await;
    for client in [&mut ann, &mut bob] {
        let frame = client.next_of("event").await;
        assert_eq!((frame.str_of("event"), frame["data"].is_null()), ("truncate", true));
    }
    server.stop().await;
}

#[tokio::test]
async fn routes_name_their_event_choose_columns_operations_and_conditions() {
    let db = TestDb::new().await;
    db.exec(
        r#"create table submission (id int primary key, student int, grade numeric(6,2), secret text);
           select rowcast.watch('submission', 'dashboard', event => 'created', columns => '{id,student}', operations => '{insert}');
           select rowcast.watch('submission', 'dashboard', event => 'graded', columns => '{id,grade}', operations => '{update}',
                                "when" => 'new.grade is distinct from old.grade');
           select rowcast.watch('submission', 'student:{student}', columns => '{id}')"#,
    )
    .await;
    let server = Server::start(&db).await;
    let (mut dashboard, mut student) = (client(&server).await, client(&server).await);
    subscribe(&mut dashboard, "dashboard").await;
    subscribe(&mut student, "student:7").await;
    let sql = "insert into submission values (1, 7, null, 'hunter2'); update submission set secret = 'x';
               update submission set grade = 9.50; delete from submission";
    let created = [r#"created {"id":1,"student":7}"#, r#"graded {"id":1,"grade":9.50}"#];
    assert_eq!(heard(&db, &mut dashboard, "dashboard", sql).await, created);
    mark(&db, "student:7", "end").await;
    let own = until_mark(&mut student).await;
    // `secret` is recorded for nobody, so its change is none that anybody could see.
    assert_eq!(own.first().map(String::as_str), Some(r#"insert {"id":1}"#));
    assert_eq!(own.last().map(String::as_str), Some(r#"delete {"id":1}"#));
    let log =
        db.text("select string_agg(coalesce(new::text, '') || coalesce(old::text, ''), '') from rowcast.event").await;
    assert!(!log.contains("hunter2") && !log.contains("secret"), "{log}");
    server.stop().await;
}

#[tokio::test]
async fn one_connection_follows_many_channels_and_leaves_them() {
    let db = TestDb::new().await;
    let server = Server::start(&db).await;
    let mut ws = client(&server).await;
    for channel in ["a", "b", "c"] {
        subscribe(&mut ws, channel).await;
    }
    ws.send(json!({"type": "unsubscribe", "channel": "b"})).await;
    ws.next_of("unsubscribed").await;
    db.exec("select rowcast.send(c, 'hi', to_json(c)) from unnest('{a,b,c}'::text[]) c").await;
    for expected in ["a", "c"] {
        assert_eq!(ws.next_of("event").await.str_of("channel"), expected);
    }
    server.stop().await;
}

#[tokio::test]
async fn other_peoples_notify_is_passed_on_without_a_cursor() {
    let db = TestDb::new().await;
    let server = Server::with(&db.url(), |c| c.listener.foreign_channels = vec!["Legacy".into()]).await;
    let mut ws = client(&server).await;
    subscribe(&mut ws, "Legacy").await;
    db.exec(r#"select pg_notify('Legacy', '{"n": 1.50}'); select pg_notify('Legacy', 'plain "text"')"#).await;
    for data in [r#"{"n": 1.50}"#, r#""plain \"text\"""#] {
        let frame = ws.next_of("event").await;
        assert_eq!(frame.raw_of("data"), data);
        assert!(frame.value.get("cursor").is_none(), "{}", frame.raw);
    }
    server.stop().await;
}
