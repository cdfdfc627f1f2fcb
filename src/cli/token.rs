use clap::Args;

use super::Failure;
use super::globals::{Globals, runtime};
use super::out::{Out, note};
use crate::app::{self, Config, StoreError, TokenError, TokenWish, UserRow};

/// Print an access token, to try things out
///
/// Signed with the configured secret key (HS256, HS384 or HS512), or with that of the demo that runs in this directory. The user
/// is looked up by key and by name, such as alice, where the database has the user table; stderr says for whom it was signed.
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
    /// Take the user as a key without looking for it
    #[arg(long)]
    unchecked: bool,
}

/// What the user table says.
enum Known {
    User(UserRow),
    Nobody,
    /// It could not be asked, for this reason.
    Unasked(String),
}

impl Token {
    pub fn run(self, globals: &Globals, out: &mut Out) -> Result<(), Failure> {
        let config = globals.config()?;
        let mut wish =
            TokenWish { user: self.user, name: None, roles: self.role, staff: self.staff, ttl_s: Some(self.ttl) };
        let known = match self.unchecked {
            true => Known::Unasked("--unchecked".into()),
            false => runtime()?.block_on(find(&config, &wish.user)),
        };
        let remark = match known {
            Known::Nobody => {
                let message = format!("{} has no user '{}', by key or by name", config.auth.user_table, wish.user);
                return Err(Failure::new(message)
                    .hint("Name one who is there, or say --unchecked: it is signed for this key whoever that is."));
            }
            Known::Unasked(why) => format!(", not looked up ({why})"),
            Known::User(user) => {
                wish.user = user.id;
                wish.staff |= user.staff;
                let remark = format!(" ({}){}", user.username, if user.active { "" } else { ", who is deactivated" });
                wish.name = Some(user.username);
                remark
            }
        };
        let now_s = chrono::Utc::now().timestamp();
        let token = app::token(&config, &wish, now_s).map_err(|e| match e {
            TokenError::NoKey => Failure::usage(e.to_string())
                .hint("Name it in rowcast.toml: [auth] secret_key_file or secret_key_env; or run `rowcast demo` here."),
            TokenError::Other(error) => error.into(),
        })?;
        let mut rank = String::new();
        if wish.staff {
            rank.push_str(", staff");
        }
        for role in &wish.roles {
            rank.push_str(&format!(", role {role}"));
        }
        note(&format!("signed for user {}{remark}{rank}; holds {} s", wish.user, self.ttl));
        out.line(&token)
    }
}

async fn find(config: &Config, user: &str) -> Known {
    let store = match app::store(config) {
        Ok(store) => store,
        Err(why) => return Known::Unasked(Failure::from(why).said().0),
    };
    let found = async {
        store.reach().await?;
        let (table, columns) = (&config.auth.user_table, &config.auth.user_columns);
        let keys = store.django_users(table, columns, &[user.to_owned()]).await?;
        Ok::<_, StoreError>(match keys.into_iter().next() {
            Some(row) => Some(row),
            None => store.user_named(table, columns, user).await?,
        })
    };
    let found = found.await;
    store.close().await;
    match found {
        Ok(Some(row)) => Known::User(row),
        Ok(None) => Known::Nobody,
        Err(why) => Known::Unasked(Failure::from(why).said().0),
    }
}
