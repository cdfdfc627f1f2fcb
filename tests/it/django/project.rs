//! The Django project of `tests/django`, in a virtual environment with what its requirements.txt pins.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::OnceCell;

use crate::kit::{Dir, TestDb, patiently};

/// A package index on a slow line.
const INSTALLED_WITHIN: Duration = Duration::from_secs(180);
/// Django starts, and makes tables, on a busy machine.
const MANAGED_WITHIN: Duration = Duration::from_secs(60);

/// The project on a database that has rowcast, and two roles of an ordinary deployment: the one that owns the tables
/// and migrates, and the one that the web processes write as.
pub struct Project<'c> {
    pub db: TestDb<'c>,
    python: PathBuf,
    pub owner: String,
    pub web: String,
}

/// A Python that runs what it is sent.
pub struct Shell {
    stdin: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

/// None where Python, its venv or the package index is missing, which a CI run does not forgive.
pub async fn project() -> Option<Project<'static>> {
    static PYTHON: OnceCell<Result<PathBuf, String>> = OnceCell::const_new();
    let python = match PYTHON.get_or_init(environment).await {
        Ok(python) => python.clone(),
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "CI needs Django from PyPI: {why}");
            eprintln!("SKIPPED: no Django: {why}");
            return None;
        }
    };
    let db = TestDb::new().await;
    if db.text("select current_setting('server_version_num')").await.parse::<u32>().expect("a number") < 140_000 {
        eprintln!("SKIPPED: this Django wants PostgreSQL 14");
        return None;
    }
    let (owner, web) = (format!("owner_of_{}", db.name), format!("web_of_{}", db.name));
    // What the page says to type: the owner may configure rowcast, the web role has no right on it.
    db.admin_exec(&format!(
        "create role {owner} login createdb; create role {web} login; grant app to {owner};
         alter default privileges for role {owner} grant select, insert, update, delete on tables to {web};
         alter default privileges for role {owner} grant usage on sequences to {web}"
    ))
    .await;
    Some(Project { db, python, owner, web })
}

impl Project<'_> {
    /// The same on another database.
    pub fn on<'c>(&self, db: TestDb<'c>) -> Project<'c> {
        Project { db, python: self.python.clone(), owner: self.owner.clone(), web: self.web.clone() }
    }

    /// `manage.py`, as the role that migrates.
    pub async fn manage(&self, args: &[&str]) -> Output {
        let run = self.python(&self.owner, "manage.py").args(args).output();
        let run = tokio::time::timeout(MANAGED_WITHIN, run).await;
        run.unwrap_or_else(|_| panic!("waited in vain for manage.py {args:?}")).expect("Python is there")
    }

    /// The same, having ended well: what it printed.
    pub async fn managed(&self, args: &[&str]) -> String {
        let output = self.manage(args).await;
        let said = said(&output);
        assert!(output.status.success(), "manage.py {args:?}: {said}");
        said
    }

    pub async fn shell(&self, role: &str) -> Shell {
        let mut child =
            self.python(role, "drive.py").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python");
        let stdin = child.stdin.take().expect("piped");
        let mut answers = BufReader::new(child.stdout.take().expect("piped")).lines();
        let ready = tokio::time::timeout(MANAGED_WITHIN, answers.next_line()).await.expect("Django starts");
        assert_eq!(ready.expect("Python writes").as_deref(), Some("null"), "Django has started");
        Shell { stdin, answers, _child: child }
    }

    fn python(&self, role: &str, script: &str) -> Command {
        let mut command = Command::new(&self.python);
        command
            .arg(script)
            .current_dir(folder())
            .env("DATABASE_URL", self.db.url_as(role))
            .env("PYTHONPYCACHEPREFIX", base().join("django-pycache"))
            .env_remove("PYTHONDONTWRITEBYTECODE") // each start would compile all of Django
            .env_remove("DJANGO_SETTINGS_MODULE")
            .kill_on_drop(true);
        command
    }
}

impl Shell {
    pub async fn run(&mut self, code: &str) {
        let line = format!("{}\n", serde_json::Value::from(code));
        self.stdin.write_all(line.as_bytes()).await.expect("Python reads");
        let answer = patiently(code, self.answers.next_line()).await.expect("Python writes").expect("Python lives");
        if let Some(wrong) = serde_json::from_str::<Option<String>>(&answer).expect("JSON") {
            panic!("{code}\n{wrong}");
        }
    }
}

pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/django")
}

fn base() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// The environment's Python; it stays for the next run. What it was made of is written into it last.
async fn environment() -> Result<PathBuf, String> {
    let wanted = folder().join("requirements.txt");
    let requirements = std::fs::read_to_string(&wanted).expect("part of the repository");
    let (home, stamp) = (base().join("django-venv"), "made-of.txt");
    let python = home.join("bin/python");
    let works = async || run(command(&python, &["-c", "import django, psycopg"])).await;
    if std::fs::read_to_string(home.join(stamp)).is_ok_and(|made| made == requirements) && works().await.is_ok() {
        return Ok(python);
    }
    // Made elsewhere and moved, so that it is whole or absent, also where two runs make one.
    let dir = Dir::new("venv");
    let fresh = dir.path().join("venv");
    run(command("python3", &["-m".as_ref(), "venv".as_ref(), fresh.as_os_str()]))
        .await
        .map_err(|e| format!("python3 -m venv does not work (scripts/install-deps.sh installs it): {e}"))?;
    let mut install = command(fresh.join("bin/python"), &["-m", "pip", "install", "--quiet", "--only-binary", ":all:"]);
    install.args(["--disable-pip-version-check", "--retries", "2", "-r"]).arg(&wanted);
    run(install).await.map_err(|e| format!("PyPI gives not what tests/django/requirements.txt names: {e}"))?;
    std::fs::write(fresh.join(stamp), requirements).expect("our own directory");
    let _ = std::fs::remove_dir_all(&home);
    let _ = std::fs::rename(&fresh, &home); // another run was faster: its is as good
    works().await.map(|()| python.clone())
}

async fn run(mut command: Command) -> Result<(), String> {
    let output = tokio::time::timeout(INSTALLED_WITHIN, command.kill_on_drop(true).stdin(Stdio::null()).output()).await;
    let output = output.map_err(|_| "it takes too long".to_owned())?.map_err(|e| e.to_string())?;
    if output.status.success() { Ok(()) } else { Err(said(&output)) }
}

fn command(program: impl AsRef<OsStr>, args: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}
