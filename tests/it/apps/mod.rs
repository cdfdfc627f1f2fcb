//! The endpoints of the reference applications as their clients know them, and endpoints of one's own: frames byte for
//! byte (`tests/fixtures/apps`), who may come in, and what it costs.

mod doors;
mod learning;
mod orders;
mod own;
mod portfolio;

use rowcast::auth::jwt::{Algorithm, sign};
use rowcast::domain::DatabaseUrl;
use rowcast::store::{MigrationSet, Store};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::kit::ws::{Client, Frame};
use crate::kit::{APP_ROLE, Dir, Server, TestDb, http_client};

const SECRET: &str = "a secret key of the tests, longer than it needs to be";
const MALFORMED: &str = r#"{"type":"error","message":"Invalid JSON format"}"#;

/// Alice and Bob learn from Mia; Carl ordered from Max; Ada administers, Fay walks the floor, Stan is staff without a role.
const PEOPLE: &str = "
    insert into auth_user (id, username, first_name, last_name, is_staff, is_active) values
      (1, 'alice', 'Alice', 'Ahlgren', false, true), (2, 'bob', '', '', false, true), (3, 'mia', 'Mia', 'Moreau', false, true),
      (4, 'max', '', '', false, true), (5, 'carl', '', '', false, true), (6, 'ada', '', '', false, true),
      (7, 'fay', '', '', false, true), (8, 'stan', '', '', true, true), (9, 'gone', '', '', true, false);
    insert into user_profile (user_id, role, assigned_mentor_id) values
      (1, 'STUDENT', 3), (2, 'STUDENT', 3), (3, 'MENTOR', null), (6, 'ADMIN', null), (7, 'FLOOR_WING', null);";

struct World {
    db: TestDb<'static>,
    server: Server,
    _dir: Dir,
}

/// With the reference's endpoints, and these tables over them.
async fn world(endpoints: &str) -> World {
    let db = TestDb::new().await;
    let url = DatabaseUrl::parse(&db.url(), APP_ROLE).expect("our own URL");
    let store = Store::new(&url, Default::default());
    store.migrate(MigrationSet::Reference).await.expect("the reference's tables");
    store.close().await;
    db.exec(PEOPLE).await;
    let dir = Dir::new("apps");
    let file = dir.path().join("secret");
    std::fs::write(&file, SECRET).expect("our own directory");
    let server = Server::with(&db.url(), |config| {
        config.serve_reference();
        config.endpoint = toml::from_str(endpoints).expect("tables of endpoints");
        config.auth.jwt = true;
        config.auth.secret_key_file = Some(file);
        config.auth.jwt_check_user = true;
        config.auth.roles_sql = Some("rowcast_reference.roles".into());
    })
    .await;
    World { db, server, _dir: dir }
}

/// As simplejwt makes it: it says who, and nothing else.
fn token(user: i64) -> String {
    let claims =
        json!({"token_type": "access", "exp": 4_102_444_800_i64, "iat": 1_700_000_000, "jti": "1", "user_id": user});
    sign(Algorithm::HS256, SECRET.as_bytes(), &claims).expect("a key")
}

impl World {
    fn url(&self, path: &str, user: Option<i64>) -> String {
        let query = user.map(|user| format!("?token={}", token(user))).unwrap_or_default();
        format!("{}{path}{query}", self.server.url.replacen("http", "ws", 1))
    }

    async fn connect(&self, path: &str, user: Option<i64>) -> Client {
        Client::connect(&self.url(path, user)).await
    }

    async fn metric(&self, name: &str) -> u64 {
        let answer = http_client().get(self.server.http("/metrics")).send().await.expect("an answer");
        let text = answer.text().await.expect("text");
        let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse::<f64>().expect("a number") as u64
    }
}

/// Each of these is answered, or not, and the socket lives on.
async fn survives_nonsense(client: &mut Client, ping: Option<&str>) {
    for (message, answered) in [
        (Message::text("nonsense"), true),
        (Message::text("{"), true),
        (Message::text(""), true),
        (Message::binary(vec![0u8, 159]), true),
        (Message::text(r#"{"type":"no such command"}"#), false),
        (Message::text(r#"{"type":7}"#), false),
        (Message::text(r#"{"no":"type"}"#), false),
        (Message::text("[1]"), false),
        (Message::text("null"), false),
        (Message::text(r#"{"type":"subscribe","channel":"leaderboard"}"#), false),
    ] {
        client.send_message(message).await;
        if answered {
            assert_eq!(client.next().await.raw, MALFORMED);
        }
    }
    if let Some(ping) = ping {
        client.send_message(Message::text(ping)).await;
    }
}

/// Compares with the lines of `tests/fixtures/apps/{name}.jsonl`; points in time are `<time>` there.
fn golden(name: &str, frames: &[Frame]) {
    let path = format!("{}/tests/fixtures/apps/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let got: String = frames.iter().map(|frame| timeless(&frame.raw) + "\n").collect();
    let want = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}\nfor:\n{got}"));
    assert_eq!(got, want, "{name}");
}

async fn take(client: &mut Client, count: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    for _ in 0..count {
        frames.push(client.next().await);
    }
    frames
}

/// With every RFC 3339 time in UTC replaced.
fn timeless(text: &str) -> String {
    let time = |part: &str| {
        (part.len() == 27 || part.len() == 20) && part.ends_with('Z') && part.is_ascii() && part.as_bytes()[10] == b'T'
    };
    let parts: Vec<&str> = text.split('"').map(|part| if time(part) { "<time>" } else { part }).collect();
    parts.join("\"")
}
