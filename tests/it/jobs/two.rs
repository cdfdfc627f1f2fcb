//! Two instances, one schedule.

use super::until_run;
use rowcast::app::Config;

use crate::kit::{Binary, Running, Server, TestDb, http_client, wait_until};

async fn serve(db: &TestDb<'_>) -> Running {
    Binary::new(&["serve", "--listen", "127.0.0.1:0"]).env("DATABASE_URL", &db.url()).start().ready().await
}

async fn leads(server: &Running) -> bool {
    let answer = http_client().get(server.http("/metrics")).send().await.expect("it serves");
    answer.text().await.expect("text").lines().any(|line| line == "rowcast_jobs_leader 1.0")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_killed_and_the_other_goes_on_with_each_tick_run_once() {
    let db = TestDb::new().await;
    db.exec("create table seen (id int generated always as identity)").await;
    let mut first = serve(&db).await;
    wait_until("the first leads", async || leads(&first).await).await;
    let second = serve(&db).await;
    db.exec("select rowcast.schedule('tick', '* * * * * *', 'insert into seen default values')").await;
    until_run(&db, "tick", "ok", 3).await;
    assert!(!leads(&second).await);
    assert_eq!(db.text("select count(distinct instance)::text from rowcast.job_run").await, "1");

    first.kill9().await;
    wait_until("the second leads", async || leads(&second).await).await;
    let ran = "select count(*)::text from rowcast.job_run where outcome = 'ok' and instance <> (select instance from rowcast.job_run order by id limit 1)";
    wait_until("the second runs", async || db.text(ran).await.parse::<u32>().expect("a number") >= 3).await;
    db.exec("update rowcast.job set cron = '0 0 1 1 *' where name = 'tick'").await;
    wait_until("nothing runs", async || {
        db.text("select count(*)::text from rowcast.job_run where outcome is null").await == "0"
    })
    .await;

    // No tick twice, and none between the first and the last without a word.
    let (twice, unsaid) = (
        db.text("select (count(*) - count(distinct scheduled_at))::text from rowcast.job_run where scheduled_at is not null").await,
        db.text(
            "select (extract(epoch from max(scheduled_at) - min(scheduled_at - (ticks - 1) * interval '1 s'))::int + 1 - sum(ticks))::text
               from rowcast.job_run",
        )
        .await,
    );
    assert_eq!((twice.as_str(), unsaid.as_str()), ("0", "0"));
    // A run that died with its instance may have come to its end or not.
    let (done, ok, orphans) = (
        db.text("select count(*)::text from seen").await,
        db.text("select count(*)::text from rowcast.job_run where outcome = 'ok'").await,
        db.text("select count(*)::text from rowcast.job_run where outcome = 'failed'").await,
    );
    let number = |text: String| text.parse::<i64>().expect("a number");
    let (done, ok, orphans) = (number(done), number(ok), number(orphans));
    assert!((ok..=ok + orphans).contains(&done) && orphans <= 1, "{done} done, {ok} ok, {orphans} orphans");
    println!(
        "{}",
        db.text("select string_agg(concat_ws(' ', to_char(scheduled_at, 'MI:SS'), outcome, nullif(ticks, 1), instance), e'\\n' order by id) from rowcast.job_run")
            .await
    );
}

/// Neither side is told: the leader's connections stand, and nothing passes. Postgres would keep its lock until TCP gave up, and
/// behind a proxy that lives for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_leader_is_ended_and_no_tick_runs_twice() {
    let db = TestDb::new().await;
    db.exec("create table seen (id int generated always as identity)").await;
    let proxy = db.proxy().await;
    let brisk = |config: &mut Config| config.scheduler.leader_stale_ms = 3_000;
    let leads = async |server: &Server| {
        let answer = http_client().get(server.http("/metrics")).send().await.expect("it serves");
        answer.text().await.expect("text").lines().any(|line| line == "rowcast_jobs_leader 1.0")
    };
    let first = Server::with(&db.url_through(&proxy), brisk).await;
    wait_until("the first leads", async || leads(&first).await).await;
    let second = Server::with(&db.url(), brisk).await;
    db.exec("select rowcast.schedule('tick', '* * * * * *', 'insert into seen default values')").await;
    until_run(&db, "tick", "ok", 2).await;
    assert!(!leads(&second).await);

    proxy.blackhole();
    wait_until("the second leads", async || leads(&second).await).await;
    wait_until("the first knows that it does not", async || !leads(&first).await).await;
    let ran = "select count(*)::text from rowcast.job_run where outcome = 'ok' and instance <> (select instance from rowcast.job_run order by id limit 1)";
    wait_until("the second runs", async || db.text(ran).await.parse::<u32>().expect("a number") >= 3).await;
    // The first is back, with all that it had sent; and is second now.
    proxy.restore().await;
    until_run(&db, "tick", "ok", 8).await;
    assert!(leads(&second).await && !leads(&first).await);
    db.exec("update rowcast.job set cron = '0 0 1 1 *' where name = 'tick'").await;
    wait_until("nothing runs", async || {
        db.text("select count(*)::text from rowcast.job_run where outcome is null").await == "0"
    })
    .await;
    let twice =
        "select (count(*) - count(distinct scheduled_at))::text from rowcast.job_run where scheduled_at is not null";
    assert_eq!(db.text(twice).await, "0");
    let more = "select ((select count(*) from seen) between count(*) filter (where outcome = 'ok') and count(*) filter (where outcome in ('ok', 'failed')))::text
        from rowcast.job_run";
    assert_eq!(db.text(more).await, "true", "each run's work was done once");
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stops_in_order_waits_for_its_run_and_gives_the_lead_away() {
    let db = TestDb::new().await;
    let mut first = serve(&db).await;
    wait_until("the first leads", async || leads(&first).await).await;
    db.exec("select rowcast.schedule('long', '* * * * * *', 'select pg_sleep(1.5)')").await;
    wait_until("it runs", async || {
        db.text("select exists (select from rowcast.job_run where started_at is not null and outcome is null)::text")
            .await
            == "true"
    })
    .await;
    first.signal(libc::SIGTERM);
    assert!(first.ended().await.success());
    let left = db.text("select count(*)::text from rowcast.job_run where outcome is distinct from 'ok' and outcome is distinct from 'skipped_overlap'");
    assert_eq!(left.await, "0");
    let second = serve(&db).await;
    wait_until("the second leads", async || leads(&second).await).await;
}
