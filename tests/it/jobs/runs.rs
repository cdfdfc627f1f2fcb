use std::sync::atomic::{AtomicU32, Ordering};

use rowcast::domain::DatabaseUrl;
use rowcast::scheduler::{Job, Runner, Scheduler};
use rowcast::store::Store;

use super::{error, outcomes, until_run};
use crate::kit::{APP_ROLE, PATIENCE, Server, TestDb, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_never_overlap_and_what_is_skipped_is_recorded() {
    let db = TestDb::new().await;
    db.exec("create table seen (began timestamptz default clock_timestamp(), ended timestamptz)").await;
    let _server = Server::start(&db).await;
    db.exec(
        "select rowcast.schedule('long', '* * * * * *',
           'insert into seen default values; select pg_sleep(2.2); update seen set ended = clock_timestamp() where ended is null')",
    )
    .await;
    until_run(&db, "long", "skipped_overlap", 2).await;
    // Asked for meanwhile: it waits.
    let asked = db.text("select rowcast.run_job('long')::text").await;
    assert_eq!(db.text("select rowcast.run_job('long')::text").await, asked, "one that waits is enough");
    until_run(&db, "long", "ok", 2).await;
    wait_until("the asked run ended", async || {
        db.text(&format!("select coalesce(outcome, '') from rowcast.job_run where id = {asked}")).await == "ok"
    })
    .await;
    let overlapping = "select count(*)::text from seen a, seen b where a.began < b.began and b.began < a.ended";
    assert_eq!(db.text(overlapping).await, "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_takes_too_long_or_cannot_be_read_is_said() {
    let db = TestDb::new().await;
    db.exec("create table seen (v text)").await;
    let _server = Server::start(&db).await;
    db.exec(
        "select rowcast.schedule('broken', '* * * * * *', 'insert into seen values (''half''); insert into nowhere values (1)');
         select rowcast.schedule('slow', '* * * * * *', 'insert into seen values (''slow''); select pg_sleep(30)', timeout_ms => 200);
         select rowcast.schedule('odd', '0 25 * * *', 'select 1');
         select rowcast.schedule('abbreviated', '0 5 * * *', 'select 1', timezone => 'CET-1CEST');
         select rowcast.schedule('works', '* * * * * *', 'insert into seen values (''works'')')",
    )
    .await;
    until_run(&db, "broken", "failed", 1).await;
    assert_eq!(error(&db, "broken").await, "relation \"nowhere\" does not exist");
    until_run(&db, "slow", "timed_out", 1).await;
    assert_eq!(error(&db, "slow").await, "ended after 200 ms");
    until_run(&db, "works", "ok", 1).await;
    assert_eq!(db.text("select string_agg(distinct v, ',') from seen").await, "works", "a run is one transaction");
    for (job, said) in [("odd", "cannot be read"), ("abbreviated", "is not a time zone of the IANA database")] {
        let problem = format!("select coalesce(problem, '') from rowcast.job where name = '{job}'");
        wait_until(&format!("{job} is told"), async || db.text(&problem).await.contains(said)).await;
    }
    // Mended, without a restart.
    db.exec("select rowcast.schedule('odd', '* * * * * *', 'select 1')").await;
    until_run(&db, "odd", "ok", 1).await;
    assert_eq!(db.text("select unschedule::text from rowcast.unschedule('odd')").await, "true");
    assert_eq!(outcomes(&db, "odd").await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_was_there_to_run_is_recorded_as_missed_and_not_made_up_for() {
    let db = TestDb::new().await;
    db.exec(
        "select rowcast.schedule('hourly', '30 0 * * * *', 'select 1'), rowcast.schedule('seconds', '* * * * * *', 'select 1');
         update rowcast.job set settled_at = case name when 'hourly' then date_trunc('hour', now()) - interval '5 hours' + interval '31 s'
                                                       else now() - interval '3 days' end",
    )
    .await;
    let _server = Server::with(&db.url(), |config| config.scheduler.late_ms_max = 1_500).await;
    until_run(&db, "hourly", "missed", 1).await;
    let ticks: u32 = db.text("select ticks::text from rowcast.job_run r join rowcast.job j on j.id = r.job where name = 'hourly' and outcome = 'missed'").await.parse().expect("a number");
    assert!((4..=5).contains(&ticks), "{ticks}");
    assert_eq!(error(&db, "hourly").await, "no instance ran jobs at that time");
    until_run(&db, "seconds", "ok", 2).await;
    let far = "select ticks::text from rowcast.job_run r join rowcast.job j on j.id = r.job where name = 'seconds' order by r.id limit 1";
    assert_eq!(db.text(far).await, "3600", "as many and more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_runs_are_dropped() {
    let db = TestDb::new().await;
    db.exec(
        "select rowcast.schedule('rare', '0 0 1 1 *', 'select 1');
         insert into rowcast.job_run (job, outcome) select id, 'ok' from rowcast.job, generate_series(1, 50)",
    )
    .await;
    let _server = Server::with(&db.url(), |config| config.scheduler.runs_kept_max = 7).await;
    wait_until("it is trimmed", async || outcomes(&db, "rare").await == "ok 7").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_our_own_that_panics_fails_and_runs_again() {
    let db = TestDb::new().await;
    let url = DatabaseUrl::parse(&db.url(), APP_ROLE).expect("our own URL");
    let store = Store::new(&url, Default::default());
    store.own_job("shaky", Some("* * * * * *")).await.expect("registered");
    let turn = AtomicU32::new(0);
    let shaky = Job::new("shaky", "* * * * * *", move || {
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        async move { if turn == 0 { panic!("a bug of the job") } else { Ok::<(), String>(()) } }
    });
    let runner = Runner::new(store, Default::default(), vec![shaky]);
    let scheduler = Scheduler::start(vec![runner.beat()]).await.expect("it starts");
    until_run(&db, "shaky", "ok", 1).await;
    assert_eq!(outcomes(&db, "shaky").await.split(',').next(), Some("failed 1"));
    // On a slow machine a second may have been missed since.
    let why = db.text("select error from rowcast.job_run where outcome = 'failed'").await;
    assert_eq!(why, "panicked: the log says where");
    scheduler.shutdown(PATIENCE).await;
    runner.stop(PATIENCE).await;
}
