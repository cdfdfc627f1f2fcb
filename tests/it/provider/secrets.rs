//! A key is seen by its provider and by nobody else: not in an error, a `Debug`, a log line.

use std::io;
use std::sync::{Arc, Mutex};

use rowcast::provider::{self, Luck};
use tracing_subscriber::fmt::MakeWriter;

use super::server::{Reply, Server, http};
use super::{KEY, KEY_ESCAPED, client, config, one, wanted};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no test panics here").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

const KEYED: [&str; 7] = [
    "currencyapi",
    "currencylayer",
    "exchangerate_api",
    "exchangerate_host",
    "fixer",
    "flutterwave",
    "openexchangerates",
];

#[tokio::test]
async fn no_failure_shows_the_key() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    // For this thread, and the test's runtime has no other.
    let _logged = tracing::subscriber::set_default(subscriber);
    // With one subscriber alone, a call site that another test's thread reaches first is taken for unwanted for ever.
    let _second = tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(io::sink).finish());
    tracing::callsite::rebuild_interest_cache();
    tracing::info!("the log is heard");
    let mut shown = String::new();
    for name in KEYED {
        for way in ["silent", "refusing", "telling", "telling in JSON", "closing", "redirecting", "circling", "gone"] {
            let server = Server::new(move |head| {
                let target = head.split_whitespace().nth(1).unwrap_or_default().to_owned();
                Box::pin(async move {
                    let told = format!("your key {KEY} ({KEY_ESCAPED}) in {target} is wrong");
                    match way {
                        "silent" => Reply::Stalled(Vec::new()),
                        "refusing" => Reply::Bytes(http(401, &[], told)),
                        "telling" => Reply::Bytes(http(200, &[], told)),
                        "telling in JSON" => Reply::Bytes(http(
                            200,
                            &[],
                            format!(
                                r#"{{"success":false,"result":"{told}","status":"{told}","message":"{told}","error-type":"{told}",
                                "error":{{"code":"{told}","type":"{told}","info":"{told}"}},"meta":{{"last_updated_at":"{told}"}},"data":{{}}}}"#
                            ),
                        )),
                        "closing" => Reply::Bytes(Vec::new()),
                        "redirecting" => Reply::Bytes(http(302, &[&format!("Location: http://127.0.0.1:1{target}")], "")),
                        _ => Reply::Bytes(http(302, &[&format!("Location: {target}")], "")),
                    }
                })
            })
            .await;
            let url = server.url.clone();
            let server = (way != "gone").then_some(server);
            if server.is_none() {
                // The port is given back before anybody asks.
                tokio::task::yield_now().await;
            }
            let provider = one(name, &url, "timeout_ms = 30");
            // As often as it takes for the breaker to open and say so.
            for _ in 0..6 {
                let refreshed = crate::kit::patiently(way, provider.refresh(&wanted("NGN"), Luck::new(0))).await;
                if let provider::Refreshed::Failed { error, .. } = &refreshed {
                    shown.push_str(&format!("{name} {way}: {error}\n"));
                }
                shown.push_str(&format!("{refreshed:?}\n"));
            }
            shown.push_str(&format!("{:?}\n", provider.status(wanted("").now)));
            if let Some(server) = server {
                let asked = server.seen();
                assert!(asked.iter().any(|head| head.contains(KEY) || head.contains(KEY_ESCAPED)), "{name}: {asked:?}");
            }
        }
    }
    let file = config(&format!("[source.fixer]\napi_key = '{KEY}'\nbase_url = 'ftp://x'"));
    shown.push_str(&format!("{file:?} {:?}", file.source["fixer"].api_key));
    let Err(error) = provider::registry(&file, &client(), &|_| Some(KEY.to_owned())) else { panic!("ftp") };
    shown.push_str(&format!("{error} {error:?}"));

    let logged = String::from_utf8(log.0.lock().expect("no test panics here").clone()).expect("text");
    assert!(logged.contains("the log is heard") && logged.contains("provider left alone"), "{logged}");
    for secret in [KEY, KEY_ESCAPED, "s3cr3t"] {
        for (where_to, text) in [("an error or a Debug", &shown), ("the log", &logged)] {
            let line = text.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "a key in {where_to}");
        }
    }
    // All of them failed, or this proves nothing.
    for name in KEYED {
        assert!(shown.matches(&format!("{name} ")).count() >= 8, "{shown}");
    }
}
