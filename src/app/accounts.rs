//! The demo's accounts: whoever sits at this machine may be any of them.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;

use crate::auth::jwt;
use crate::config::Config;
use crate::connection::endpoint::Clock;
use crate::http::{Mint, Minted};

/// Beside the embedded database; other programs of this user may sign with it, too.
const KEY_FILE: &str = ".rowcast/demo-key";
/// Short enough to see a page renew it.
const TOKEN_S: i64 = 15 * 60;
const ROLES: &str = "rowcast_reference.roles";

#[derive(Clone, Copy, Debug)]
pub struct Account {
    pub name: &'static str,
    pub id: i64,
    pub staff: bool,
}

/// Who there is, and the key that signs their tokens.
#[derive(Clone, Debug)]
pub struct Accounts {
    users: &'static [Account],
    key_file: PathBuf,
}

impl Accounts {
    /// Lets the server take tokens that are signed with a key of the demo's own. None where the configuration says itself
    /// who clients are: its keys sign no demo.
    pub fn open(config: &mut Config, users: &'static [Account]) -> anyhow::Result<Option<Self>> {
        let auth = &mut config.auth;
        if auth.jwt || auth.sessions || auth.secret_key_file.is_some() || auth.secret_key_env.is_some() {
            return Ok(None);
        }
        let key_file = std::path::absolute(KEY_FILE).context("the working directory")?;
        make_key(&key_file).with_context(|| format!("cannot write {}", key_file.display()))?;
        auth.jwt = true;
        auth.secret_key_file = Some(key_file.clone());
        auth.roles_sql.get_or_insert_with(|| ROLES.into());
        Ok(Some(Self { users, key_file }))
    }

    pub fn mint(self, config: &Config, clock: Clock) -> anyhow::Result<Mint> {
        let secret = std::fs::read_to_string(&self.key_file).context("the demo's key")?.trim().to_owned();
        let auth = config.auth.clone();
        Ok(std::sync::Arc::new(move |name| {
            let Account { id, staff, .. } = self.users.iter().find(|account| account.name == name)?;
            let expires_at_s = clock() / 1_000_000 + TOKEN_S;
            let claims = json!({
                (auth.jwt_type_claim.as_str()): auth.jwt_type,
                (auth.jwt_user_claim.as_str()): id,
                (auth.jwt_name_claim.as_str()): name,
                "is_staff": staff,
                "exp": expires_at_s,
            });
            let token = jwt::sign(auth.jwt_algorithm, secret.as_bytes(), &claims).ok()?;
            Some(Minted { token, expires_in_s: TOKEN_S })
        }))
    }
}

/// For this user's eyes only. One that is there stays, so that tokens outlive a restart.
fn make_key(path: &Path) -> std::io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error),
    };
    let key = jwt::random_key().ok_or_else(|| std::io::Error::other("the operating system gives no random numbers"))?;
    file.write_all(key.as_bytes())
}
