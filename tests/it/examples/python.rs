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

#[tokio::test]
async fn python_gets_every_event_once_over_a_restart() {
    static PYTHON: OnceCell<Result<PathBuf, String>> = OnceCell::const_new();
    let Some(python) = or_skip("Python with PyPI", PYTHON.get_or_init(environment).await) else { return };
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
