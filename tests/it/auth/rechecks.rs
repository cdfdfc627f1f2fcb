//! Many who are asked about (again) while the rule is slow, fails for one, or the database holds it up: nobody else pays for it.

use std::collections::BTreeMap;

use serde_json::json;
use sqlx::PgConnection;

use super::{KeyFile, now_s, subscribe, token, with_token};
use crate::kit::ws::Client;
use crate::kit::{Server, TestDb, patiently};

/// Gates that are open or shut, a rule that takes `pace` for each (and for ever for gate 60), and a channel beside it.
const GATES: &str = "
    create table gate (id int primary key, shut bool not null default false, note text);
    insert into gate select n from generate_series(1, 60) n;
    create table pace (ms int); insert into pace values (0);
    create table other (id int);
    create function may(id text) returns bool stable language plpgsql as $$ begin
      perform pg_sleep((select case when id = '60' and ms > 0 then 60000 else ms end from public.pace) / 1000.0);
      return not (select g.shut from public.gate g where g.id = may.id::int);
    end $$;
    select rowcast.watch('gate', 'gate:{id}'), rowcast.watch('other', 'other');
    select rowcast.define_access('other');
    select rowcast.define_access('gate:{id}', reads => '{gate}', allow => 'may({id})')";

async fn client(server: &Server, user: &str) -> Client {
    Client::connect(&with_token(server, &token(user, json!({})))).await
}

/// Asks for all of them at once: how often each answer came.
async fn subscribe_all(client: &mut Client, gates: impl Iterator<Item = usize>) -> BTreeMap<String, usize> {
    let channels: Vec<String> = gates.map(|n| format!("gate:{n}")).collect();
    client.send(json!({"type": "subscribe", "channels": &channels})).await;
    let mut answers = BTreeMap::new();
    for _ in &channels {
        let answer = loop {
            let frame = client.next().await;
            match frame.str_of("type") {
                "subscribed" => break "subscribed".to_owned(),
                "error" => break format!("{} {}", frame.str_of("channel"), frame.str_of("code")),
                _ => {}
            }
        };
        *answers.entry(answer).or_default() += 1;
    }
    answers
}

#[tokio::test]
async fn a_slow_recheck_holds_those_whom_it_concerns_and_loses_nobody_who_may() {
    let db = TestDb::new().await;
    db.exec(GATES).await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| {
        key.tokens(c);
        c.auth.recheck_timeout_ms = 200;
    })
    .await;
    let mut ann = client(&server, "ann").await;
    assert_eq!(subscribe_all(&mut ann, 1..60).await, [("subscribed".to_owned(), 59)].into());
    assert_eq!(subscribe(&mut ann, "other").await["type"], "subscribed");
    db.exec("update pace set ms = 20").await;
    db.exec("update gate set note = 'a', shut = (id = 7)").await;
    db.exec("insert into other values (1)").await;
    db.exec("update gate set note = 'b'").await;
    let mut notes: BTreeMap<String, String> = BTreeMap::new();
    let (mut beside, mut lost) = (None, Vec::new());
    patiently("all that she may see", async {
        while notes.values().map(String::len).sum::<usize>() < 2 * 58 || lost.is_empty() {
            let frame = ann.next().await;
            match frame.str_of("type") {
                "event" if frame["channel"] == "other" => beside = Some(notes.len()),
                "event" => notes
                    .entry(frame.str_of("channel").into())
                    .or_default()
                    .push_str(frame["data"]["note"].as_str().expect("text")),
                "unsubscribed" => lost.push((frame.str_of("channel").to_owned(), frame.str_of("code").to_owned())),
                _ => {}
            }
        }
    })
    .await;
    assert_eq!(lost, [("gate:7".to_owned(), "access_lost".to_owned())]);
    assert!(!notes.contains_key("gate:7") && notes.values().all(|notes| notes == "ab"), "{notes:?}");
    assert!(beside.is_some_and(|before| before < 58), "others are not held up: {beside:?}");
    server.stop().await;
}

#[tokio::test]
async fn many_questions_are_not_too_many_for_the_time_of_one_statement_and_a_slow_one_fails_alone() {
    let db = TestDb::new().await;
    db.exec(GATES).await;
    db.exec("update pace set ms = 25").await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| {
        key.tokens(c);
        c.store.statement_timeout_ms = 1_000;
    })
    .await;
    let (mut ann, mut bob) = (client(&server, "ann").await, client(&server, "bob").await);
    let (of_ann, of_bob) = tokio::join!(subscribe_all(&mut ann, 1..61), subscribe_all(&mut bob, 1..60));
    assert_eq!(of_bob, [("subscribed".to_owned(), 59)].into());
    assert_eq!(of_ann, [("gate:60 database_unavailable".to_owned(), 1), ("subscribed".to_owned(), 59)].into());
    server.stop().await;
}

const PEOPLE: &str = "
    create table people (id text primary key, roles text[] not null default '{}', bad bool not null default false);
    insert into people values ('ann', '{mentor}'), ('bad', '{}');
    create function roles(id text) returns text[] stable language plpgsql as $$ begin
      if (select p.bad from public.people p where p.id = roles.id) then raise 'poisoned'; end if;
      return (select p.roles from public.people p where p.id = roles.id);
    end $$;
    select rowcast.define_access('mentors', roles => '{mentor}'), rowcast.define_access('users')";

#[tokio::test]
async fn one_user_whose_roles_cannot_be_found_out_keeps_nobody_else_in() {
    let db = TestDb::new().await;
    db.exec(PEOPLE).await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| {
        key.tokens(c);
        c.auth.roles_sql = Some("public.roles".into());
        c.auth.recheck_interval_ms = 250;
    })
    .await;
    let secret = db.text("select rowcast.create_api_key('importer', listen => '{users}')").await;
    let mut by_key = Client::connect(&with_token(&server, &secret)).await;
    let (mut ann, mut bad) = (client(&server, "ann").await, client(&server, "bad").await);
    assert_eq!(subscribe(&mut ann, "mentors").await["type"], "subscribed");
    assert_eq!(subscribe(&mut bad, "users").await["type"], "subscribed");
    db.exec("update people set bad = true where id = 'bad'; update people set roles = '{}' where id = 'ann'").await;
    assert_eq!(ann.skip_to("unsubscribed").await.str_of("code"), "access_lost");
    db.exec("select rowcast.revoke_api_key('importer')").await;
    assert_eq!(by_key.expect_close().await.code, 4401);
    // Of the one it is not known, and so he stays as he was.
    db.exec("select rowcast.send('users', 'told')").await;
    assert_eq!(bad.skip_to("event").await.str_of("channel"), "users");
    server.stop().await;
}

#[tokio::test]
async fn a_token_expires_in_time_however_long_the_database_takes() {
    let db = TestDb::new().await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| {
        key.tokens(c);
        c.auth.recheck_interval_ms = 250;
        c.store.statement_timeout_ms = 60_000;
    })
    .await;
    let secret = db.text("select rowcast.create_api_key('importer')").await;
    let _by_key = Client::connect(&with_token(&server, &secret)).await;
    let mut short = Client::connect(&with_token(&server, &token("42", json!({"exp": now_s() + 3})))).await;
    let mut holder: PgConnection = db.connect().await;
    let lock = "begin; lock table rowcast.api_key in access exclusive mode";
    sqlx::raw_sql(lock).execute(&mut holder).await.expect("a lock");
    let closed = loop {
        if let Err(closed) = short.next_or_close().await {
            break closed;
        }
    };
    assert_eq!((closed.code, &*closed.reason), (4401, "the token has expired"));
    sqlx::raw_sql("rollback").execute(&mut holder).await.expect("an end");
    server.stop().await;
}

#[tokio::test]
async fn a_connection_takes_one_place_of_the_user_that_it_is() {
    let db = TestDb::new().await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| {
        key.tokens(c);
        c.http.connections_per_user_max = 1;
    })
    .await;
    let become_ = async |client: &mut Client, token: String| {
        client.send(json!({"type": "auth", "token": token})).await;
        loop {
            let frame = client.next().await;
            match frame.str_of("type") {
                "authenticated" => return "authenticated".to_owned(),
                "error" => return frame.str_of("code").to_owned(),
                _ => {}
            }
        }
    };
    let user = |name: &str| token(name, json!({}));
    let mut changing = client(&server, "ann").await;
    for name in ["bob", "ann", "ann", "bob"] {
        assert_eq!(become_(&mut changing, user(name)).await, "authenticated", "{name}");
    }
    let mut second = client(&server, "ann").await;
    assert_eq!(become_(&mut second, user("bob")).await, "connection_limit");
    assert_eq!(become_(&mut changing, user("ann")).await, "connection_limit", "who was refused is who it was");
    // A server's key is nobody's: the place is free.
    let secret = db.text("select rowcast.create_api_key('importer')").await;
    assert_eq!(become_(&mut changing, secret).await, "authenticated");
    assert_eq!(become_(&mut second, user("bob")).await, "authenticated");
    assert_eq!(become_(&mut changing, user("ann")).await, "authenticated");
    second.close().await;
    patiently("the place", async { while become_(&mut changing, user("bob")).await != "authenticated" {} }).await;
    server.stop().await;
}
