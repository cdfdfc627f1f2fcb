//! What a server can do wrong, and what it may do besides: conditional requests, redirects, retired and odd entries.

use std::time::Duration;

use rowcast::provider::ProviderError;
use tokio::io::AsyncWriteExt;

use super::server::{Reply, Server, http};
use super::{KEY_ESCAPED, ask, fixture, one, wanted};

fn malformed(what: &'static str) -> ProviderError {
    ProviderError::Malformed { what }
}

const NOT_JSON: ProviderError = ProviderError::Malformed { what: "not the documented JSON" };

#[tokio::test]
async fn a_broken_answer_is_an_error_of_its_own_kind() {
    let good = fixture("open_er_api_latest_usd.json");
    let half = &good[..good.len() / 2];
    let cut = [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", good.len()).as_bytes(), half].concat();
    let huge = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 2 << 20).into_bytes();
    let limited = |s| ProviderError::RateLimited { retry_after: Some(Duration::from_secs(s)) };
    let success = |rest: &str| http(200, &[], format!(r#"{{"result":"success","time_last_update_unix":1,{rest}}}"#));
    for (label, bytes, expected) in [
        ("nothing", vec![], None),
        ("no HTTP", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), None),
        ("half an answer", cut, None),
        ("a bad chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec(), None),
        ("half a JSON", http(200, &[], half), Some(NOT_JSON)),
        ("no body", http(200, &[], ""), Some(NOT_JSON)),
        ("another type", http(200, &["Content-Type: text/html"], "<html>maintenance</html>"), Some(NOT_JSON)),
        ("not UTF-8", http(200, &[], b"{\"result\":\"\xff\"}"), Some(NOT_JSON)),
        ("a deep JSON", http(200, &[], "[".repeat(100_000)), Some(NOT_JSON)),
        ("a list", http(200, &[], "[]"), Some(NOT_JSON)),
        (
            "gzip",
            http(200, &["Content-Encoding: gzip"], b"\x1f\x8b"),
            Some(malformed("a content encoding that was not asked for")),
        ),
        ("announced as huge", huge, Some(ProviderError::TooLarge { bytes_max: 1 << 20 })),
        ("server error", http(502, &[], "<html>"), Some(ProviderError::Status { status: 502 })),
        ("a 304 to nobody's question", http(304, &[], ""), Some(ProviderError::Status { status: 304 })),
        ("forbidden", http(403, &[], "blocked"), Some(ProviderError::Auth)),
        ("payment required", http(402, &[], ""), Some(ProviderError::Quota)),
        ("seconds", http(429, &["Retry-After: 120"], ""), Some(limited(120))),
        ("a date", http(429, &["Retry-After: Fri, 20 Nov 2026 16:31:40 GMT"], ""), Some(limited(100))),
        ("a 503 with a date", http(503, &["Retry-After: Fri, 20 Nov 2026 16:30:05 GMT"], ""), Some(limited(5))),
        ("a 503 without", http(503, &[], ""), Some(ProviderError::Status { status: 503 })),
        ("no rate", success(r#""base_code":"USD","rates":{}"#), Some(malformed("not one usable rate"))),
        (
            "no usable rate",
            success(r#""base_code":"USD","rates":{"NGN":0,"KES":null,"ngn":1}"#),
            Some(malformed("not one usable rate")),
        ),
        ("no base", success(r#""rates":{"NGN":1}"#), Some(malformed("success, but without base, time or rates"))),
        (
            "a base that is none",
            success(r#""base_code":"dollar","rates":{"NGN":1}"#),
            Some(malformed("its base is no currency")),
        ),
        (
            "a time that is none",
            http(
                200,
                &[],
                r#"{"result":"success","time_last_update_unix":9223372036854775807,"base_code":"USD","rates":{"NGN":1}}"#,
            ),
            Some(malformed("its time stamp is out of range")),
        ),
    ] {
        let server = Server::saying(bytes).await;
        let error = ask(&one("open_er_api", &server.url, ""), &wanted("NGN")).await.expect_err(label);
        match expected {
            Some(expected) => assert_eq!(error, expected, "{label}"),
            None => assert_eq!(error.code(), "unreachable", "{label}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_silent_server_times_out_and_an_endless_one_is_cut_off() {
    let silent = Server::new(|_| Box::pin(async { Reply::Stalled(Vec::new()) })).await;
    let provider = one("open_er_api", &silent.url, "timeout_ms = 50");
    assert_eq!(ask(&provider, &wanted("NGN")).await.expect_err("silence"), ProviderError::Timeout);

    // The time-out is for the body too.
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{";
    let half = Server::new(|_| Box::pin(async { Reply::Stalled(head.to_vec()) })).await;
    let provider = one("open_er_api", &half.url, "timeout_ms = 50");
    assert_eq!(ask(&provider, &wanted("NGN")).await.expect_err("half"), ProviderError::Timeout);

    let endless = Server::new(|_| Box::pin(async { Reply::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()) })).await;
    let provider = one("open_er_api", &endless.url, "");
    assert_eq!(ask(&provider, &wanted("NGN")).await.expect_err("endless").code(), "too_large");
}

#[tokio::test]
async fn nobody_there_and_no_tls_there_are_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let gone = format!("http://{}", listener.local_addr().expect("it is bound"));
    drop(listener);
    let error = ask(&one("ecb", &gone, ""), &wanted("GBP")).await.expect_err("nobody");
    assert!(matches!(&error, ProviderError::Unreachable { why } if why.contains("refused")), "{error}");

    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let url = format!("https://{}", plain.local_addr().expect("it is bound"));
    tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.expect("the provider connects");
        stream.write_all(&http(400, &[], "")).await.expect("it listens");
    });
    let error = ask(&one("ecb", &url, ""), &wanted("GBP")).await.expect_err("no TLS");
    assert_eq!(error.code(), "unreachable", "{error}");
}

#[tokio::test]
async fn odd_entries_are_passed_over() {
    let odd = r#"{"result":"success","time_last_update_unix":1795132802,"time_next_update_unix":0,"base_code":"USD",
        "rates":{"USD":1,"NGN":1.53548e3,"KES":"129.2500","XAU":2.4e-4,"BTC":1.0e-05,"SLL":22812.7,"ZMK":9001.2,
                 "SLE":0,"GHS":null,"UGX":1e9,"TZS":-1,"RWF":[1],"XOF":"soon","TOOLONG":1,"eur":1}}"#;
    let server = Server::saying(http(200, &[], odd)).await;
    let wanted = wanted("NGN KES BTC SLE ZMW GHS UGX TZS RWF XOF EUR");
    let answer = ask(&one("open_er_api", &server.url, ""), &wanted).await.expect("an answer");
    let quoted: Vec<String> = answer.quotes.iter().map(|q| format!("{} {}", q.quote, q.rate)).collect();
    assert_eq!(quoted, ["BTC 0.000010", "KES 129.2500", "NGN 1535.48"]);
    let unknown: Vec<&str> = answer.unknown.iter().map(|c| c.as_str()).collect();
    assert_eq!(unknown, ["EUR", "GHS", "RWF", "SLE", "TZS", "UGX", "XOF", "ZMW"]);
    assert_eq!(answer.next_at, None);
}

#[tokio::test]
async fn xml_in_other_clothes() {
    let envelope =
        |inner: &str| format!("<?xml version=\"1.0\"?><g:Envelope xmlns:g='a'><Cube>{inner}</Cube></g:Envelope>");
    let day = r#"<Cube time="2026-11-20"><Cube currency="USD" rate="1.1453"/><Cube rate='0.87' currency='GBP'></Cube></Cube>"#;
    let older = day.replace("2026-11-20", "2026-11-19").replace("1.1453", "9");
    let cut = &envelope(day)[..envelope(day).len() - 20];
    let bomb = format!(
        "<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY a \"1\">]>{}",
        &envelope(&day.replace("0.87", "&a;"))["<?xml version=\"1.0\"?>".len()..]
    );
    for (label, body, expected) in [
        ("double quotes", envelope(day), Some(vec!["GBP 0.87", "USD 1.1453"])),
        ("two days", envelope(&format!("{day}{older}")), Some(vec!["GBP 0.87", "USD 1.1453"])),
        ("an entity is no rate", bomb, Some(vec!["USD 1.1453"])),
        ("cut off", cut.to_owned(), None),
        ("no day", envelope(""), None),
        ("rates without a day", envelope("<Cube currency='USD' rate='1'/>"), None),
        ("a bad day", envelope(&day.replace("2026-11-20", "2026-13-20")), None),
        ("crossed tags", "<a><b></a></b>".to_owned(), None),
        ("HTML", "<!doctype html><html><body><p>Down</body></html>".to_owned(), None),
        ("nothing", String::new(), None),
    ] {
        let server = Server::saying(http(200, &[], body)).await;
        let result = ask(&one("ecb", &server.url, ""), &wanted("GBP")).await;
        match (result, expected) {
            (Ok(answer), Some(expected)) => {
                let quotes: Vec<String> = answer.quotes.iter().map(|q| format!("{} {}", q.quote, q.rate)).collect();
                assert_eq!(quotes, expected, "{label}");
            }
            (Err(error), None) => assert_eq!(error.code(), "malformed", "{label}"),
            (result, _) => panic!("{label}: {result:?}"),
        }
    }
}

#[tokio::test]
async fn rows_are_dated_one_by_one_and_a_date_of_today_is_never_later_than_now() {
    let rows = r#"[{"date":"2026-11-20","base":"USD","quote":"EUR","rate":0.9},
        {"date":"2026-11-18","base":"USD","quote":"NGN","rate":1500},
        {"date":"2026-11-19","base":"USD","quote":"NGN","rate":1510},
        {"date":"2026-11-21","base":"USD","quote":"GBP","rate":0.7}]"#;
    let server = Server::saying(http(200, &[], rows)).await;
    let mut wanted = wanted("EUR NGN GBP");
    wanted.now = super::time("2026-11-20T13:00:00Z");
    let answer = ask(&one("frankfurter", &server.url, ""), &wanted).await.expect("an answer");
    let quotes: Vec<String> =
        answer.quotes.iter().map(|q| format!("{} {} {}", q.quote, q.rate, q.provider_ts.timestamp())).collect();
    assert_eq!(quotes, ["EUR 0.9 1795179600", "GBP 0.7 1795269600", "NGN 1510 1795096800"]);

    let mixed = rows.replacen("\"base\":\"USD\"", "\"base\":\"EUR\"", 1);
    for body in [mixed.as_str(), "[]", "{}"] {
        let server = Server::saying(http(200, &[], body)).await;
        let error = ask(&one("frankfurter", &server.url, ""), &wanted).await.expect_err(body);
        assert_eq!(error.code(), "malformed");
    }
    let amount = String::from_utf8(fixture("frankfurter_v1_latest_usd.json")).expect("text").replace("1.0", "100");
    let server = Server::saying(http(200, &[], amount)).await;
    let error = ask(&one("frankfurter", &server.url, "version = 1"), &wanted).await.expect_err("amount 100");
    assert_eq!(error, malformed("rates for another amount than 1"));
}

#[tokio::test]
async fn an_unchanged_answer_is_not_sent_again() {
    let body = fixture("openexchangerates_latest.json");
    let replies = vec![
        http(200, &["ETag: \"broken\""], "{"),
        http(200, &["ETag: \"a\"", "Last-Modified: Fri, 20 Nov 2026 16:00:00 GMT"], &body),
        http(304, &[], ""),
        http(500, &["ETag: \"oops\""], ""),
        http(304, &[], ""),
        http(200, &["ETag: \"b\""], String::from_utf8(body.clone()).expect("text").replace("1535.021455", "1600")),
        http(304, &[], ""),
    ];
    let server = Server::script(replies).await;
    let provider = one("openexchangerates", &server.url, "");
    let wanted = wanted("NGN");
    let mut told = Vec::new();
    for _ in 0..7 {
        let result = ask(&provider, &wanted).await;
        told.push(result.map(|a| (a.unchanged, a.quotes[0].rate.to_string())).map_err(|e| e.code()));
    }
    let quote = |unchanged, rate: &str| Ok((unchanged, rate.to_owned()));
    assert_eq!(told[0], Err("malformed"));
    assert_eq!(
        told[1..5],
        [quote(false, "1535.021455"), quote(true, "1535.021455"), Err("status"), quote(true, "1535.021455")]
    );
    assert_eq!(told[5..], [quote(false, "1600"), quote(true, "1600")]);
    let asked: Vec<(bool, bool, bool)> = server
        .seen()
        .iter()
        .map(|head| {
            let head = head.to_ascii_lowercase();
            let date = head.contains("if-modified-since: fri, 20 nov 2026 16:00:00 gmt");
            (head.contains("if-none-match: \"a\""), date, head.contains("if-none-match: \"b\""))
        })
        .collect();
    let (none, a, b) = ((false, false, false), (true, true, false), (false, false, true));
    assert_eq!(asked, [none, none, a, a, a, a, b]);
}

#[tokio::test]
async fn a_redirect_is_followed_within_the_provider_only() {
    let elsewhere = Server::saying(http(200, &[], fixture("fixer_latest_eur.json"))).await;
    let away = format!("Location: {}/latest", elsewhere.url);
    let server = Server::saying(http(302, &[&away], "")).await;
    let error = ask(&one("fixer", &server.url, ""), &wanted("NGN")).await.expect_err("a redirect elsewhere");
    assert_eq!(error.code(), "status", "{error}");
    assert_eq!(elsewhere.seen().len(), 0);

    let server = Server::script(vec![
        http(301, &["Location: /v2/latest"], ""),
        http(200, &[], fixture("fixer_latest_eur.json")),
    ])
    .await;
    ask(&one("fixer", &server.url, ""), &wanted("NGN")).await.expect("a redirect within");
    let seen = server.seen();
    assert!(seen[1].starts_with("GET /v2/latest HTTP/1.1"), "{seen:?}");
    assert!(!seen[1].to_ascii_lowercase().contains("referer") && !seen[1].contains(KEY_ESCAPED), "{seen:?}");

    let server = Server::saying(http(302, &["Location: /again"], "")).await;
    ask(&one("fixer", &server.url, ""), &wanted("NGN")).await.expect_err("a circle");
    assert_eq!(server.seen().len(), 4);
}
