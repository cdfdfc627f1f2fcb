//! A round of sixty requests: bounded, ended early where going on is pointless, shown as it goes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rowcast::provider::{ProviderError, Wanted};
use tokio::sync::Barrier;

use super::server::{Reply, Server, http};
use super::{ask, fixture, one, pair, wanted};

fn parameter<'a>(head: &'a str, name: &str) -> &'a str {
    let query = head.split_whitespace().nth(1).and_then(|target| target.split_once('?')).expect("a query").1;
    query.split('&').find_map(|p| p.strip_prefix(name)?.strip_prefix('=')).expect(name)
}

/// 1 unit buys 2, whatever the pair.
fn quote(head: &str) -> Vec<u8> {
    let (source, destination) = (parameter(head, "source_currency"), parameter(head, "destination_currency"));
    http(
        200,
        &[],
        format!(
            r#"{{"status":"success","message":"Transfer amount fetched","data":{{"rate":7,
            "source":{{"currency":"{source}","amount":0.5}},"destination":{{"currency":"{destination}","amount":1}}}}}}"#
        ),
    )
}

fn sixty() -> Wanted {
    let destinations = "XOF XAF EGP ETB GHS KES MAD NGN ZAR UGX ZMW TZS RWF SLE MWK";
    let pairs = ["USD", "CAD", "GBP", "EUR"]
        .iter()
        .flat_map(|s| destinations.split_whitespace().map(move |d| pair(&format!("{s}/{d}"))))
        .collect();
    Wanted { pairs, ..wanted("") }
}

#[tokio::test]
async fn sixty_pairs_go_four_at_a_time_and_show_their_progress() {
    // Four must be on their way together, or nobody gets an answer; and never five.
    let (together, running, most) =
        (Arc::new(Barrier::new(4)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen_most = most.clone();
    let server = Server::new(move |head| {
        let (together, running, most) = (together.clone(), running.clone(), most.clone());
        Box::pin(async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            together.wait().await;
            running.fetch_sub(1, Ordering::SeqCst);
            Reply::Bytes(quote(&head))
        })
    })
    .await;
    let shown = Arc::new(Mutex::new(Vec::new()));
    let noted = shown.clone();
    let wanted =
        Wanted { progress: Some(Arc::new(move |done, total| noted.lock().unwrap().push((done, total)))), ..sixty() };

    let answer = ask(&one("flutterwave", &server.url, ""), &wanted).await.expect("an answer");

    let quoted: Vec<_> =
        answer.quotes.iter().map(|q| rowcast::provider::Pair { base: q.base, quote: q.quote }).collect();
    assert_eq!(quoted, wanted.pairs, "in the order of asking");
    assert!(answer.quotes.iter().all(|q| q.rate.to_string() == "2" && q.provider_ts == wanted.now), "{answer:?}");
    assert!(answer.missing.is_empty() && answer.unknown.is_empty());
    assert_eq!(seen_most.load(Ordering::SeqCst), 4);
    assert_eq!(*shown.lock().unwrap(), (1..=60).map(|done| (done, 60)).collect::<Vec<_>>());
    let seen = server.seen();
    assert_eq!(seen.len(), 60);
    let head = seen[0].to_ascii_lowercase();
    assert!(head.starts_with("get /transfers/rates?amount=1&destination_currency="), "{head}");
    assert!(head.contains("authorization: bearer s3cr3t"), "{head}");
}

#[tokio::test]
async fn a_round_ends_where_going_on_is_pointless() {
    let unavailable = ProviderError::Refused { what: "it cannot quote at the moment" };
    let error = |status, file: &str| http(status, &[], fixture(file));
    /// What the n-th request (from 0) gets, if not a quote; how many requests there are; how many quotes, or the whole's
    /// error; the trouble of a part.
    type Case = (&'static str, Nth, usize, Result<usize, ProviderError>, Option<ProviderError>);
    type Nth = Box<dyn Fn(usize) -> Option<Vec<u8>> + Send + Sync>;
    let cases: Vec<Case> = vec![
        (
            "a pair that is not traded",
            Box::new(move |n| (n % 2 == 1).then(|| error(400, "flutterwave_error_400.json"))),
            60,
            Ok(30),
            None,
        ),
        (
            "a key refused at the third",
            Box::new(move |n| (n == 2).then(|| error(401, "flutterwave_error_401.json"))),
            3,
            Ok(2),
            Some(ProviderError::Auth),
        ),
        (
            "a key refused at once",
            Box::new(move |_| Some(error(401, "flutterwave_error_401.json"))),
            1,
            Err(ProviderError::Auth),
            None,
        ),
        (
            "asked too often, after a refusal",
            Box::new(move |n| {
                Some(if n == 0 { error(200, "flutterwave_error_unavailable.json") } else { http(429, &[], "") })
            }),
            2,
            Err(ProviderError::RateLimited { retry_after: None }),
            None,
        ),
        (
            "five failures in a row",
            Box::new(move |n| (n >= 10).then(|| error(500, "flutterwave_error_500.json"))),
            15,
            Ok(10),
            None,
        ),
        (
            "four failures, a quote, four failures",
            Box::new(move |n| (n % 5 != 0).then(|| error(200, "flutterwave_error_unavailable.json"))),
            60,
            Ok(12),
            None,
        ),
        (
            "nothing at all",
            Box::new(move |_| Some(error(200, "flutterwave_error_unavailable.json"))),
            5,
            Err(unavailable),
            None,
        ),
    ];
    for (label, nth, requests, expected, trouble) in cases {
        let turn = AtomicUsize::new(0);
        let server = Server::new(move |head| {
            let bytes = nth(turn.fetch_add(1, Ordering::SeqCst)).unwrap_or_else(|| quote(&head));
            Box::pin(async move { Reply::Bytes(bytes) })
        })
        .await;
        let result = ask(&one("flutterwave", &server.url, "concurrency = 1"), &sixty()).await;
        assert_eq!(server.seen().len(), requests, "{label}");
        assert_eq!(result.as_ref().map(|a| a.quotes.len()).map_err(Clone::clone), expected, "{label}");
        if let Ok(answer) = result {
            assert_eq!(answer.quotes.len() + answer.missing.len(), 60, "{label}");
            assert_eq!(answer.trouble(), trouble.as_ref(), "{label}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_no_quote_for_the_pair_is_refused() {
    let body = |source: &str, sold: &str, destination: &str, bought: &str| {
        format!(
            r#"{{"status":"success","data":{{"rate":1,"source":{{"currency":"{source}","amount":{sold}}},
            "destination":{{"currency":"{destination}","amount":{bought}}}}}}}"#
        )
    };
    let (other, none) = ("a quote for another pair", "its amounts make no rate");
    for (body, expected) in [
        (body("USD", "0.5", "NGN", "1"), Ok("2")),
        (body("USD", "5e-1", "NGN", "\"1.0\""), Ok("2")),
        (body("NGN", "0.5", "USD", "1"), Err(other)),
        (body("USD", "0.5", "KES", "1"), Err(other)),
        (body("USD", "0", "NGN", "1"), Err(none)),
        (body("USD", "1", "NGN", "0"), Err(none)),
        (body("USD", "-1", "NGN", "-1"), Err(none)),
        (body("USD", "null", "NGN", "1"), Err(none)),
        (body("USD", "1e-20", "NGN", "1e20"), Err(none)),
        (r#"{"status":"success","data":null}"#.to_owned(), Err("success, but without data")),
        ("[]".to_owned(), Err("not the documented JSON")),
    ] {
        let server = Server::saying(http(200, &[], &body)).await;
        let result = ask(&one("flutterwave", &server.url, ""), &wanted("NGN")).await;
        let result = result.map(|a| a.quotes[0].rate.normalize().to_string());
        assert_eq!(result, expected.map(str::to_owned).map_err(|what| ProviderError::Malformed { what }), "{body}");
    }
}

#[tokio::test]
async fn symbols_narrow_the_round_and_the_amount_is_configured() {
    let server = Server::new(|head| Box::pin(async move { Reply::Bytes(quote(&head)) })).await;
    let provider = one("flutterwave", &server.url, "symbols = ['NGN']\namount = 1000");
    let answer = ask(&provider, &sixty()).await.expect("an answer");
    assert_eq!(answer.quotes.len(), 4);
    assert!(server.seen().iter().all(|head| parameter(head, "amount") == "1000"));
    let nothing = ask(&provider, &wanted("")).await.expect("an empty round");
    assert!(nothing.quotes.is_empty() && nothing.missing.is_empty());
}
