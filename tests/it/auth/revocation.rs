//! Revocation before content, where the two race: neither a reading that has seen more than was drained nor the first
//! piece of a large drain reaches who lost it.

use serde_json::json;
use sqlx::PgConnection;

use super::{KeyFile, metric, token, with_token};
use crate::kit::ws::{Client, Closed};
use crate::kit::{Server, TestDb, http_client, wait_until};

/// The same content as a state read from a view, at most each 300 ms, and as events.
const ORDERS: &str = "
    create table orders (id int primary key, customer text, booster text, note text);
    insert into orders values (1, 'carl', 'max', 'a');
    select rowcast.define_channel('order:{id}', kind => 'state', view => 'orders', throttle_ms => 300);
    select rowcast.watch('orders', 'order:{id}'), rowcast.watch('orders', 'orders:{id}');
    create function may(id text) returns bool stable return
      exists (select from orders o where o.id = $1::int and rowcast.user_id() in (o.customer, o.booster));
    select rowcast.define_access('order:{id}', reads => '{orders}', allow => 'may({id})'),
           rowcast.define_access('orders:{id}', reads => '{orders}', allow => 'may({id})')";

const ENDPOINT: &str = r#"
    path = "/ws/o/{id}/"
    params = { id = "number" }
    channels = ["order:{id}"]
    snapshot = '{"type":"shown","data":{data}}'
    frames = { "*" = '{"type":"shown","data":{data}}' }"#;

async fn run(connection: &mut PgConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(connection).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
}

/// Nothing secret until the end comes.
async fn lost(client: &mut Client) -> Result<String, Closed> {
    loop {
        let frame = client.next_or_close().await?;
        assert!(!frame.raw.contains("secret"), "{}", frame.raw);
        if frame["type"] == "unsubscribed" {
            return Ok(frame.str_of("code").to_owned());
        }
    }
}

#[tokio::test]
async fn a_reading_waits_for_the_drain_of_what_it_has_seen() {
    let db = TestDb::new().await;
    db.exec(ORDERS).await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| {
        key.tokens(c);
        c.endpoint.insert("o".into(), toml::from_str(ENDPOINT).expect("an endpoint"));
    })
    .await;
    let (max, carl) = (token("max", json!({})), token("carl", json!({})));
    let mut native = Client::connect(&with_token(&server, &max)).await;
    let mut customer = Client::connect(&with_token(&server, &carl)).await;
    let mut endpoint = Client::connect(&format!("{}/o/1/?token={max}", server.ws())).await;
    for client in [&mut native, &mut customer] {
        client.send(json!({"type": "subscribe", "channel": "order:1"})).await;
        client.skip_to("snapshot").await;
    }
    endpoint.next_of("shown").await;
    // Shown at once; the next is dirty, and rests.
    db.exec("update orders set note = 'b'").await;
    assert_eq!(customer.skip_to("event").await["data"]["note"], "b");
    let reads = metric(&server, "rowcast_router_view_reads_total").await;
    let (mut writer, mut holder) = (db.connect().await, db.connect().await);
    run(&mut writer, "begin; update orders set note = 'c'; savepoint s").await;
    // From the writer's commit on, nobody reads the log.
    let held = tokio::spawn(async move {
        run(&mut holder, "begin; lock table rowcast.event in access exclusive mode").await;
        holder
    });
    wait_until("the holder waits", async || {
        db.text("select count(*)::text from pg_locks where mode = 'AccessExclusiveLock' and not granted").await != "0"
    })
    .await;
    run(&mut writer, "update orders set booster = 'moe', note = 'secret'; commit").await;
    let mut holder = held.await.expect("held");
    // Somebody asks: that reading sees the commit.
    let answer = http_client().get(server.http("/api/channels/order:1/snapshot")).bearer_auth(&carl).send();
    let answer = tokio::spawn(answer);
    wait_until("a reading", async || metric(&server, "rowcast_router_view_reads_total").await != reads).await;
    run(&mut holder, "rollback").await;
    assert_eq!(lost(&mut native).await.expect("not closed"), "access_lost");
    let closed = lost(&mut endpoint).await.expect_err("closed");
    assert_eq!((closed.code, &*closed.reason), (4403, "access_lost"));
    while customer.skip_to("event").await["data"]["note"] != "secret" {}
    assert_eq!(answer.await.expect("ends").expect("an answer").status().as_u16(), 200);
    server.stop().await;
}

#[tokio::test]
async fn no_piece_of_a_drain_goes_out_before_a_revocation_of_a_later_piece() {
    let db = TestDb::new().await;
    db.exec(ORDERS).await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| {
        key.tokens(c);
        c.listener.drain_rows_max = 2;
        c.endpoint.insert("o".into(), toml::from_str(&ENDPOINT.replace("order:", "orders:")).expect("an endpoint"));
    })
    .await;
    let max = token("max", json!({}));
    let mut native = Client::connect(&with_token(&server, &max)).await;
    let mut endpoint = Client::connect(&format!("{}/o/1/?token={max}", server.ws())).await;
    native.send(json!({"type": "subscribe", "channel": "orders:1"})).await;
    native.skip_to("snapshot").await;
    wait_until("both listen", async || metric(&server, "rowcast_hub_subscriptions").await == 2).await;
    db.exec("update orders set note = 'b'").await;
    assert_eq!(native.skip_to("event").await["data"]["note"], "b");
    endpoint.next_of("shown").await;
    // Rows of events first, that of the rule last.
    let secrets = "select rowcast.send('orders:1', 'told', '\"secret\"');".repeat(9);
    db.exec(&format!("begin; {secrets} update orders set booster = 'moe'; commit")).await;
    assert_eq!(lost(&mut native).await.expect("not closed"), "access_lost");
    let closed = lost(&mut endpoint).await.expect_err("closed");
    assert_eq!((closed.code, &*closed.reason), (4403, "access_lost"));
    server.stop().await;
}

/// One of its channels is let in at once, and lost while it is still found out about the other.
#[tokio::test]
async fn a_rule_that_changes_while_a_stream_is_let_in_counts() {
    let db = TestDb::new().await;
    db.exec(ORDERS).await;
    db.exec("select rowcast.define_access('news')").await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| key.tokens(c)).await;
    let carl = token("carl", json!({}));
    let mut native = Client::connect(&with_token(&server, &carl)).await;
    native.send(json!({"type": "subscribe", "channel": "news"})).await;
    native.skip_to("snapshot").await;
    let mut holder = db.connect().await;
    run(&mut holder, "begin; lock table orders in access exclusive mode").await;
    let url = server.http(&format!("/sse?channel=news&channel=orders:1&token={carl}"));
    let stream = tokio::spawn(async move { crate::kit::sse::Client::connect(&url, None).await });
    wait_until("the stream is asked about", async || {
        db.text("select count(*)::text from pg_locks where relation = 'orders'::regclass and not granted").await == "1"
    })
    .await;
    db.exec("select rowcast.define_access('news', roles => '{editor}')").await;
    assert_eq!(lost(&mut native).await.expect("not closed"), "access_lost");
    run(&mut holder, "rollback").await;
    let stream = stream.await.expect("answered");
    assert_eq!(stream.status.as_u16(), 200, "it was let in");
    let body = stream.body().await;
    assert!(body.contains("access_lost") && !body.contains("subscribed"), "{body}");
    server.stop().await;
}
