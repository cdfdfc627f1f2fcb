use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::sync::OnceCell;

use super::{folder, or_skip, run};
use crate::kit::{Binary, TestDb, patiently};

async fn environment() -> Result<PathBuf, String> {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples-venv");
    let python = venv.join("bin/python");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv)).await?;
    }
    let wanted = folder().join("python/requirements.txt");
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "-r"]).arg(wanted)).await?;
    Ok(python)
}

async fn python() -> Option<PathBuf> {
    static PYTHON: OnceCell<Result<PathBuf, String>> = OnceCell::const_new();
    or_skip("Python with PyPI", PYTHON.get_or_init(environment).await)
}

/// What one server says, connection after connection; the example must go on after what passes, and end at what does not.
#[tokio::test]
async fn python_ends_at_what_does_not_pass_and_at_nothing_else() {
    let Some(python) = python().await else { return };
    let server = r#"
import asyncio, json
from websockets.asyncio.server import serve
answers = [
    [{"type": "error", "code": "view_timeout", "message": "m", "channel": "c"}],
    [{"type": "subscribed", "resumed": False, "cursor": "old"}, {"type": "snapshot", "data": 1, "cursor": "old"}, None],
    [{"type": "error", "code": "bad_cursor", "message": "m", "channel": "c"}],
    [{"type": "subscribed", "resumed": False, "cursor": "new"}, {"type": "snapshot", "data": 2, "cursor": "new"},
     {"type": "unsubscribed", "channel": "c", "code": "access_lost", "message": "Not any more."}],
]
async def answer(socket):
    async for text in socket:
        for frame in answers.pop(0):
            if frame is None:
                return await socket.close(1012)
            await socket.send(json.dumps(frame))
async def main():
    async with serve(answer, "127.0.0.1", 0, subprotocols=["rowcast.v1"]) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()
asyncio.run(main())
"#;
    let mut server = Command::new(&python)
        .args(["-c", server])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("Python is there");
    let mut said = BufReader::new(server.stdout.take().expect("piped")).lines();
    let port = patiently("its port", said.next_line()).await.expect("read").expect("it lives");
    let example = Command::new(&python)
        .arg(folder().join("python/rates.py"))
        .args([&format!("ws://127.0.0.1:{port}"), "c"])
        .kill_on_drop(true)
        .output();
    let output = patiently("its end", example).await.expect("Python is there");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let data: Vec<Value> =
        said.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["data"].clone()).collect();
    assert_eq!((data, output.status.code()), (vec![1.into(), 2.into()], Some(1)), "{said}{errors}");
    assert!(errors.contains("view_timeout: m\n") && errors.ends_with("access_lost: Not any more.\n"), "{errors}");
}

#[tokio::test]
async fn python_gets_every_event_once_over_a_restart() {
    let Some(python) = python().await else { return };
    let db = TestDb::new().await;
    db.exec("create table note (id int primary key, n numeric)").await;
    db.exec("select rowcast.watch('note', 'notes')").await;
    let serve = async |listen: &str| {
        let server = Binary::new(&["serve", "--listen", listen])
            .env("DATABASE_URL", &db.url())
            .env("ROWCAST_CONNECTION_OPEN", "true");
        server.start().ready().await
    };
    let mut server = serve("127.0.0.1:0").await;
    let mut example = Command::new(python)
        .arg(folder().join("python/rates.py"))
        .args([&server.ws("/ws"), "notes"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("Python is there");
    let mut said = BufReader::new(example.stdout.take().expect("piped")).lines();
    let mut next = async || {
        let line = patiently("a line", said.next_line()).await.expect("read").expect("it lives");
        serde_json::from_str::<Value>(&line).expect("JSON")
    };
    assert_eq!(next().await["type"], "snapshot");
    db.exec("insert into note values (1, 10.50)").await;
    let first = next().await;
    assert_eq!((&first["data"]["id"], &first["data"]["n"]), (&1.into(), &"10.50".into()));

    server.kill9().await;
    db.exec("insert into note values (2, 1), (3, 1)").await;
    let address = server.url.trim_start_matches("http://").to_owned();
    let _server = serve(&address).await;
    for id in [2, 3] {
        assert_eq!(next().await["data"]["id"], id);
    }
}
