use std::process::Stdio;

use serde_json::Value;

use super::{migrated, refused, text};
use crate::kit::{Binary, Running, TestDb, patiently};

async fn serve(db: &TestDb<'_>, listen: &str) -> Running {
    Binary::new(&["serve", "--listen", listen]).env("DATABASE_URL", &db.url()).start().ready().await
}

async fn line(tail: &mut Running) -> Value {
    let line = tail.line().await.expect("a frame");
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e} in {line}"))
}

/// A tail of `prices` that is live: it has shown its snapshot.
async fn tail(url: &str, more: &[&str]) -> Running {
    let args = [&["tail", "prices", "--snapshot", "--url", url], more].concat();
    let mut tail = Binary::new(&args).start();
    assert_eq!(line(&mut tail).await["type"], "snapshot");
    tail
}

#[tokio::test]
async fn tail_prints_the_frames_as_they_came_and_ends_after_its_count() {
    let db = migrated().await;
    let server = serve(&db, "127.0.0.1:0").await;
    let mut tail = tail(&server.url, &["--count", "2"]).await;
    db.exec("select rowcast.send('prices', 'changed', '{\"p\": 10.50, \"n\": 9007199254740993}')").await;
    let raw = tail.line().await.expect("a frame");
    assert!(raw.contains("{\"p\": 10.50, \"n\": 9007199254740993}"), "digits stay: {raw}");
    db.exec("select rowcast.send('prices', 'gone')").await;
    assert_eq!(line(&mut tail).await["event"], "gone");
    assert_eq!(tail.line().await, None);
    assert_eq!(tail.ended().await.code(), Some(0));
}

#[tokio::test]
async fn tail_loses_and_repeats_nothing_when_the_server_restarts() {
    let db = migrated().await;
    let mut server = serve(&db, "127.0.0.1:0").await;
    let mut tail = tail(&server.url, &["--count", "3"]).await;
    db.exec("select rowcast.send('prices', 'one')").await;
    assert_eq!(line(&mut tail).await["event"], "one");
    server.kill9().await;
    db.exec("select rowcast.send('prices', 'two')").await;
    let address = server.url.trim_start_matches("http://").to_owned();
    let _server = serve(&db, &address).await;
    assert_eq!(line(&mut tail).await["event"], "two");
    db.exec("select rowcast.send('prices', 'three')").await;
    assert_eq!(line(&mut tail).await["event"], "three");
    assert_eq!(tail.ended().await.code(), Some(0));
    let notes = tail.errors().await;
    assert!(notes.contains("connection lost") && notes.contains("connected again"), "{notes}");
}

#[tokio::test]
async fn tail_goes_on_from_a_cursor_it_is_given() {
    let db = migrated().await;
    let server = serve(&db, "127.0.0.1:0").await;
    let mut first = tail(&server.url, &["--count", "1"]).await;
    for event in ["one", "two"] {
        db.exec(&format!("select rowcast.send('prices', '{event}')")).await;
    }
    let one = line(&mut first).await;
    assert_eq!(one["event"], "one");
    let cursor = one["cursor"].as_str().expect("a cursor");
    let mut second = Binary::new(&["tail", "prices", "--url", &server.url, "--cursor", cursor, "--count", "1"]).start();
    assert_eq!(line(&mut second).await["event"], "two");

    let run = Binary::new(&["tail", "prices", "--url", &server.url, "--cursor", "nonsense"]).output().await;
    let errors = refused(&run, 1);
    assert!(errors.contains("cursor"), "{errors}");
}

#[tokio::test]
async fn tail_of_a_channel_whose_view_fails_says_so_and_ends() {
    let db = migrated().await;
    db.exec(
        "create function broken(id int) returns json stable language sql as 'select to_json(1 / id)';
         select rowcast.define_channel('broken:{id}', view => 'broken')",
    )
    .await;
    let server = serve(&db, "127.0.0.1:0").await;
    let run = Binary::new(&["tail", "broken:0", "--url", &server.url]).output().await;
    let errors = refused(&run, 1);
    assert!(errors.contains("broken:0") && errors.contains("view_failed"), "{errors}");
}

#[tokio::test]
async fn tail_says_who_asks_and_why_it_is_refused() {
    let db = migrated().await;
    db.exec("select rowcast.define_access('prices')").await;
    let settings = [
        ("DATABASE_URL", db.url()),
        ("ROWCAST_AUTH_JWT", "true".into()),
        ("ROWCAST_AUTH_SECRET_KEY_ENV", "KEY".into()),
        ("KEY", "a secret key that is long enough for HS256".into()),
        ("ROWCAST_CONNECTION_OPEN", "false".into()),
    ];
    let with = |args: &[&str]| settings.iter().fold(Binary::new(args), |b, (name, value)| b.env(name, value));
    let server = with(&["serve", "--listen", "127.0.0.1:0"]).start().ready().await;
    let tail = ["tail", "prices", "--snapshot", "--url", &server.url];
    let errors = refused(&Binary::new(&tail).output().await, 1);
    assert!(errors.contains("401 Unauthorized: This channel") && !errors.contains('{'), "{errors}");

    let token = text(&with(&["token", "--user", "42"]).output().await.stdout).trim().to_owned();
    let mut tail = Binary::new(&tail).env("ROWCAST_TOKEN", &token).start();
    assert_eq!(line(&mut tail).await["type"], "snapshot");
    let errors = refused(&Binary::new(&["tail", "prices", "--token", "two words"]).output().await, 2);
    assert!(errors.contains("one word"), "{errors}");
}

#[tokio::test]
async fn tail_without_a_server_says_so() {
    let errors = refused(&Binary::new(&["tail", "prices", "--url", "http://127.0.0.1:1"]).output().await, 1);
    assert!(errors.contains("no rowcast answers at http://127.0.0.1:1") && errors.contains("hint: "), "{errors}");
}

#[tokio::test]
async fn a_reader_that_leaves_ends_the_tail_quietly() {
    let db = migrated().await;
    let server = serve(&db, "127.0.0.1:0").await;
    let mut tail = tokio::process::Command::new(env!("CARGO_BIN_EXE_rowcast"))
        .args(["tail", "prices", "--snapshot", "--url", &server.url])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program was built");
    let mut stdout = tail.stdout.take().expect("piped");
    let mut some = [0; 16];
    patiently("the snapshot", tokio::io::AsyncReadExt::read_exact(&mut stdout, &mut some)).await.expect("bytes");
    drop(stdout);
    // The next write finds the pipe closed.
    db.exec("select rowcast.send('prices', 'more')").await;
    let end = patiently("its end", tail.wait_with_output()).await.expect("a child of ours");
    assert_eq!((end.status.code(), text(&end.stderr)), (Some(0), String::new()));
}
