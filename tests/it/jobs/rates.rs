//! The job `refresh-rates` of a whole server.

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::until_run;
use crate::kit::{Server, TestDb, http_client, wait_until};
use crate::provider::server::{Server as Provider, http};
use crate::rates::round::serve;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_pairs_refreshed_by_the_job_with_one_provider_down_one_lying_one_slow() {
    let (_open, now_open) = watch::channel(true);
    let (_slow_open, slow) = watch::channel(false);
    let mut providers = String::new();
    for (name, fixture, key, when) in [
        ("open_er_api", "outlier_open_er_api_latest_usd.json", false, &now_open), // lies about NGN
        ("exchangerate_api", "exchangerate_api_v6_latest_usd.json", true, &now_open),
        ("openexchangerates", "openexchangerates_latest.json", true, &now_open),
        ("currencylayer", "currencylayer_live.json", true, &now_open),
        ("fixer", "fixer_latest_eur.json", true, &now_open),
        ("ecb", "ecb_eurofxref-daily.xml", false, &slow),
    ] {
        let addr = serve(fixture, when.clone()).await;
        providers += &format!("[source.{name}]\nbase_url = 'http://{addr}'\nmin_interval_ms = 0\n");
        providers += if key { "api_key = 'test'\n" } else { "" };
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("bound");
    providers += &format!("[source.exchangerate_host]\nbase_url = 'http://{nobody}'\napi_key = 'test'\n");

    let db = TestDb::new().await;
    let server = Server::with(&db.url(), |config| {
        config.provider = toml::from_str(&providers).expect("TOML");
        // The fixtures' time stamps are of one day.
        let always = 1_000_000_000;
        (config.rates.fresh_minute_s, config.rates.fresh_hourly_s, config.rates.fresh_daily_s) =
            (always, always, always);
        config.rates.round_ms = 1_000;
        config.rates.refresh_cron = "*/2 * * * * *".into();
    })
    .await;
    until_run(&db, "refresh-rates", "ok", 2).await;
    assert_eq!(db.text("select count(*)::text from rowcast_fx.rates").await, "60");
    let ngn = "select rate || ' ' || confidence from rowcast_fx.rates where source_currency = 'USD' and destination_currency = 'NGN'";
    assert_eq!(db.text(ngn).await, "1535.48233543809 high", "the liar is not believed");
    let rejected = "select string_agg(distinct concat_ws(' ', provider, quote_currency, reason), ', ') from rowcast_fx.rate_quote where reason is not null";
    assert_eq!(db.text(rejected).await, "open_er_api NGN outlier");
    let misbehaved = "select string_agg(provider || ' ' || outcome, ', ' order by provider) from rowcast_fx.provider_state where outcome <> 'answered'";
    let misbehaved = db.text(misbehaved).await;
    assert!(misbehaved.starts_with("ecb slow, exchangerate_host "), "{misbehaved}");
    // Only changes travel: the second refresh wrote no rate.
    assert_eq!(db.text("select count(*)::text from rowcast_fx.rate_history").await, "60");
    let metrics =
        http_client().get(server.http("/metrics")).send().await.expect("it serves").text().await.expect("text");
    assert!(metrics.contains("rowcast_rates_written_total 60"), "{metrics}");
    server.stop().await;
}

/// Two that must not be asked again: one has no requests left this month, one was asked an hour's interval ago at most.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_forgets_neither_a_spent_quota_nor_the_last_answer() {
    let bytes = |name: &str| {
        let path = format!("{}/tests/fixtures/providers/{name}", env!("CARGO_MANIFEST_DIR"));
        http(200, &[], std::fs::read(&path).expect(name))
    };
    let spent = Provider::saying(bytes("apilayer_error_104_usage_limit_reached.json")).await;
    let paced = Provider::saying(bytes("openexchangerates_latest.json")).await;
    let db = TestDb::new().await;
    let serve = async || {
        let providers = format!(
            "[source.currencylayer]\nbase_url = '{}'\napi_key = 'test'\n[source.openexchangerates]\nbase_url = '{}'\napi_key = 'test'",
            spent.url, paced.url
        );
        Server::with(&db.url(), |config| {
            config.provider = toml::from_str(&providers).expect("TOML");
            config.rates.fresh_hourly_s = 1_000_000_000; // the fixture is of one day
            config.rates.refresh_cron = "* * * * * *".into();
        })
        .await
    };
    for start in 1..=2 {
        let server = serve().await;
        until_run(&db, "refresh-rates", "ok", start * 2).await;
        server.stop().await;
        assert_eq!((spent.seen().len(), paced.seen().len()), (1, 1), "start {start}");
    }
    let state = "select string_agg(concat_ws(' ', provider, outcome, breaker, why, date_trunc('month', now(), 'UTC') + interval '1 month' = held_until), ', '
        order by provider) from rowcast_fx.provider_state";
    assert_eq!(db.text(state).await, "currencylayer held open quota t, openexchangerates held closed interval f");
    // The rates of the second process stand on the answer that the first one got, and nothing changed.
    assert_eq!(
        db.text("select count(*)::text from rowcast_fx.rates where not cached and sources = '{openexchangerates}'")
            .await,
        "60"
    );
    assert_eq!(db.text("select count(*)::text from rowcast_fx.rate_history").await, "60");
    // Who has bought more says so.
    db.exec("delete from rowcast_fx.provider_state where provider = 'currencylayer'").await;
    let server = serve().await;
    wait_until("it is asked", async || spent.seen().len() == 2).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_providers_there_is_no_job_and_it_comes_and_goes_with_them() {
    let db = TestDb::new().await;
    let jobs = "select coalesce(string_agg(name || ' ' || cron, ', '), '') from rowcast.job";
    let server = Server::start(&db).await;
    assert_eq!(db.text(jobs).await, "");
    server.stop().await;
    let simulated = |config: &mut rowcast::app::Config| {
        config.provider = toml::from_str("[source.simulated]\nstep_bps_max = 50").expect("TOML");
    };
    let server = Server::with(&db.url(), simulated).await;
    assert_eq!(db.text(jobs).await, "refresh-rates */10 * * * *");
    db.exec("select rowcast.run_job('refresh-rates')").await;
    wait_until("the rates are there", async || db.text("select count(*)::text from rowcast_fx.rates").await == "60")
        .await;
    server.stop().await;
    let server = Server::start(&db).await;
    assert_eq!(db.text(jobs).await, "");
    server.stop().await;
}
