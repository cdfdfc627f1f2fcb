//! A Django project that exists already attaches itself with a migration, and every kind of ORM write arrives.

mod project;
mod writes;

use project::{folder, project, said};

use serde_json::json;

use crate::kit::ws::Client;
use crate::kit::{Server, TestDb};

const SECRET: &str = "django-insecure-test-key-0123456789-abcdefghijklmnopqrstuv";
const DJANGO: &str = include_str!("../../../docs/DJANGO.md");

const WATCHED: &str = r#"select coalesce(string_agg(t, ' ' order by t), '')
    from (select distinct replace("table", 'public.', '') collate "C" as t from rowcast.watched()) w"#;
const TRIGGERS: &str = "select count(*)::text from pg_trigger where tgname like '%rowcast%'";

#[tokio::test]
async fn a_migration_attaches_and_takes_itself_back() {
    let Some(project) = project().await else { return };
    project.managed(&["migrate", "--verbosity", "0"]).await;
    let tables = [
        "\"leagueOfLegends_leagueoflegendsdivisionorder\"",
        "\"leagueOfLegends_leagueoflegendsplacementorder\"",
        "accounts_baseorder",
        "accounts_baseorder_tags",
        "accounts_baseuser",
        "accounts_receipt",
        "accounts_transaction",
    ];
    assert_eq!(project.db.text(WATCHED).await, tables.join(" "));

    // Neither Django's idea of the models nor its next migration is touched.
    project.managed(&["makemigrations", "--check", "--dry-run"]).await;
    project.managed(&["migrate", "--check"]).await;
    // Again, from the beginning: what is defined is left as it is.
    project.managed(&["migrate", "realtime", "zero", "--fake", "--verbosity", "0"]).await;
    project.managed(&["migrate", "--verbosity", "0"]).await;

    assert_ne!(project.db.text(TRIGGERS).await, "0");
    project.managed(&["migrate", "realtime", "zero", "--verbosity", "0"]).await;
    assert_eq!(project.db.text(WATCHED).await, "");
    assert_eq!(project.db.text(TRIGGERS).await, "0");
    assert_eq!(project.db.text("select count(*)::text from rowcast.access").await, "0");
    assert_eq!(project.db.text("select count(*)::text from rowcast.channel where pattern = 'order:{id}'").await, "0");
    assert_eq!(project.db.texts("select to_regproc('public.order_update')::text").await, [None]);
    project.managed(&["migrate", "--verbosity", "0"]).await;
}

#[tokio::test]
async fn the_next_migrations_go_on_and_writers_with_them() {
    let Some(project) = project().await else { return };
    project.managed(&["migrate", "--verbosity", "0"]).await;
    let server = serve(&project.db).await;
    let (mut owner, mut web) = (project.shell(&project.owner).await, project.shell(&project.web).await);
    owner.run("from django.db import models\norder = BaseOrder.objects.create(name='one', price=1.5)").await;
    let mut state = subscriber(&server, "order:1").await;
    let mut rows = subscriber(&server, "orders").await;
    // Who is neither staff nor the booster, or nobody.
    for query in [format!("?token={}", token("1", false)), String::new()] {
        let mut stranger = Client::connect(&format!("{}{query}", server.ws())).await;
        for channel in ["order:1", "orders", "receipt:1"] {
            stranger.send(json!({"type": "subscribe", "channel": channel})).await;
            assert_eq!(stranger.skip_to("error").await.str_of("code"), "forbidden", "{channel}");
        }
    }

    let decimal = "models.DecimalField(max_digits=9, decimal_places=2, null=True)";
    for (python, name) in [
        (
            format!(
                "f = {decimal}; f.set_attributes_from_name('price'); editor.alter_field(BaseOrder, BaseOrder._meta.get_field('price'), f)"
            ),
            "a",
        ),
        (
            "f = models.IntegerField(default=7); f.set_attributes_from_name('extra'); editor.add_field(BaseOrder, f)"
                .into(),
            "b",
        ),
        ("editor.remove_field(BaseOrder, BaseOrder._meta.get_field('details'))".into(), "c"),
    ] {
        owner.run(&format!("with connection.schema_editor() as editor:\n    {python}")).await;
        web.run(&format!("BaseOrder.objects.filter(pk=1).update(name='{name}', status='{name}')")).await;
        assert_eq!(state.next_of("event").await["data"]["status"], name, "{python}");
        let row = rows.next_of("event").await.raw_of("data");
        assert_eq!(row, format!(r#"{{"id":1,"name":"{name}","status":"{name}","price":1.50}}"#), "{python}");
    }
    // A field that the function shows: its subscribers are told, the writer notices nothing.
    owner.run("with connection.schema_editor() as editor: editor.remove_field(BaseOrder, BaseOrder._meta.get_field('message'))").await;
    web.run("BaseOrder.objects.filter(pk=1).update(name='d')").await;
    let error = state.next_of("error").await;
    assert_eq!((&error["code"], &error["channel"]), (&"view_failed".into(), &"order:1".into()), "{}", error.raw);
    assert_eq!(rows.next_of("event").await["data"]["name"], "d");
    server.stop().await;
}

/// Nothing in Django's own test run knows of rowcast; but where it is forgotten on a real database, that is said.
#[tokio::test]
async fn a_test_database_needs_no_rowcast_and_any_other_does() {
    let Some(project) = project().await else { return };
    let tested = project.managed(&["test", "--noinput"]).await;
    assert!(tested.contains("Ran 1 test") && tested.contains("OK"), "{tested}");

    let bare = project.on(TestDb::bare().await);
    let output = bare.manage(&["migrate", "--verbosity", "0"]).await;
    assert!(!output.status.success());
    assert!(said(&output).contains("there is no schema rowcast here: run rowcast migrate first"), "{}", said(&output));
}

#[test]
fn the_page_shows_the_migration_that_is_tested() {
    let migration = std::fs::read_to_string(folder().join("realtime/migrations/0001_attach.py")).expect("there");
    let block =
        DJANGO.split("```python\n# realtime/migrations/0001_attach.py\n").nth(1).expect("the page has the migration");
    assert_eq!(block.split("```").next(), Some(migration.as_str()));
}

/// Nothing is open but what the migration opens.
async fn serve(db: &TestDb<'_>) -> Server {
    let dir = crate::kit::Dir::new("django");
    let file = dir.path().join("secret");
    std::fs::write(&file, SECRET).expect("our own directory");
    Server::with(&db.url(), |c| {
        c.connection.open = false;
        c.auth.jwt = true;
        c.auth.secret_key_file = Some(file);
    })
    .await
}

fn token(user: &str, staff: bool) -> String {
    let claims = json!({"token_type": "access", "user_id": user, "exp": 4_102_444_800_i64, "is_staff": staff});
    rowcast::auth::jwt::sign(rowcast::auth::jwt::Algorithm::HS256, SECRET.as_bytes(), &claims).expect("a key")
}

/// A member of staff that has its snapshot of the channel.
async fn subscriber(server: &Server, channel: &str) -> Client {
    let mut client = Client::connect(&format!("{}?token={}", server.ws(), token("1000", true))).await;
    client.send(json!({"type": "subscribe", "channel": channel})).await;
    client.skip_to("snapshot").await;
    client
}
