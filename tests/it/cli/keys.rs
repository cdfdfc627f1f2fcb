use serde_json::{Value, json};

use super::{migrated, ok, refused, rowcast, text};
use crate::kit::{Binary, Server, http_client};

const SECRET: &str = "a secret key of the tests, longer than it needs to be";

#[tokio::test]
async fn a_servers_key_is_made_shown_once_rotated_and_revoked() {
    let db = migrated().await;
    let server = Server::with(&db.url(), |c| c.connection.open = false).await;
    let publish = async |secret: &str| {
        let post = http_client().post(server.http("/api/channels/in:1/events")).bearer_auth(secret);
        post.json(&json!({"event": "e", "data": 1})).send().await.expect("an answer").status().as_u16()
    };
    let secret = async |args: &[&str]| {
        let run = rowcast(&db, &[&["key"], args].concat()).await;
        assert!(run.status.success(), "{}", text(&run.stderr));
        text(&run.stdout).trim().to_owned()
    };
    let first = secret(&["create", "importer", "--publish", "in:{id}"]).await;
    assert!(first.starts_with("rck_"), "{first}");
    let second = secret(&["rotate", "importer", "--grace", "3600"]).await;
    assert_eq!((publish(&first).await, publish(&second).await), (202, 202));
    let third = secret(&["rotate", "importer", "--grace", "0"]).await;
    assert_eq!((publish(&second).await, publish(&third).await), (401, 202));
    let list = rowcast(&db, &["key", "list"]).await;
    let keys: Vec<Value> = ok(&list);
    assert!(keys.iter().all(|key| key["name"] == "importer" && key["publish"] == json!(["in:{id}"])), "{keys:?}");
    let shown = text(&list.stdout);
    assert!([&first, &second, &third].iter().all(|secret| !shown.contains(&secret[4..])), "{shown}");
    assert!(rowcast(&db, &["key", "revoke", "importer"]).await.status.success());
    assert_eq!(publish(&third).await, 401);
    assert!(refused(&rowcast(&db, &["key", "revoke", "importer"]).await, 1).contains("no key named importer"));
    assert!(refused(&rowcast(&db, &["key", "create", "b", "--publish", "in:{"]).await, 1).contains("in:{"));
    server.stop().await;
}

#[tokio::test]
async fn a_token_is_one_that_the_configured_server_takes() {
    let db = migrated().await;
    db.exec(
        "create table auth_user (id int primary key, username text, password text, is_active bool, is_staff bool, is_superuser bool);
         insert into auth_user values (7, 'alice', '', true, true, false), (8, 'bob', '', false, false, false);
         select rowcast.define_access('mentors', roles => '{mentor}'), rowcast.define_access('seven', claims => '{\"sub\": \"7\"}')",
    )
    .await;
    let settings = "[auth]\njwt = true\nsecret_key_file = \"secret\"\njwt_issuer = \"us\"\njwt_audiences = [\"them\"]";
    let token = async |args: &[&str]| {
        let run = Binary::new(&[&["token"], args].concat()).env("DATABASE_URL", &db.url()).file("secret", SECRET);
        run.file("rowcast.toml", settings).output().await
    };
    let dir = crate::kit::Dir::new("token");
    let file = dir.path().join("secret");
    std::fs::write(&file, SECRET).expect("our own directory");
    let server = Server::with(&db.url(), |c| {
        c.connection.open = false;
        c.auth.jwt = true;
        c.auth.secret_key_file = Some(file);
        c.auth.jwt_issuer = Some("us".into());
        c.auth.jwt_audiences = vec!["them".into()];
    })
    .await;
    let read = async |token: &str, channel: &str| {
        let url = server.http(&format!("/api/channels/{channel}/snapshot"));
        http_client().get(url).bearer_auth(token.trim()).send().await.expect("an answer").status().as_u16()
    };
    let me = ["--user", "42", "--role", "mentor"];
    for (args, mentors, seven, said) in [
        (
            &[&me[..], &["--unchecked"]].concat()[..],
            200,
            403,
            "for user 42, not looked up (--unchecked), role mentor; holds 3600 s",
        ),
        (&["--user", "alice"], 403, 200, "for user 7 (alice), staff; holds"),
        (&["--user", "7", "--ttl", "0"], 401, 401, "for user 7 (alice), staff; holds 0 s"),
        (&["--user", "8"], 403, 403, "for user 8 (bob), who is deactivated; holds"),
    ] {
        let run = token(args).await;
        assert!(run.status.success() && text(&run.stderr).contains(said), "{}", text(&run.stderr));
        let token = text(&run.stdout);
        assert_eq!((read(&token, "mentors").await, read(&token, "seven").await), (mentors, seven), "{args:?}");
    }
    for nobody in ["nobody", "42", "9999999999999"] {
        let told = refused(&token(&["--user", nobody]).await, 1);
        assert!(told.contains(&format!("auth_user has no user '{nobody}'")) && told.contains("--unchecked"), "{told}");
    }
    db.exec("drop table auth_user").await;
    let run = token(&["--user", "42"]).await;
    assert!(
        run.status.success() && text(&run.stderr).contains("not looked up (relation \"auth_user\" does not exist)")
    );
    let run = Binary::new(&["token", "--user", "42"]).env("DATABASE_URL", &db.url()).output().await;
    assert!(refused(&run, 2).contains("secret_key_file"), "where a key would be named");
    server.stop().await;
}
