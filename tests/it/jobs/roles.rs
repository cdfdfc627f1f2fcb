//! A job runs as the role that scheduled it, or not at all.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{error, until_run};
use crate::kit::{APP_ROLE, Server, TestDb};

const ROLE: &str = "scheduler_of_jobs";

async fn as_role(db: &TestDb<'_>, sql: &str) -> Result<(), sqlx::Error> {
    let mut session = PgConnection::connect(&db.url_as(ROLE)).await.expect("may connect");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut session).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_runs_as_who_scheduled_it_and_can_become_nobody_else() {
    let db = TestDb::new().await;
    db.admin_exec(&format!("create role {ROLE} login")).await;
    db.exec(&format!(
        "create table seen (who text default current_user, v text); grant insert, select on seen to {ROLE};
         create table private (v text);
         select rowcast.schedule('of-app', '0 0 1 1 *', 'select 1')"
    ))
    .await;

    let refused =
        as_role(&db, "select rowcast.schedule('mine', '* * * * * *', 'select 1')").await.expect_err("no right");
    assert!(refused.to_string().contains("permission denied"), "{refused}");
    db.exec(&format!(
        "grant usage on schema rowcast to {ROLE};
         grant execute on function rowcast.schedule, rowcast.unschedule to {ROLE};
         grant select, insert, update, delete on rowcast.job to {ROLE}"
    ))
    .await;

    // Not in another's name, and nothing of another's.
    let forged = format!(
        "insert into rowcast.job (name, cron, sql, role) values ('forged', '* * * * *', 'select 1', '{}')",
        crate::kit::APP_ROLE
    );
    for sql in [forged.as_str(), "select rowcast.schedule('of-app', '* * * * *', 'select 1')"] {
        assert!(as_role(&db, sql).await.is_err(), "{sql}");
    }
    as_role(&db, "select rowcast.unschedule('of-app')").await.expect("it finds none");
    assert_eq!(db.text("select cron from rowcast.job where name = 'of-app'").await, "0 0 1 1 *");

    let server = Server::start(&db).await;
    as_role(&db, "select rowcast.schedule('mine', '* * * * * *', 'insert into seen (v) values (''mine'')')")
        .await
        .expect("granted");
    until_run(&db, "mine", "failed", 1).await;
    let why = error(&db, "mine").await;
    assert!(
        why.starts_with("the server's role \"app\" cannot run it as \"scheduler_of_jobs\", who scheduled it: "),
        "{why}"
    );

    db.admin_exec(&format!("grant {ROLE} to {}", crate::kit::APP_ROLE)).await;
    until_run(&db, "mine", "ok", 1).await;
    assert_eq!(db.text("select string_agg(distinct who, ',') from seen").await, ROLE);

    // Each would write as the server's role, which alone may.
    let steal = "insert into private values (current_user)";
    db.admin_exec(&format!("grant create on schema public to {ROLE}")).await;
    as_role(
        &db,
        &format!(
            "create table own (v int);
             create function stealing() returns trigger language plpgsql as
               $$ begin perform set_config('role', 'none', true); {steal}; return null; end $$;
             create constraint trigger late after insert on own deferrable initially deferred
               for each row execute function stealing();
             create function steals() returns int language plpgsql as
               $$ begin perform set_config('role', 'none', true); {steal}; return 1; end $$"
        ),
    )
    .await
    .expect("its own objects");
    for (n, sql) in [
        format!("reset role; {steal}"),
        format!("set role app; {steal}"),
        "select steals()".to_owned(),
        format!("do $x$ begin perform set_config('role', 'none', false); {steal}; end $x$"),
        format!("commit; reset role; {steal}"),
        format!("reset session authorization; {steal}"),
        "insert into own values (1)".to_owned(),
        "declare c cursor with hold for select steals()".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let name = format!("steal-{n}");
        as_role(&db, &format!("select rowcast.schedule('{name}', '0 0 1 1 *', $j${sql}$j$)")).await.expect("scheduled");
        db.exec(&format!("select rowcast.run_job('{name}')")).await;
        let ended = format!(
            "select exists (select from rowcast.job_run r join rowcast.job j on j.id = r.job where j.name = '{name}' and r.outcome is not null)::text"
        );
        crate::kit::wait_until(&format!("it ran: {sql}"), async || db.text(&ended).await == "true").await;
        assert_eq!(db.text("select count(*)::text from private").await, "0", "{sql}");
    }
    server.stop().await;
    db.admin_exec(&format!("drop owned by {ROLE} cascade; drop role {ROLE}")).await;
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_when_it_is_scheduled() {
    let db = TestDb::new().await;
    for (arguments, said) in [
        ("'a b', '* * * * *', 'select 1'", "a job's name is"),
        ("'a', '* * * *', 'select 1'", "has 4 fields"),
        ("'a', '', 'select 1'", "has 0 fields"),
        ("'a', '* * * * ;', 'select 1'", "has a character"),
        ("'a', '* * * * *', ' ;'", "no SQL"),
        ("'a', '* * * * *', 'select 1', 'Mars/Olympus'", "no time zone \"Mars/Olympus\""),
        ("'a', '* * * * *', 'select 1', timeout_ms => 0", "timeout_ms is 1"),
        ("'a', '* * * * *', 'selct 1'", "the SQL cannot be read: syntax error at or near \"selct\""),
        ("'a', '* * * * *', 'select 1; delete form session'", "syntax error at or near \"form\""),
        ("'a', '* * * * *', 'select ''open'", "the SQL cannot be read: unterminated quoted string"),
        ("'a', '* * * * *', 'do $$ begin'", "the SQL cannot be read: unterminated dollar-quoted string"),
    ] {
        let refused = db.try_exec(&format!("select rowcast.schedule({arguments})")).await.expect_err(arguments);
        assert!(refused.to_string().contains(said), "{arguments}: {refused}");
    }
    // Only read, not run nor looked into: tables may come later, and what is no plain query is a job, too.
    for sql in [
        "insert into comes_later values (1); select nowhere.f(); ;",
        "create temp table t as select 1; insert into t values (2)",
        "refresh materialized view m; declare c cursor for select 1; notify x; drop table if exists nobody",
        "do 'begin raise exception ''it ran''; end'",
    ] {
        db.exec(&format!(
            "select rowcast.schedule('well', '0 0 1 1 *', $j${sql}$j$); select rowcast.unschedule('well')"
        ))
        .await;
    }
    assert_eq!(db.text("select count(*)::text from pg_proc where proname = 'rowcast_syntax'").await, "0");
    // Who may not make temporary objects cannot be told, and may schedule.
    db.admin_exec(&format!("revoke temp on database {} from public, {APP_ROLE}", db.name)).await;
    db.exec("select rowcast.schedule('untold', '0 0 1 1 *', 'selct 1'); select rowcast.unschedule('untold')").await;
    // The search_path of who schedules is the job's.
    db.exec(
        "set search_path = here, public; select rowcast.schedule('a', '  * * * * 1-5 ', 'select 1', 'Europe/Berlin')",
    )
    .await;
    assert_eq!(
        db.text("select concat_ws('|', cron, timezone, role, search_path, timeout_ms) from rowcast.job").await,
        "* * * * 1-5|Europe/Berlin|app|here, public|60000"
    );
}
