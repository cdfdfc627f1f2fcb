//! The guard around a provider: what it lets through, what it keeps, and what happens when a round is given up.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use rowcast::provider::{Circuit, Guarded, Luck, Refreshed, Wanted, Why};

use super::server::{Reply, Server, http};
use super::{fixture, one, time, wanted};

fn at(wanted: &Wanted, seconds: i64) -> Wanted {
    Wanted { now: wanted.now + TimeDelta::seconds(seconds), ..wanted.clone() }
}

async fn refresh(provider: &Guarded, wanted: &Wanted) -> Refreshed {
    crate::kit::patiently("a round", provider.refresh(wanted, Luck::new(0))).await
}

#[tokio::test]
async fn an_announced_update_is_waited_for_with_the_last_answer_at_hand() {
    let server = Server::saying(http(200, &[], fixture("open_er_api_latest_usd.json"))).await;
    let provider = one("open_er_api", &server.url, "");
    let wanted = wanted("NGN");
    let Refreshed::Answered(first) = refresh(&provider, &wanted).await else { panic!("the first round") };
    let Refreshed::Held { held, last } = refresh(&provider, &at(&wanted, 3600)).await else { panic!("held") };
    // It said 00:12:42; half a minute later at the earliest.
    assert_eq!((held.why, held.until), (Why::NoNews, Some(time("2026-11-21T00:13:12Z"))));
    assert!(Arc::ptr_eq(&last.expect("kept"), &first) && Arc::ptr_eq(&provider.last().expect("kept"), &first));
    let next_day = Wanted { now: time("2026-11-21T00:13:12Z"), ..wanted };
    assert!(matches!(refresh(&provider, &next_day).await, Refreshed::Answered(_)));
    assert_eq!(server.seen().len(), 2);
    let status = provider.status(next_day.now);
    assert_eq!((status.rounds, status.failed, status.skipped, status.error), (2, 0, 1, None));
}

#[tokio::test]
async fn five_failures_open_it_and_the_last_answer_stays() {
    let mut replies = vec![http(200, &[], fixture("openexchangerates_latest.json"))];
    replies.extend((0..5).map(|_| http(500, &[], "")));
    replies.push(http(200, &[], fixture("openexchangerates_latest.json")));
    let server = Server::script(replies).await;
    let provider = one("openexchangerates", &server.url, "");
    let wanted = wanted("NGN");
    assert!(matches!(refresh(&provider, &wanted).await, Refreshed::Answered(_)));
    for _ in 0..5 {
        let Refreshed::Failed { error, last } = refresh(&provider, &wanted).await else { panic!("a failure") };
        assert_eq!((error.code(), last.is_some()), ("status", true));
    }
    for seconds in [0, 20] {
        let Refreshed::Held { held, last } = refresh(&provider, &at(&wanted, seconds)).await else { panic!("open") };
        assert_eq!((held.why, last.is_some()), (Why::Failing, true));
    }
    assert_eq!(server.seen().len(), 6, "nothing was asked while it is open");
    for circuit in [Circuit::HalfOpen, Circuit::Closed] {
        assert!(matches!(refresh(&provider, &at(&wanted, 60)).await, Refreshed::Answered(_)));
        assert_eq!(provider.status(wanted.now).circuit, circuit);
    }
}

#[tokio::test]
async fn a_quota_in_a_200_and_a_refused_key_in_a_part_open_it() {
    let server = Server::saying(http(200, &[], fixture("apilayer_error_104_usage_limit_reached.json"))).await;
    let provider = one("currencylayer", &server.url, "");
    let w = wanted("NGN");
    assert!(matches!(refresh(&provider, &w).await, Refreshed::Failed { .. }));
    let Refreshed::Held { held, .. } = refresh(&provider, &at(&w, 86_400)).await else { panic!("open") };
    assert_eq!((held.why, held.until), (Why::Quota, Some(time("2026-12-01T00:00:00Z"))));

    let server = Server::script(vec![
        http(200, &[], fixture("flutterwave_rates_classic_usd_ngn.json")),
        http(401, &[], fixture("flutterwave_error_401.json")),
    ])
    .await;
    let provider = one("flutterwave", &server.url, "concurrency = 1");
    let Refreshed::Answered(answer) = refresh(&provider, &wanted("NGN KES")).await else { panic!("a part") };
    assert_eq!((answer.quotes.len(), answer.missing.len()), (1, 1));
    let Refreshed::Held { held, last } = refresh(&provider, &at(&w, 365 * 86_400)).await else { panic!("open") };
    assert_eq!((held.why, held.until, last.is_some()), (Why::Auth, None, true));
}

#[tokio::test]
async fn a_round_that_is_given_up_does_not_keep_the_probe() {
    let (asked, mut was_asked) = tokio::sync::mpsc::unbounded_channel();
    let turn = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::new(move |_| {
        asked.send(()).expect("the test waits");
        let reply = match turn.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0..5 => Reply::Bytes(http(500, &[], "")),
            5 => Reply::Stalled(Vec::new()),
            _ => Reply::Bytes(http(200, &[], fixture("ecb_eurofxref-daily.xml"))),
        };
        Box::pin(async { reply })
    })
    .await;
    let provider = one("ecb", &server.url, "");
    let wanted = wanted("GBP");
    for _ in 0..5 {
        assert!(matches!(refresh(&provider, &wanted).await, Refreshed::Failed { .. }));
        was_asked.recv().await.expect("asked");
    }
    let provider = Arc::new(provider);
    let later = at(&wanted, 3600);
    let (probing, probed) = (provider.clone(), later.clone());
    let probe = tokio::spawn(async move { probing.refresh(&probed, Luck::new(0)).await });
    crate::kit::patiently("the probe", was_asked.recv()).await.expect("asked");
    let Refreshed::Held { held, .. } = refresh(&provider, &later).await else { panic!("one probe at a time") };
    assert_eq!(held.why, Why::Probing);
    probe.abort();
    assert!(probe.await.expect_err("aborted").is_cancelled());
    match refresh(&provider, &later).await {
        Refreshed::Answered(_) => {}
        other => panic!("the probe was not given back: {other:?}"),
    }
}

#[tokio::test]
async fn the_minimal_interval_is_the_providers_own_unless_configured() {
    for (options, held_s) in [("", 900), ("min_interval_ms = 5000", 5)] {
        let server = Server::saying(http(200, &[], fixture("ecb_eurofxref-daily.xml"))).await;
        let config = super::config(&format!("[source.ecb]\nbase_url = '{}'\n{options}", server.url));
        let mut all = rowcast::provider::registry(&config, &super::client(), &|_| None).expect("a registry");
        let provider = all.remove(0);
        let wanted = wanted("GBP");
        assert!(matches!(refresh(&provider, &wanted).await, Refreshed::Answered(_)));
        let Refreshed::Held { held, .. } = refresh(&provider, &wanted).await else { panic!("held") };
        assert_eq!((held.why, held.until), (Why::Interval, Some(wanted.now + Duration::from_secs(held_s))));
    }
}
