//! Endpoints of one's own tables, and what a wrong one is told.

use rowcast::app::{self, Config, Database, Extras};
use rowcast::config::Secret;
use serde_json::json;

use crate::kit::ws::Client;
use crate::kit::{Server, TestDb};

/// As docs/ENDPOINTS.md shows it.
const STOCK: &str = "create table stock (sku text primary key, pieces int not null, price numeric not null);
    insert into stock values ('a-1', 7, 2.50);
    select rowcast.define_channel('stock:{sku}', kind => 'state', view => 'stock');
    select rowcast.watch('stock', 'stock:{sku}')";

fn document(begins: &str) -> String {
    let text = include_str!("../../../docs/ENDPOINTS.md");
    let block = text
        .split("```")
        .find(|block| block.starts_with(begins))
        .unwrap_or_else(|| panic!("no {begins} in ENDPOINTS.md"));
    block.split_once('\n').expect("a block of lines").1.to_owned()
}

#[tokio::test]
async fn five_lines_make_an_endpoint() {
    let db = TestDb::new().await;
    let sql = document("sql");
    assert_eq!(sql.split_whitespace().collect::<Vec<_>>(), format!("{STOCK};").split_whitespace().collect::<Vec<_>>());
    db.exec(STOCK).await;
    let toml = document("toml");
    assert!(toml.lines().filter(|l| !l.is_empty()).count() <= 5, "{toml}");
    let server = Server::with(&db.url(), |config| {
        let file: std::collections::BTreeMap<String, toml::Table> = toml::from_str(&toml).expect("TOML");
        config.endpoint = file["endpoint"].clone().try_into().expect("an endpoint");
    })
    .await;
    let mut client = Client::connect(&format!("{}/ws/stock/a-1/", server.url.replacen("http", "ws", 1))).await;
    assert_eq!(client.next().await.raw, r#"{"type":"snapshot","data":{"sku":"a-1","pieces":7,"price":2.50}}"#);
    db.exec("update stock set pieces = 6").await;
    assert_eq!(client.next().await.raw, r#"{"type":"state","data":{"sku":"a-1","pieces":6,"price":2.50}}"#);
    db.exec("delete from stock").await;
    assert_eq!(client.next().await.raw, r#"{"type":"state","data":null}"#);
    // What a client writes is a value, never SQL.
    for path in ["/ws/stock/a'%3B drop table stock", "/ws/stock/%7Bsku%7D", "/ws/stock/042x"] {
        let path = path.replace(' ', "%20");
        let mut client = Client::connect(&format!("{}{path}", server.url.replacen("http", "ws", 1))).await;
        assert_eq!(client.next().await.raw, r#"{"type":"snapshot","data":null}"#, "{path}");
    }
    assert_eq!(db.text("select count(*)::text from stock").await, "0");
    server.stop().await;
}

/// Its dialect has no frame for a view that fails: whoever listens is closed, so that it comes back and asks anew.
#[tokio::test]
async fn a_view_that_fails_under_an_endpoint_is_not_passed_over() {
    let db = TestDb::new().await;
    db.exec(
        "create table n (id int primary key, d int); insert into n values (1, 1), (2, 2);
         create function inverse(id int) returns json stable language sql as $$ select to_json(10 / d) from n where n.id = inverse.id $$;
         select rowcast.define_channel('inverse:{id}', kind => 'state', view => 'inverse');
         select rowcast.watch('n', 'inverse:{id}')",
    )
    .await;
    let server = Server::with(&db.url(), |config| {
        let table = r#"[inverse]
            path = "/ws/inverse/{id}/"
            auth = "none"
            channels = ["inverse:{id}"]"#;
        config.endpoint = toml::from_str(table).expect("TOML");
    })
    .await;
    let url = |id: u8| format!("{}/ws/inverse/{id}/", server.url.replacen("http", "ws", 1));
    let (mut one, mut two) = (Client::connect(&url(1)).await, Client::connect(&url(2)).await);
    assert_eq!((one.next().await["data"].clone(), two.next().await["data"].clone()), (json!(10), json!(5)));
    db.exec("update n set d = case id when 1 then 0 else 10 end").await;
    assert_eq!(one.expect_close().await.code, 1013);
    assert_eq!(two.next().await["data"], 1);
    db.exec("update n set d = 5 where id = 1").await;
    assert_eq!(Client::connect(&url(1)).await.next().await["data"], 2);
    server.stop().await;
}

#[tokio::test]
async fn commands_call_functions_and_answer() {
    let db = TestDb::new().await;
    db.exec(
        "create table clicks (who text, n int); \
         create function click(who text, n int) returns json language sql as \
           $$ insert into clicks values ($1, $2); select json_build_object('clicks', sum(c.n)) from clicks c $$; \
         create function fail() returns int language plpgsql as $$ begin raise exception 'no'; end $$; \
         create function nothing() returns void language sql as $$ $$; \
         create function add_up(a int, b int default 7) returns int language sql as $$ select a + b $$",
    )
    .await;
    let server = Server::with(&db.url(), |config| {
        let table = r#"
            [x]
            path = "/ws/x/{id}/"
            auth = "none"
            channels = ["x:{id}"]
            lookup = { sum = "add_up(id)" }
            hello = '{"id":{id},"sum":{sum},"name":{name}}'
            malformed = '{"oops":true}'
            [x.commands]
            click = { call = "public.click(id, frame.n)", answer = '{"was":{result},"id":{id},"said":{frame.n}}' }
            fail = { call = "fail()", answer = '{"never":1}' }
            nothing = { call = "nothing()", answer = '[{result}]' }
        "#;
        config.endpoint = toml::from_str(table).expect("TOML");
    })
    .await;
    let mut client = Client::connect(&format!("{}/ws/x/5/", server.url.replacen("http", "ws", 1))).await;
    assert_eq!(client.next().await.raw, r#"{"id":"5","sum":12,"name":"anonymous"}"#);
    for (said, answer) in [
        (json!({"type": "click", "n": 2}), r#"{"was":{"clicks":2},"id":"5","said":2}"#),
        (json!({"type": "click", "n": "3"}), r#"{"was":{"clicks":5},"id":"5","said":"3"}"#),
        (
            json!({"type": "click", "n": "3); drop table clicks"}),
            r#"{"was":null,"id":"5","said":"3);droptableclicks"}"#,
        ),
        (json!({"type": "click", "n": "\0"}), r#"{"was":null,"id":"5","said":"\u0000"}"#),
        (json!({"type": "click"}), r#"{"was":{"clicks":5},"id":"5","said":null}"#),
        (json!({"type": "fail"}), r#"{"type":"error","message":"Thecommandfailed"}"#),
        (json!({"type": "nothing"}), "[null]"),
        (json!(7), ""),
    ] {
        client.send(said.clone()).await;
        if !answer.is_empty() {
            let got = client.next().await.raw;
            assert_eq!(got.replace(' ', ""), answer, "{said}");
        }
    }
    client.send_message(tokio_tungstenite::tungstenite::Message::text("{")).await;
    assert_eq!(client.next().await.raw, r#"{"oops":true}"#);
    server.stop().await;
}

#[tokio::test]
async fn a_wrong_table_is_told_in_one_sentence() {
    let db = TestDb::new().await;
    for (with, tables, sentence) in [
        (
            true,
            "",
            "endpoint.notifications.lookup.unread: this database has no function rowcast_reference.unread of 1 argument that may be called; `rowcast migrate --with reference` makes it",
        ),
        (
            false,
            "[x]\npath = \"/x\"\nchannels = [\"a\"]\nallow = \"no_such(user)\"",
            "endpoint.x.allow: this database has no function no_such of 1 argument that may be called",
        ),
        (
            false,
            "[x]\npath = \"/x\"\nchannels = [\"a\"]\nhello = '[{b}]'",
            "endpoint.x.hello: {b} is not in the path, user, name, timestamp or a lookup",
        ),
        (
            false,
            "[x]\npath = \"/x\"\nchannels = [\"a\"]\n[y]\npath = \"/x/\"\nchannels = [\"a\"]",
            "endpoint.y.path: endpoint.x has this path, too",
        ),
        (false, "[x]\npath = \"/ws\"\nchannels = [\"a\"]", "two pages or routes have the path /ws"),
    ] {
        let mut config = Config::default();
        config.database.url = Some(Secret::new(db.url()));
        config.http.listen = "127.0.0.1:0".into();
        config.endpoint = toml::from_str(tables).expect("TOML");
        if with {
            config.serve_reference();
        }
        let database = Database::open(&config).expect("a configured database");
        match app::start(config, &database, Extras::default()).await {
            Ok(_) => panic!("{tables} is taken"),
            Err(error) => assert!(error.to_string().contains(sentence), "{error}\ninstead of\n{sentence}"),
        }
    }
}

/// The document's table has every setting, in the order of the code, and every one of a command.
#[test]
fn the_document_has_every_setting() {
    let of = |table: &str| {
        let error = toml::from_str::<rowcast::config::EndpointTable>(table).expect_err("no such setting").to_string();
        let names = error.split("expected one of").nth(1).expect("a list").split('`').skip(1).step_by(2);
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let rows =
        include_str!("../../../docs/ENDPOINTS.md").lines().filter_map(|l| l.strip_prefix("| `")?.split('`').next());
    let listed: Vec<&str> = rows.collect();
    let settings: Vec<String> = of("no_such = 1").into_iter().chain(of("commands = { a = { no_such = 1 } }")).collect();
    assert_eq!(listed, settings);
}

#[test]
fn asyncapi_has_every_frame_of_the_fixtures() {
    let yaml = include_str!("../../../openapi/asyncapi.yaml");
    let kinds: Vec<&str> = yaml
        .lines()
        .filter_map(|l| l.trim().strip_prefix("type: { type: string, enum: [")?.split(']').next())
        .collect();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/apps");
    let mut frames = 0;
    for file in std::fs::read_dir(folder).expect("the fixtures") {
        let text = std::fs::read_to_string(file.expect("a fixture").path()).expect("a fixture");
        for frame in text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")) {
            let kind = frame["type"].as_str().expect("a type");
            assert!(kinds.iter().any(|all| all.split(", ").any(|k| k.trim_matches('\'') == kind)), "{kind}");
            frames += 1;
        }
    }
    assert!(frames >= 20, "{frames}");
}
