//! The program itself as a child, on a Postgres of its own.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rowcast::auth::jwt::{Algorithm, sign};
use rowcast::embedded::{Embedded, Options};
use serde_json::json;
use sqlx::postgres::PgPool;
use tokio::runtime::Runtime;

use super::Result;

const SECRET: &str = "a secret key of this bench, and of nothing else";
/// A day: no token ends here.
const TOKEN_S: u64 = 86_400;

pub struct Database {
    pub pg: Embedded,
    pub runtime: Runtime,
    pub pool: PgPool,
}

impl Database {
    /// With rowcast's schema and what `sql` makes.
    pub fn start(durable: bool, sql: &'static str) -> Result<Self> {
        let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("load-pg");
        Embedded::discard(&root)?;
        let pg = Embedded::start(Options { root, durable, settings: Vec::new() })?;
        let done = Command::new(env!("CARGO_BIN_EXE_rowcast"))
            .arg("migrate")
            .env("DATABASE_URL", pg.url("postgres"))
            .output()?;
        if !done.status.success() {
            return Err(String::from_utf8_lossy(&done.stderr).into_owned().into());
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let pool = runtime.block_on(async {
            let pool = PgPool::connect(&pg.url("postgres")).await?;
            sqlx::raw_sql(sql).execute(&pool).await?;
            Ok::<_, sqlx::Error>(pool)
        })?;
        Ok(Self { pg, runtime, pool })
    }

    pub fn serve(&self, settings: &[(&str, &str)]) -> Result<Program> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rowcast"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("DATABASE_URL", self.pg.url("postgres"))
            .env("ROWCAST_LOG_LEVEL", "warn")
            .env("ROWCAST_AUTH_JWT", "true")
            .env("ROWCAST_AUTH_SECRET_KEY_ENV", "LOAD_SECRET")
            .env("LOAD_SECRET", SECRET)
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
        let line = lines.next().ok_or("the program has ended")??;
        let port = line.rsplit(':').next().ok_or("no port")?.trim_end_matches('/').parse()?;
        Ok(Program { child, port })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Err(e) = self.pg.remove() {
            eprintln!("the cluster stays behind: {e}");
        }
    }
}

pub struct Program {
    child: Child,
    pub port: u16,
}

impl Program {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As djangorestframework-simplejwt makes them.
pub fn token(user: usize) -> Result<String> {
    let now_s = super::clients::now_us() / 1_000_000;
    let claims = json!({
        "token_type": "access", "exp": now_s + TOKEN_S, "iat": now_s, "jti": format!("{user:032x}"), "user_id": user,
    });
    Ok(sign(Algorithm::HS256, SECRET.as_bytes(), &claims)?)
}
