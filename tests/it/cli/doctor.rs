use serde_json::Value;
use sqlx::Connection as _;

use super::{json_lines, migrated, ok, refused, rowcast, text};
use crate::kit::{Binary, TestDb};

fn verdict<'a>(findings: &'a [Value], name: &str) -> (&'a str, String) {
    let found =
        findings.iter().find(|f| f["name"] == name).unwrap_or_else(|| panic!("nothing on {name}: {findings:#?}"));
    let said = format!("{} {}", found["detail"].as_str().unwrap_or(""), found["hint"].as_str().unwrap_or(""));
    (found["verdict"].as_str().expect("a verdict"), said)
}

#[tokio::test]
async fn a_healthy_database_passes_with_its_times() {
    let db = migrated().await;
    db.exec("create table orders (id int primary key); select rowcast.watch('orders', 'orders:{id}')").await;
    let run = rowcast(&db, &["doctor"]).await;
    let findings = ok(&run);
    for name in
        ["database", "version", "tls", "primary", "rights", "schema", "capture", "table public.orders", "round trip"]
    {
        assert_eq!(verdict(&findings, name).0, "ok", "{name}: {findings:#?}");
    }
    assert!(verdict(&findings, "round trip").1.contains(" ms"));
    // Nobody serves it, which is worth a word.
    let (word, said) = verdict(&findings, "listener");
    assert!(word == "warn" && said.contains("rowcast serve"), "{said}");
}

#[tokio::test]
async fn each_defect_is_named_with_its_cure() {
    let db = migrated().await;
    db.exec(
        "create table gone (id int); create table still (id int); create table lost (id int); create table fine (id int);
         create table torn (id int primary key, a int, b int);
         select rowcast.watch(t::regclass, t || ':{id}', bulk => t = 'torn') from unnest('{gone,still,lost,fine,torn}'::text[]) t;
         alter table torn add foreign key (a) references torn on delete cascade, add foreign key (b) references torn on delete set null",
    )
    .await;
    let trigger = "select tgname from pg_trigger where tgrelid = 'still'::regclass and tgname like '%update'";
    let trigger = db.text(&trigger.replace("tgname from", "tgname::text from")).await;
    db.exec("drop table gone").await;
    db.exec(&format!("alter table still disable trigger \"{trigger}\"")).await;
    db.exec("do $$ begin execute (select format('drop trigger %I on lost', tgname) from pg_trigger where tgrelid = 'lost'::regclass limit 1); end $$")
        .await;
    db.exec("select setval('rowcast.lease', 1)").await;
    let run = rowcast(&db, &["doctor", "--json"]).await;
    assert_eq!(run.status.code(), Some(1));
    let findings = json_lines(&run);
    for (name, word, said) in [
        ("table public.gone", "warn", "dropped"),
        ("table public.still", "fail", "enable always trigger"),
        ("table public.lost", "fail", "not there"),
        ("table public.torn", "fail", "--no-bulk"),
        ("table public.fine", "ok", "fine:{id}"),
        ("capture", "fail", "rowcast serve"),
    ] {
        let (found, text) = verdict(&findings, name);
        assert!(found == word && text.contains(said), "{name}: {found} {text}");
    }
}

#[tokio::test]
async fn too_many_powers_and_strange_holders_are_named() {
    let db = migrated().await;
    let (role, stranger) = (format!("doctor_{}", db.name), format!("holder_{}", db.name));
    db.admin_exec(&format!(
        "create role {stranger} login;
         create role {role} login createdb bypassrls in role app, pg_read_all_settings, pg_read_server_files"
    ))
    .await;
    let powers = async |url: String| {
        let run = Binary::new(&["doctor", "--json"]).env("DATABASE_URL", &url).output().await;
        let findings = json_lines(&run);
        let (word, said) = verdict(&findings, "powers");
        (word.to_owned(), said)
    };
    let (word, said) = powers(db.url_as(&role)).await;
    let named = ["bypassrls", "createdb", "pg_read_server_files"];
    assert!(word == "warn" && named.iter().all(|power| said.contains(power)), "{said}");
    let (word, said) = powers(db.admin_url()).await;
    assert!(word == "warn" && said.contains("superuser") && !said.contains("pg_read_server_files"), "{said}");

    // Any role can take an advisory lock; a writer's own lasts only as long as its transaction.
    let mut held = sqlx::PgConnection::connect(&db.url_as(&stranger)).await.expect("may connect");
    for (sql, word) in [
        ("select pg_advisory_lock(1381257, 2)", "warn"),
        ("select pg_advisory_unlock_all()", "ok"),
        ("select pg_advisory_lock(1381257, 1)", "warn"),
    ] {
        sqlx::raw_sql(sql).execute(&mut held).await.expect("any role may");
        let run = rowcast(&db, &["doctor", "--json"]).await;
        let findings = json_lines(&run);
        let (found, said) = verdict(&findings, "locks");
        assert_eq!((found, said.contains(&stranger)), (word, word == "warn"), "{sql}: {said}");
    }
}

#[tokio::test]
async fn jobs_rates_and_providers_are_judged_with_their_cures() {
    let db = migrated().await;
    let findings = ok(&rowcast(&db, &["doctor"]).await);
    assert_eq!((verdict(&findings, "jobs").0, verdict(&findings, "rates").0), ("ok", "ok"), "nothing is wished");

    db.exec(
        "select rowcast.schedule('broken', '0 3 * * *', 'select 1'), rowcast.schedule('fine', '0 3 * * *', 'select 1'),
                rowcast.schedule('absent', '0 3 * * *', 'select 1');
         insert into rowcast.job (name, cron) values ('refresh-rates', '*/10 * * * *');
         insert into rowcast.job_run (job, started_at, ended_at, outcome, error, ticks)
           select id, now(), now(), o, e, n from rowcast.job
             join (values ('broken', 'failed', 'relation \"gone\" does not exist', 1), ('fine', 'ok', null, 1), ('absent', 'missed', 'nobody', 9),
                          ('refresh-rates', 'ok', null, 1)) v (of, o, e, n) on of = name;
         insert into rowcast_fx.rates (source_currency, destination_currency, rate, expired) values ('USD', 'NGN', 1600, true);
         update rowcast_fx.rate_cycle set n = 7, at = now() - interval '2 days';
         insert into rowcast_fx.provider_state (provider, outcome, breaker, why, detail, held_until, updated_at) values
           ('ecb', 'answered', 'closed', null, null, null, now()),
           ('fixer', 'held', 'open', 'quota', 'has no requests left', now() + interval '9 days', now()),
           ('currencyapi', 'failed', 'open', 'auth', 'refused the key', null, now())",
    )
    .await;
    let run = rowcast(&db, &["doctor", "--json"]).await;
    assert_eq!(run.status.code(), Some(1));
    let findings = json_lines(&run);
    for (name, word, said) in [
        ("jobs", "warn", "rowcast serve"),
        ("job broken", "fail", "\"gone\" does not exist"),
        ("job fine", "ok", "well"),
        ("job absent", "warn", "9 of its ticks"),
        ("rates", "fail", "1 expired"),
        ("rates", "fail", "rowcast rates refresh"),
        ("provider ecb", "ok", "never answered"),
        ("provider fixer", "fail", "min_interval_ms"),
        ("provider currencyapi", "fail", "Set another key"),
    ] {
        let (found, text) = verdict(&findings, name);
        assert!(found == word && text.contains(said), "{name}: {found} {text}");
    }
}

#[tokio::test]
async fn what_is_missing_altogether_is_said_first() {
    let db = TestDb::bare().await;
    let run = rowcast(&db, &["doctor"]).await;
    assert_eq!(run.status.code(), Some(1));
    let findings = json_lines(&run);
    let (word, said) = verdict(&findings, "schema");
    assert!(word == "fail" && said.contains("rowcast migrate"), "{said}");

    let url = "postgres://someone:s3cret@127.0.0.1:1/db";
    let run = Binary::new(&["doctor"]).env("DATABASE_URL", url).output().await;
    assert_eq!(run.status.code(), Some(1));
    let said = text(&run.stdout);
    assert!(said.contains("refused") && !said.contains("s3cret"), "{said}");
    assert!(text(&run.stderr).is_empty());
    refused(&Binary::new(&["doctor", "--nonsense"]).output().await, 2);
}

#[tokio::test]
async fn a_column_that_a_template_names_and_somebody_renamed_is_found() {
    let db = migrated().await;
    db.exec(
        "create table orders (id int primary key, status text, old_no int);
         select rowcast.watch('orders', 'orders:{old_no}'), rowcast.watch('orders', 'all', columns => '{status}');
         alter table orders rename old_no to new_no; alter table orders rename status to state",
    )
    .await;
    let run = rowcast(&db, &["doctor", "--json"]).await;
    let findings = json_lines(&run);
    let (word, said) = verdict(&findings, "table public.orders");
    assert!(word == "fail" && said.contains("old_no in orders:{old_no}") && said.contains("status in all"), "{said}");
    let missing = "select string_agg(channel || columns_missing::text, ' ' order by channel) from rowcast.watched()";
    assert_eq!(db.text(missing).await, "all{status} orders:{old_no}{old_no}");
    // The cure that it names.
    for cure in [
        &["watch", "public.orders", "orders:{new_no}"][..],
        &["watch", "public.orders", "all", "--columns", "state"],
        &["unwatch", "public.orders", "orders:{old_no}"],
    ] {
        ok(&rowcast(&db, cure).await);
    }
    assert_eq!(verdict(&ok(&rowcast(&db, &["doctor"]).await), "table public.orders").0, "ok");
}

#[tokio::test]
async fn without_rights_only_the_rights_are_spoken_of() {
    let db = migrated().await;
    db.admin_exec("create role stranger_to_doctor login").await;
    let run = Binary::new(&["doctor"]).env("DATABASE_URL", &db.url_as("stranger_to_doctor")).output().await;
    assert_eq!(run.status.code(), Some(1));
    let findings = json_lines(&run);
    let (word, said) = verdict(&findings, "rights");
    assert!(word == "fail" && said.contains("grant app to stranger_to_doctor"), "{said}");
    assert!(findings.iter().all(|f| f["name"] == "rights" || f["verdict"] == "ok"), "{findings:#?}");
}

/// The way there and back: not the connection's setup, nor the statement's.
#[tokio::test]
async fn the_ping_is_one_round_trip() {
    let db = migrated().await;
    let proxy = db.proxy().await;
    proxy.delay(40);
    let run = Binary::new(&["doctor"]).env("DATABASE_URL", &db.url_through(&proxy)).output().await;
    let (_, said) = verdict(&json_lines(&run), "database");
    let ping: f64 =
        said.split("ping ").nth(1).and_then(|s| s.split(' ').next()).expect("a time").parse().expect("a number");
    assert!((40.0..160.0).contains(&ping), "{said}");
}

#[tokio::test]
async fn watching_again_hands_the_capture_over_to_the_role_that_came_later() {
    // A cluster of its own: in the others the role is there or not as other tests have it.
    let cluster = crate::kit::OwnCluster::start();
    let db = TestDb::on(&cluster).await;
    db.exec("create table orders (id int primary key); select rowcast.watch('orders', 'orders:{id}')").await;
    let findings = json_lines(&rowcast(&db, &["doctor"]).await);
    let (word, said) = verdict(&findings, "capture owner");
    assert!(word == "warn" && said.contains("grant rowcast_capture to app"), "{said}");
    db.admin_exec("create role rowcast_capture nologin; grant rowcast_capture to app").await;
    db.exec("select rowcast.watch('orders', 'orders:{id}')").await;
    assert_eq!(verdict(&json_lines(&rowcast(&db, &["doctor"]).await), "capture owner").0, "ok");
    db.exec("insert into orders values (1)").await;
    assert_eq!(db.text("select new ->> 'id' from rowcast.event where op = 'i'").await, "1");
}
