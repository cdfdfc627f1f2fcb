use clap::Args;

use super::Failure;
use super::globals::{Globals, runtime};
use super::out::Out;
use crate::app::{self, Config, TokenError, TokenWish};

/// Print an access token, to try things out
///
/// Signed with the configured secret key (HS256, HS384 or HS512), or with that of the demo that runs in this directory, where
/// a name such as alice is looked up in its users.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: curl -H \"Authorization: Bearer $(rowcast token --user alice)\" http://127.0.0.1:8080/api/channels"
)]
pub struct Token {
    /// The user's key, or a username of the user table
    #[arg(long)]
    user: String,
    /// A role, for the first of auth.jwt_roles_claims; may be repeated
    #[arg(long)]
    role: Vec<String>,
    /// Say that the user is staff
    #[arg(long)]
    staff: bool,
    /// How long it holds, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    ttl: u64,
}

impl Token {
    pub fn run(self, globals: &Globals, out: &mut Out) -> Result<(), Failure> {
        let config = globals.config()?;
        let mut wish =
            TokenWish { user: self.user, name: None, roles: self.role, staff: self.staff, ttl_s: Some(self.ttl) };
        // A key needs no database. A name does, and where there is none it is taken as a key.
        if !wish.user.bytes().all(|b| b.is_ascii_digit())
            && let Some((id, staff)) = runtime()?.block_on(find(&config, &wish.user))
        {
            wish.name = Some(std::mem::replace(&mut wish.user, id));
            wish.staff |= staff;
        }
        let now_s = chrono::Utc::now().timestamp();
        let token = app::token(&config, &wish, now_s).map_err(|e| match e {
            TokenError::NoKey => Failure::usage(e.to_string())
                .hint("Name it in rowcast.toml: [auth] secret_key_file or secret_key_env; or run `rowcast demo` here."),
            TokenError::Other(error) => error.into(),
        })?;
        out.line(&token)
    }
}

async fn find(config: &Config, name: &str) -> Option<(String, bool)> {
    let store = app::store(config).ok()?;
    store.reach().await.ok()?;
    let found = store.user_named(&config.auth.user_table, &config.auth.user_columns, name).await;
    store.close().await;
    let user = found.ok()??;
    Some((user.id, user.staff))
}
