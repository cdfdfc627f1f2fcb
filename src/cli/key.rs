use clap::{Args, Subcommand};
use serde_json::json;

use super::Failure;
use super::globals::Globals;
use super::out::Out;

/// API keys of servers
///
/// A key is shown once, when it is made; what is stored cannot be used. A server sends it as `Authorization: Bearer rck_…`.
#[derive(Debug, Args)]
pub struct Key {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key and print its secret
    Create(Create),
    /// Make the next key of a name; the present one holds for the grace
    Rotate(Rotate),
    /// End all keys of a name
    Revoke { name: String },
    /// Show the keys, without their secrets
    List,
}

#[derive(Debug, Args)]
struct Create {
    name: String,
    /// Pattern of channels that it may listen to, such as orders:{id}; may be repeated
    #[arg(long, value_name = "PATTERN")]
    listen: Vec<String>,
    /// Pattern of channels that it may publish on; may be repeated
    #[arg(long, value_name = "PATTERN")]
    publish: Vec<String>,
    /// May disconnect users
    #[arg(long)]
    admin: bool,
}

#[derive(Debug, Args)]
struct Rotate {
    name: String,
    /// How long the present key still holds
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    grace: u32,
}

impl Key {
    pub fn run(self, globals: &Globals, out: &mut Out) -> Result<(), Failure> {
        match self.command {
            Command::Create(Create { name, listen, publish, admin }) => {
                let make =
                    async |store: &crate::app::Store| Ok(store.create_api_key(&name, &listen, &publish, admin).await?);
                let secret = globals.with_store(make)?;
                out.line(&secret)
            }
            Command::Rotate(Rotate { name, grace }) => {
                let make = async |store: &crate::app::Store| Ok(store.rotate_api_key(&name, f64::from(grace)).await?);
                let secret = globals.with_store(make)?;
                out.line(&secret)
            }
            Command::Revoke { name } => {
                let gone = globals.with_store(async |store| Ok(store.revoke_api_key(&name).await?))?;
                if gone == 0 {
                    return Err(Failure::new(format!("there is no key named {name}")));
                }
                out.line(&format!("revoked {name}"))
            }
            Command::List => {
                for key in globals.with_store(async |store| Ok(store.api_keys().await?))? {
                    out.json(&json!(key))?;
                }
                Ok(())
            }
        }
    }
}
