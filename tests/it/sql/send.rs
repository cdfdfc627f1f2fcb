//! `rowcast.send()`.

use crate::kit::TestDb;

#[tokio::test]
async fn a_message_is_in_the_log_when_its_transaction_commits() {
    let db = TestDb::new().await;
    db.exec(r#"select rowcast.send('orders:1', 'shipped', '{"by":  1.50}')"#).await;
    db.exec("select rowcast.send('orders:1', 'gone')").await;
    db.exec("begin; select rowcast.send('orders:1', 'never'); rollback").await;
    let sent = db
        .texts("select concat_ws('|', source, op, channel, event, new, old, matched) from rowcast.event order by id")
        .await;
    let expected = [r#"0|s|orders:1|shipped|{"by":  1.50}"#, "0|s|orders:1|gone|null"];
    assert_eq!(sent, expected.map(|s| Some(s.to_owned())));
}

#[tokio::test]
async fn whoever_is_granted_send_needs_nothing_else() {
    let db = TestDb::new().await;
    db.admin_exec("create role herald_of_send login").await;
    let url = db.url_as("herald_of_send");
    let mut herald = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.expect("may connect");
    let send = "select rowcast.send('c', 'e')";
    let e = sqlx::raw_sql(send).execute(&mut herald).await.expect_err("not granted");
    assert_eq!(super::refusal(&e).code, "42501");
    db.exec("grant usage on schema rowcast to herald_of_send").await;
    let e = sqlx::raw_sql(send).execute(&mut herald).await.expect_err("send itself is not granted");
    assert_eq!(super::refusal(&e).code, "42501");
    db.exec("grant execute on function rowcast.send to herald_of_send").await;
    sqlx::raw_sql(send).execute(&mut herald).await.expect("granted");
    assert_eq!(db.text("select count(*)::text from rowcast.event where op = 's'").await, "1");
}

#[tokio::test]
async fn a_message_has_a_bound() {
    let db = TestDb::new().await;
    db.exec("select setval('rowcast.send_bytes_max', 20)").await;
    db.exec(r#"select rowcast.send('c', 'e', '"456789012345678901"')"#).await;
    let e = db.try_exec(r#"select rowcast.send('c', 'e', '"4567890123456789012"')"#).await.expect_err("too large");
    let r = super::refusal(&e);
    assert_eq!((r.code.as_str(), r.message.as_str()), ("RC010", "a message may have 20 bytes, this one has 21"));
    assert!(r.hint.contains("rowcast.send_bytes_max"), "{}", r.hint);
    db.exec("select setval('rowcast.send_bytes_max', 21)").await;
    db.exec(r#"select rowcast.send('c', 'e', '"4567890123456789012"')"#).await;
    assert_eq!(db.text("select count(*)::text from rowcast.event where op = 's'").await, "2");
}
