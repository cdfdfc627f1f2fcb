//! The demo's accounts: whoever sits at this machine may be any of them.

use std::sync::Arc;

use super::auth::{TokenWish, demo_key, token};
use crate::config::Config;
use crate::connection::endpoint::Clock;
use crate::http::{Mint, Minted};

/// Short enough to see a page renew it.
const TOKEN_S: u64 = 15 * 60;
const ROLES: &str = "rowcast_reference.roles";

#[derive(Clone, Copy, Debug)]
pub struct Account {
    pub name: &'static str,
    pub id: i64,
    pub staff: bool,
}

/// Who there is; their tokens are signed with the demo's own key.
#[derive(Clone, Debug)]
pub struct Accounts(&'static [Account]);

impl Accounts {
    /// Lets the server take tokens that are signed with a key of the demo's own. None where the configuration says itself
    /// who clients are: its keys sign no demo.
    pub fn open(config: &mut Config, users: &'static [Account]) -> anyhow::Result<Option<Self>> {
        let auth = &config.auth;
        if auth.jwt || auth.sessions || auth.secret_key_file.is_some() || auth.secret_key_env.is_some() {
            return Ok(None);
        }
        demo_key(config)?;
        config.auth.roles_sql.get_or_insert_with(|| ROLES.into());
        Ok(Some(Self(users)))
    }

    pub fn mint(self, config: &Config, clock: Clock) -> Mint {
        let config = config.clone();
        Arc::new(move |name| {
            let Account { id, staff, .. } = self.0.iter().find(|account| account.name == name)?;
            let wish = TokenWish {
                user: id.to_string(),
                name: Some(name.to_owned()),
                roles: Vec::new(),
                staff: *staff,
                ttl_s: Some(TOKEN_S),
            };
            let token = token(&config, &wish, clock() / 1_000_000).ok()?;
            Some(Minted { token, expires_in_s: TOKEN_S as i64 })
        })
    }
}
