//! From the providers' bytes, over real sockets, to rates: one provider lies, one is down, one is slow.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use rowcast::provider::{Luck, client, registry};
use rowcast::rates::{Panel, Round};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{NOW, at, refresher};
use crate::kit::{TestDb, http_client, patiently, wait_until};

/// Answers every GET with the fixture's bytes once `open` says so.
pub async fn serve(fixture: &str, open: watch::Receiver<bool>) -> SocketAddr {
    let body =
        std::fs::read(format!("{}/tests/fixtures/providers/{fixture}", env!("CARGO_MANIFEST_DIR"))).expect(fixture);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let (body, mut open) = (body.clone(), open.clone());
            tokio::spawn(async move {
                let _ = tcp.read(&mut [0; 4096]).await;
                let _ = open.wait_for(|open| *open).await;
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                let _ = tcp.write_all(&[head.as_bytes(), &body].concat()).await;
            });
        }
    });
    addr
}

fn outcomes(round: &Round) -> BTreeMap<&str, String> {
    let outcome = |f: &rowcast::rates::Fared| {
        let outcome = format!("{:?}", f.outcome);
        outcome.split(['(', ',']).next().expect("a first part").to_owned()
    };
    round.providers.iter().map(|f| (&*f.provider, outcome(f))).collect()
}

#[tokio::test]
async fn sixty_pairs_from_seven_providers_of_which_three_misbehave() {
    let (_open, now_open) = watch::channel(true);
    let (slow_open, slow) = watch::channel(false);
    let mut config = String::new();
    for (name, fixture, when) in [
        ("open_er_api", "outlier_open_er_api_latest_usd.json", &now_open), // lies about NGN
        ("exchangerate_api", "exchangerate_api_v6_latest_usd.json", &now_open),
        ("openexchangerates", "openexchangerates_latest.json", &now_open),
        ("currencylayer", "currencylayer_live.json", &now_open),
        ("fixer", "fixer_latest_eur.json", &now_open),
        ("ecb", "ecb_eurofxref-daily.xml", &slow),
    ] {
        let addr = serve(fixture, when.clone()).await;
        config += &format!("[source.{name}]\nbase_url = 'http://{addr}'\nmin_interval_ms = 0\n");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("bound");
    config += &format!("[source.exchangerate_host]\nbase_url = 'http://{nobody}'\n");

    drop(http_client()); // installs the TLS provider
    let config: rowcast::provider::Config = toml::from_str(&config).expect("TOML");
    let http = client(&config).expect("a client");
    let providers = registry(&config, &http, &|_| Some("test".into())).expect("providers");

    let db = TestDb::new().await;
    let r = refresher(&db, "round_ms = 500").await;
    let panel = Panel::new(providers, r.rules());
    let luck = || Luck::new(500);
    let round = patiently("the round", panel.ask(at(NOW), &luck, None)).await;
    let expected = [
        ("currencylayer", "Answered"),
        ("ecb", "Slow"),
        ("exchangerate_api", "Answered"),
        ("exchangerate_host", "Failed"),
        ("fixer", "Answered"),
        ("open_er_api", "Answered"),
        ("openexchangerates", "Answered"),
    ];
    let expected: BTreeMap<&str, String> = expected.into_iter().map(|(n, o)| (n, o.to_owned())).collect();
    assert_eq!(outcomes(&round), expected);

    let report = r.refresh(&round, at(NOW)).await.expect("a refresh");
    println!("{report}");
    assert_eq!(report.to_string(), "60 rates changed, 0 unchanged; 89 quotes used, 1 rejected");
    let rejected: Vec<String> = report
        .quotes
        .iter()
        .filter_map(|j| Some(format!("{} {} {}", j.provider, j.quoted.quote, j.rejected.as_ref()?.code())))
        .collect();
    assert_eq!(rejected, ["open_er_api NGN outlier"]);
    let ngn = "select rate || ' ' || confidence from rowcast_fx.rates where source_currency = 'USD' and destination_currency = 'NGN'";
    assert_eq!(db.text(ngn).await, "1535.48233543809 high");
    let states = db
        .texts(
            "select concat_ws(' ', provider, outcome, breaker, answered_at is not null) from rowcast_fx.provider_state \
        where outcome <> 'answered' order by 1",
        )
        .await;
    assert_eq!(states, [Some("ecb slow closed f".into()), Some("exchangerate_host failed closed f".into())]);

    // The slow one is not asked twice; when it is done, its answer counts.
    slow_open.send(true).expect("the server waits");
    let later = at(NOW) + chrono::Duration::minutes(2);
    wait_until("the slow provider has answered", async || {
        let round = panel.ask(later, &luck, None).await;
        round.answers.iter().any(|a| &*a.provider == "ecb" && a.quotes.len() == 4)
    })
    .await;
    let round = patiently("the round", panel.ask(later, &luck, None)).await;
    let report = r.refresh(&round, later).await.expect("a refresh");
    let eur: Vec<&str> =
        report.quotes.iter().filter(|j| &*j.provider == "ecb").map(|j| j.quoted.quote.as_str()).collect();
    assert_eq!(eur, ["CAD", "GBP", "ZAR", "USD"]);
    assert_eq!((report.rejected, report.expired.len(), report.missing.len()), (1, 0, 0), "{report}");
}
