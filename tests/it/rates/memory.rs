//! What the next process knows of the providers: whom not to ask, and what they said last.

use chrono::{DateTime, Duration, Utc};
use rowcast::provider::{Luck, client, registry};
use rowcast::rates::{Outcome, Panel, Report};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{NOW, at, refresher, store};
use crate::kit::{TestDb, http_client, patiently};

const FEW: &str = "sources = ['USD', 'EUR']\ndestinations = ['NGN', 'KES']\nfresh_daily_s = 360000";
const SHAKY: &str = "\nmin_interval_ms = 1000";

/// A new process: it has nothing in memory.
async fn round(db: &TestDb<'_>, provider: &str, now: DateTime<Utc>) -> Report {
    drop(http_client()); // installs the TLS provider
    let config: rowcast::provider::Config = toml::from_str(provider).expect("TOML");
    let http = client(&config).expect("a client");
    let providers = registry(&config, &http, &|_| Some("test".into())).expect("providers");
    let refresher = refresher(db, FEW).await;
    let panel = Panel::new(providers, refresher.rules());
    panel.remember(&store(db), now).await.expect("a memory");
    let round = patiently("the round", panel.ask(now, &|| Luck::new(500), None)).await;
    refresher.refresh(&round, now).await.expect("a refresh")
}

/// Quotes whatever pair it is asked for; or all, where it is asked for none. Once it was asked `answers` times it hangs up.
async fn provider(mut answers: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let read = tcp.read(&mut head).await.unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            let Some(left) = answers.checked_sub(1) else { continue };
            answers = left;
            let code = |name: &str| head.split_once(&format!("{name}=")).map(|(_, after)| after[..3].to_owned());
            let body = match code("source_currency").zip(code("destination_currency")) {
                Some((source, destination)) => format!(
                    r#"{{"status":"success","data":{{"source":{{"currency":"{source}","amount":0.5}},
                    "destination":{{"currency":"{destination}","amount":1}}}}}}"#
                ),
                None => format!(
                    r#"{{"disclaimer":"","license":"","timestamp":{},"base":"USD","rates":{{"EUR":0.87,"NGN":1535,"KES":129}}}}"#,
                    at(NOW).timestamp()
                ),
            };
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = tcp.write_all(answer.as_bytes()).await;
        }
    });
    format!("base_url = 'http://{addr}'")
}

fn fared(report: &Report) -> &'static str {
    match report.providers[0].outcome {
        Outcome::Answered => "answered",
        Outcome::Held(_) => "held",
        Outcome::Failed(_) => "failed",
        Outcome::Slow => "slow",
    }
}

#[tokio::test]
async fn the_last_answer_counts_in_the_next_process_until_the_next_one() {
    // How many answers the first process takes; what the next one is told, so much later.
    for (name, more, answers, later, expected) in [
        ("openexchangerates", "", 1, Duration::seconds(10), "held"),
        // A payout provider, asked pair by pair.
        ("flutterwave", "", 4, Duration::seconds(10), "held"),
        // It may be asked again, and fails.
        ("openexchangerates", SHAKY, 1, Duration::seconds(10), "failed"),
        ("flutterwave", SHAKY, 4, Duration::seconds(10), "failed"),
        // Written once on Friday, and good until Monday: a quote that does not change is not written again.
        ("openexchangerates", "\nmin_interval_ms = 259200000", 1, Duration::hours(70), "held"),
    ] {
        let db = TestDb::new().await;
        let config = format!("[source.{name}]\n{}{more}", provider(answers).await);
        let case = format!("{name}{more} after {later}");
        let first = round(&db, &config, at(NOW)).await;
        assert_eq!((fared(&first), first.written), ("answered", 4), "{case}: {first}");
        for again in 1..=2 {
            let next = round(&db, &config, at(NOW) + later * again).await;
            if later > Duration::hours(1) && again == 2 {
                break;
            }
            assert_eq!(fared(&next), expected, "{case}: {next}");
            assert_eq!((next.used, next.rejected, next.written), (first.used, 0, 0), "{case}: {next}");
            assert_eq!((next.unchanged, next.cached.len()), (4, 0), "{case}: {next}");
        }
    }
}
