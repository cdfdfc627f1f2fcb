//! Who clients are, what they may do, and how that ends: through the real server, with sockets.

mod access;
mod ends;
mod identity;
mod issuers;
mod rechecks;
mod revocation;
mod shares;
mod silence;
mod together;

use rowcast::app::Config;
use serde_json::{Value, json};

use crate::kit::ws::Client;
use crate::kit::{Server, http_client};

pub const SECRET: &str = "django-insecure-test-key-0123456789-abcdefghijklmnopqrstuv";

/// A file with the secret key; gone with the guard.
pub struct KeyFile(std::path::PathBuf);

impl KeyFile {
    pub fn new() -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rowcast-secret-{}-{n}", std::process::id()));
        std::fs::write(&path, format!("{SECRET}\n")).expect("a temporary file");
        Self(path)
    }

    /// Tokens are taken, and nothing is open by itself.
    pub fn tokens(&self, config: &mut Config) {
        config.auth.jwt = true;
        config.auth.secret_key_file = Some(self.0.clone());
        config.connection.open = false;
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Of a user, for an hour but for what `more` says.
pub fn token(user: &str, more: Value) -> String {
    let mut claims = json!({"token_type": "access", "user_id": user, "exp": now_s() + 3600});
    for (name, value) in more.as_object().expect("claims") {
        claims[name] = value.clone();
    }
    rowcast::auth::jwt::sign(rowcast::auth::jwt::Algorithm::HS256, SECRET.as_bytes(), &claims).expect("signs")
}

pub fn now_s() -> i64 {
    chrono::Utc::now().timestamp()
}

/// The address of `/ws` with a token.
pub fn with_token(server: &Server, token: &str) -> String {
    format!("{}?token={token}", server.ws())
}

/// Asks for a channel: what was said of it.
async fn subscribe(client: &mut Client, channel: &str) -> Value {
    client.send(json!({"type": "subscribe", "channel": channel})).await;
    loop {
        let frame = client.next().await;
        if ["subscribed", "error"].contains(&frame.str_of("type")) && frame["channel"] == channel {
            return frame.value;
        }
    }
}

async fn metric(server: &Server, name: &str) -> u64 {
    let text = http_client().get(server.http("/metrics")).send().await.expect("an answer").text().await.expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let number = line.unwrap_or_else(|| panic!("no {name} in {text}")).parse::<f64>().expect("a number");
    number as u64
}
