use serde_json::{Value, json};

use super::{KeyFile, subscribe, token, with_token};
use crate::kit::sse;
use crate::kit::ws::Client;
use crate::kit::{Server, TestDb, http_client, patiently};

/// Orders that their customer and their booster may see.
const ORDERS: &str = "
    create table orders (id int primary key, customer text, booster text, note text);
    insert into orders values (1, 'carl', 'max', 'a'), (2, 'carl', 'max', 'a');
    select rowcast.watch('orders', 'orders:{id}');
    select rowcast.define_access('orders:{id}', reads => '{orders}', allow =>
      'exists (select from orders o where o.id = {id}::int and rowcast.user_id() in (o.customer, o.booster))')";

async fn client(server: &Server, user: &str) -> Client {
    Client::connect(&with_token(server, &token(user, json!({})))).await
}

#[tokio::test]
async fn nothing_is_open_until_a_rule_opens_it() {
    let db = TestDb::new().await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| key.tokens(c)).await;
    let mut anybody = Client::connect(&server.ws()).await;
    let refusal = subscribe(&mut anybody, "news").await;
    assert_eq!(refusal["code"], "forbidden");
    assert!(refusal["message"].as_str().expect("text").contains("rowcast.define_access"), "{refusal}");
    let answer = http_client().get(server.http("/sse?channel=news")).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 403);
    let answer = http_client().get(server.http("/api/channels/news/snapshot")).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 403);
    db.exec("select rowcast.define_access('news', everyone => true)").await;
    // The rule is there when the drain that brought it is through.
    let opened = async { while subscribe(&mut anybody, "news").await["type"] == "error" {} };
    patiently("the rule", opened).await;
    db.exec("select rowcast.undefine_access('news')").await;
    let gone = anybody.skip_to("unsubscribed").await;
    assert_eq!((gone.str_of("channel"), gone.str_of("code")), ("news", "access_lost"));
    server.stop().await;
}

#[tokio::test]
async fn revocation_comes_before_the_content() {
    let db = TestDb::new().await;
    db.exec(ORDERS).await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| key.tokens(c)).await;
    let (mut carl, mut max, mut eve) =
        (client(&server, "carl").await, client(&server, "max").await, client(&server, "eve").await);
    for channel in ["orders:1", "orders:2"] {
        assert_eq!(subscribe(&mut carl, channel).await["type"], "subscribed");
        assert_eq!(subscribe(&mut max, channel).await["type"], "subscribed");
        assert_eq!(subscribe(&mut eve, channel).await["code"], "forbidden");
    }
    assert_eq!(subscribe(&mut carl, "orders:x").await["code"], "forbidden", "no number, and no error");
    let (name, booster) = (token("max", json!({})), server.http("/sse?channel=orders:1&token="));
    let mut stream = sse::Client::connect(&format!("{booster}{name}"), None).await;
    while !stream.next().await.data.is_some_and(|data| data.contains("\"snapshot\"")) {}

    db.exec("update orders set booster = 'moe', note = 'secret' where id = 1").await;
    // The order's next event goes to the one who may see it, and the booster hears of nothing but his end.
    assert_eq!(carl.skip_to("event").await["data"]["note"], "secret");
    let gone = loop {
        let frame = max.next().await;
        assert_ne!(frame["type"], "event", "{}", frame.raw);
        if frame["type"] == "unsubscribed" {
            break frame;
        }
    };
    assert_eq!((gone.str_of("channel"), gone.str_of("code")), ("orders:1", "access_lost"));
    let rest = stream.body().await;
    assert!(rest.contains("access_lost") && !rest.contains("secret"), "{rest}");
    // What he may still see he still sees, and what he asks for again he is refused.
    assert_eq!(subscribe(&mut max, "orders:1").await["code"], "forbidden");
    db.exec("update orders set note = 'b' where id = 2").await;
    assert_eq!(max.skip_to("event").await["data"]["note"], "b");
    server.stop().await;
}

#[tokio::test]
async fn a_rule_that_cannot_be_asked_ends_the_subscription_and_holds_nobody_up() {
    let db = TestDb::new().await;
    db.exec(ORDERS).await;
    db.exec("create table other (id int); select rowcast.watch('other', 'other:{id}'); select rowcast.define_access('other:{id}')").await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| {
        key.tokens(c);
        c.auth.recheck_timeout_ms = 300;
        c.store.statement_timeout_ms = 2_000;
    })
    .await;
    let stream = server.http(&format!("/sse?channel=orders:1&token={}", token("carl", json!({}))));
    let stream = sse::Client::connect(&stream, None).await;
    let mut carl = client(&server, "carl").await;
    assert_eq!(subscribe(&mut carl, "orders:1").await["type"], "subscribed");
    assert_eq!(subscribe(&mut carl, "other:1").await["type"], "subscribed");
    // Whoever reads the orders waits for this transaction.
    db.exec("update orders set note = 'held' where id = 1").await;
    assert_eq!(carl.skip_to("event").await["data"]["note"], "held");
    db.exec(
        "create or replace function slow() returns bool language plpgsql stable as 'begin perform pg_sleep(5); return true; end';
         select rowcast.define_access('orders:{id}', reads => '{orders}', allow => 'slow()')",
    )
    .await;
    // A reader comes again by itself.
    assert!(stream.body().await.contains("access_unknown"));
    db.exec("insert into other values (1)").await;
    assert_eq!(carl.skip_to("event").await.str_of("channel"), "other:1");
    let gone = carl.skip_to("unsubscribed").await;
    assert_eq!((gone.str_of("channel"), gone.str_of("code")), ("orders:1", "access_unknown"));
    server.stop().await;
}

#[tokio::test]
async fn row_level_security_sees_the_claims() {
    let db = TestDb::new().await;
    db.admin_exec("do $$ begin if not exists (select from pg_roles where rolname = 'web_client') then create role web_client; end if; grant web_client to app; end $$").await;
    db.exec(
        "create table notes (id int primary key, owner text); insert into notes values (1, 'ann'), (2, 'bob');
         alter table notes enable row level security;
         create policy own on notes for select to web_client using (owner = current_setting('request.jwt.claims')::json ->> 'sub');
         grant select on notes to web_client;
         select rowcast.define_access('note:{id}', allow => 'exists (select from notes where id = {id}::int)', run_as => 'web_client')",
    )
    .await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| key.tokens(c)).await;
    let mut ann = client(&server, "ann").await;
    assert_eq!(subscribe(&mut ann, "note:1").await["type"], "subscribed");
    assert_eq!(subscribe(&mut ann, "note:2").await["code"], "forbidden");
    assert_eq!(subscribe(&mut ann, "note:1 or true").await["code"], "forbidden", "a parameter stays one");
    server.stop().await;
}

#[tokio::test]
async fn keys_of_servers_do_what_they_were_made_for_until_they_end() {
    let db = TestDb::new().await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| {
        key.tokens(c);
        c.auth.jwt = false;
        c.auth.recheck_interval_ms = 250;
    })
    .await;
    let first = db
        .text(r#"select rowcast.create_api_key('importer', publish => '{"in:{id}"}', listen => '{"out:{id}"}')"#)
        .await;
    assert!(db.text("select encode(hash, 'hex') from rowcast.api_key").await != first, "only a hash is kept");
    let publish = async |secret: &str, channel: &str| {
        let post = http_client().post(server.http(&format!("/api/channels/{channel}/events"))).bearer_auth(secret);
        post.json(&json!({"event": "e", "data": 1})).send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(publish(&first, "in:1").await, 202);
    assert_eq!(publish(&first, "out:1").await, 403);
    assert_eq!(publish("rck_made_up", "in:1").await, 401);
    assert_eq!(db.text("select count(*)::text from rowcast.api_key where last_used_at is not null").await, "1");
    let mut listener = Client::connect(&with_token(&server, &first)).await;
    assert_eq!(subscribe(&mut listener, "out:1").await["type"], "subscribed");
    assert_eq!(subscribe(&mut listener, "in:1").await["code"], "forbidden");

    let second = db.text("select rowcast.rotate_api_key('importer')").await;
    for secret in [&first, &second] {
        assert_eq!(publish(secret, "in:1").await, 202, "both hold while one replaces the other");
    }
    let third = db.text("select rowcast.rotate_api_key('importer')").await;
    assert_eq!((publish(&first, "in:1").await, publish(&third, "in:1").await), (401, 202));
    assert_eq!(listener.expect_close().await.code, 4401, "its key holds no longer");
    db.exec("select rowcast.revoke_api_key('importer')").await;
    assert_eq!(publish(&third, "in:1").await, 401);
    server.stop().await;
}

#[tokio::test]
async fn a_user_is_disconnected_by_sql_and_by_staff() {
    let db = TestDb::new().await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| key.tokens(c)).await;
    let (mut one, mut other) = (client(&server, "7").await, client(&server, "8").await);
    one.next_of("welcome").await;
    other.next_of("welcome").await;
    db.exec("select rowcast.disconnect('7', 'password changed')").await;
    let closed = one.expect_close().await;
    assert_eq!((closed.code, &*closed.reason), (4401, "password changed"));
    let ask = async |authorization: Option<String>| {
        let mut post = http_client().post(server.http("/api/users/8/disconnect"));
        if let Some(token) = authorization {
            post = post.bearer_auth(token);
        }
        post.json(&json!({})).send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(ask(None).await, 401);
    assert_eq!(ask(Some(token("9", json!({})))).await, 403);
    assert_eq!(ask(Some(token("9", json!({"is_staff": true})))).await, 202);
    assert_eq!(other.expect_close().await.code, 4401);
    server.stop().await;
}

#[tokio::test]
async fn another_user_in_place_keeps_only_what_is_his() {
    let db = TestDb::new().await;
    db.exec(ORDERS).await;
    db.exec("select rowcast.define_access('news')").await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| key.tokens(c)).await;
    let mut one = client(&server, "carl").await;
    for channel in ["orders:1", "news"] {
        assert_eq!(subscribe(&mut one, channel).await["type"], "subscribed");
    }
    one.send(json!({"type": "auth", "token": token("eve", json!({}))})).await;
    let gone = one.skip_to("unsubscribed").await;
    assert_eq!((gone.str_of("channel"), gone.str_of("code")), ("orders:1", "access_lost"));
    assert_eq!(one.skip_to("authenticated").await.str_of("user"), "eve");
    server.stop().await;
}

#[tokio::test]
async fn a_list_of_channels_costs_one_question_whoever_many_there_are() {
    let db = TestDb::new().await;
    db.exec(ORDERS).await;
    db.exec(
        "create table public.asked (xid xid8 default pg_current_xact_id());
         create function noted() returns bool language plpgsql as 'begin insert into public.asked default values; return true; end';
         select rowcast.define_access('orders:{id}', allow =>
           'noted() and exists (select from orders o where o.id = {id}::int and rowcast.user_id() in (o.customer, o.booster))')",
    )
    .await;
    db.exec("insert into orders select n, 'carl', case when n > 15 then 'max' end from generate_series(3, 20) n").await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| key.tokens(c)).await;
    let mut carl = client(&server, "carl").await;
    for id in 1..=20 {
        assert_eq!(subscribe(&mut carl, &format!("orders:{id}")).await["type"], "subscribed");
    }
    let list = async |user: &str| {
        db.exec("truncate asked").await;
        let get = http_client().get(server.http("/api/channels?limit=5")).bearer_auth(token(user, json!({})));
        let body: Value = get.send().await.expect("an answer").json().await.expect("JSON");
        let channels = body["channels"].as_array().expect("a list");
        let names = channels.iter().map(|c| c["channel"].as_str().expect("text").to_owned()).collect::<Vec<_>>();
        let questions = db.text("select count(distinct xid)::text from asked").await;
        (names.join(" "), body["next"].clone(), questions)
    };
    for (user, names, next) in [
        ("carl", "orders:1 orders:10 orders:11 orders:12 orders:13", json!("orders:13")),
        ("max", "orders:1 orders:16 orders:17 orders:18 orders:19", json!("orders:19")),
        ("eve", "", Value::Null),
    ] {
        assert_eq!(list(user).await, (names.into(), next, "1".into()), "{user}");
    }
    server.stop().await;
}

#[tokio::test]
async fn who_lost_a_channel_while_the_stream_was_away_is_not_let_back_by_its_new_beginning() {
    let db = TestDb::new().await;
    db.exec(ORDERS).await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| key.tokens(c)).await;
    let mut max = client(&server, "max").await;
    assert_eq!(subscribe(&mut max, "orders:1").await["type"], "subscribed");
    max.skip_to("snapshot").await;
    // The row that says so is of the life before: nobody drains it.
    db.exec("begin; update orders set booster = 'moe' where id = 1; select rowcast.reset(); commit").await;
    let frame = loop {
        let frame = max.next().await;
        if ["reset", "unsubscribed"].contains(&frame.str_of("type")) {
            break frame;
        }
    };
    db.exec("update orders set note = 'secret' where id = 2").await;
    assert_eq!((frame.str_of("type"), frame["code"].as_str()), ("unsubscribed", Some("access_lost")), "{}", frame.raw);
    server.stop().await;
}

#[tokio::test]
async fn a_separator_within_a_key_opens_nobody_elses_channel() {
    let db = TestDb::new().await;
    db.exec(
        "create table doc (id text, owner text, body text);
         select rowcast.watch('doc', 'doc:{owner}:{id}');
         select rowcast.define_access('doc:{owner}:{id}', allow => '{owner} = rowcast.user_id()')",
    )
    .await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| key.tokens(c)).await;
    let mut eve = client(&server, "eve").await;
    assert_eq!(subscribe(&mut eve, "doc:eve:x:1").await["type"], "subscribed");
    assert_eq!(subscribe(&mut eve, "doc:eve:2").await["type"], "subscribed");
    db.exec("insert into doc values ('1', 'eve:x', 'secret of eve:x'); insert into doc values ('2', 'eve', 'own')")
        .await;
    let frame = eve.skip_to("event").await;
    assert_eq!(frame["data"]["body"], "own", "{}", frame.raw);
    server.stop().await;
}

#[tokio::test]
async fn unwatching_a_table_leaves_what_a_rule_reads_recorded() {
    let db = TestDb::new().await;
    db.exec(ORDERS).await;
    db.exec("create table note (id int primary key); select rowcast.watch('note', 'orders:{id}')").await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| key.tokens(c)).await;
    let mut max = client(&server, "max").await;
    assert_eq!(subscribe(&mut max, "orders:1").await["type"], "subscribed");
    assert_eq!(db.text("select rowcast.unwatch('orders')::text").await, "1");
    let refused = db.try_exec("select rowcast.unwatch('orders', 'rowcast.access')").await.expect_err("a rule reads it");
    assert!(refused.to_string().contains("the access rule of orders:{id} reads public.orders"), "{refused}");
    db.exec("update orders set booster = 'moe' where id = 1; insert into note values (1)").await;
    assert_eq!(max.skip_to("unsubscribed").await.str_of("code"), "access_lost");
    // With the rule, its reading goes, too.
    db.exec("select rowcast.undefine_access('orders:{id}')").await;
    assert_eq!(db.text("select string_agg(\"table\", ' ') from rowcast.watched()").await, "public.note");
    server.stop().await;
}

#[tokio::test]
async fn who_opens_a_family_opens_no_more_specific_one() {
    let db = TestDb::new().await;
    db.exec(
        "create table grades (student text, mark int);
         select rowcast.watch('grades', 'student:{student}');
         select rowcast.define_access('student:{id}', allow => '{id} is not null')",
    )
    .await;
    let key = KeyFile::new();
    let stray = r#"
        path = "/ws/student/{id}/"
        channels = ["student:{id}"]
        frames = { "*" = '{"type":"shown"}' }"#;
    let server = Server::with(&db.url(), |c| {
        key.tokens(c);
        c.endpoint.insert("student".into(), toml::from_str(stray).expect("an endpoint"));
    })
    .await;
    let mut ann = client(&server, "ann").await;
    // As long as it is nobody else's, a key with a separator is a key.
    for channel in ["student:5", "student:5:grades"] {
        assert_eq!(subscribe(&mut ann, channel).await["type"], "subscribed", "{channel}");
    }
    db.exec("select rowcast.watch('grades', 'student:{student}:grades')").await;
    let gone = ann.skip_to("unsubscribed").await;
    assert_eq!((gone.str_of("channel"), gone.str_of("code")), ("student:5:grades", "access_lost"));
    let refusal = subscribe(&mut ann, "student:5:grades").await;
    assert!(refusal["message"].as_str().expect("text").contains("No rule opens"), "{refusal}");
    assert_eq!(subscribe(&mut ann, "student:5:marks").await["type"], "subscribed");
    let get = |path: &str| http_client().get(server.http(path)).bearer_auth(token("ann", json!({})));
    let answer = get("/sse?channel=student:5:grades").send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 403);
    // By way of an endpoint's parameter it is not reached either.
    let path = |id: &str| format!("{}/student/{id}/?token={}", server.ws(), token("ann", json!({})));
    assert_eq!(Client::connect(&path("5")).await.response.status().as_u16(), 101);
    match Client::try_connect(path("5:grades")).await {
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => assert_eq!(answer.status().as_u16(), 404),
        Err(e) => panic!("{e}"),
        Ok(_) => panic!("let in"),
    }
    let opened = async |template: &str| db.text(&format!("select rowcast.opened('{template}')::text")).await;
    assert_eq!((opened("student:{x}").await, opened("student:{x}:grades").await), ("true".into(), "false".into()));
    assert_eq!(opened("student:{x}:marks").await, "false", "not before it has a rule");
    // A pattern that is no family's is about whatever it matches.
    db.exec("select rowcast.define_access('student:{all}:{what}')").await;
    assert_eq!(opened("student:{x}:grades").await, "true");
    patiently("the rule", async { while subscribe(&mut ann, "student:5:grades").await["type"] == "error" {} }).await;
    server.stop().await;
}
