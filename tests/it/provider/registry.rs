//! What is asked: by whom, where, how, with which key.

use rowcast::provider::{self, Cadence, Kind, RegistryError};

use super::server::{Server, http};
use super::{KEY, KEY_ESCAPED, ask, client, config, fixture, one, wanted};

fn refused(toml: &str) -> String {
    let config = config(toml);
    match provider::registry(&config, &client(), &|_| None) {
        Ok(_) => panic!("{toml} was taken"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_wrong_configuration_is_refused_with_a_reason() {
    for (toml, says) in [
        ("[source.ebc]", "there is no provider \"ebc\": known are currencyapi, currencylayer, ecb, exchangerate_api"),
        ("[source.ebc]\nenabled = false", "there is no provider \"ebc\""),
        ("[source.fixer]", "provider fixer needs a key: set FIXER_KEY in the environment, or `api_key`"),
        ("[source.fixer]\nkey_env = 'MINE'", "set MINE in the environment"),
        ("[source.fixer]\napi_key = ' '", "needs a key"),
        ("[source.ecb]\napi_key = 'x'", "provider ecb has no option `api_key`"),
        ("[source.ecb]\nversion = 2", "provider ecb has no option `version`"),
        ("[source.ecb]\nseed = 2", "provider ecb has no option `seed`"),
        ("[source.frankfurter]\nversion = 3", "`version` must be 1 or 2"),
        ("[source.flutterwave]\nconcurrency = 0", "`concurrency` must be 1 to 32"),
        ("[source.ecb]\nbase_url = 'ftp://example.org'", "`base_url` must be an http or https address"),
        ("[source.ecb]\nbase_url = 'https://a:b@example.org'", "`base_url` must be"),
        ("[source.ecb]\nbase_url = 'https://example.org/?a=b'", "`base_url` must be"),
        ("[source.ecb]\nbase_url = 'example.org'", "`base_url` must be"),
        ("[source.ecb]\ntimeout_ms = 0", "`timeout_ms` must be at least 1"),
    ] {
        let said = refused(toml);
        assert!(said.contains(says), "{toml}: {said}");
    }
    for toml in
        ["[source.ecb]\nurl = 'x'", "[source.ecb]\nsymbols = ['usd']", "[source.ecb]\ncadence = 'weekly'", "colour = 1"]
    {
        assert!(toml::from_str::<provider::Config>(toml).is_err(), "{toml}");
    }
}

#[test]
fn what_is_enabled_is_built_in_the_order_of_names() {
    let config = config(
        "[source.simulated]\n[source.ecb]\nenabled = false\n[source.flutterwave]\n[source.exchangerate_api]\ncadence = 'hourly'",
    );
    let env = |name: &str| match name {
        "FLUTTERWAVE_SECRET_KEY" | "EXCHANGERATE_API_KEY" => Some(KEY.to_owned()),
        _ => None,
    };
    let all = provider::registry(&config, &client(), &env).expect("a registry");
    let built: Vec<_> = all.iter().map(|p| (p.name(), p.kind(), p.cadence())).collect();
    assert_eq!(
        built,
        [
            ("exchangerate_api", Kind::Snapshot, Cadence::Hourly),
            ("flutterwave", Kind::Pairs, Cadence::Hourly),
            ("simulated", Kind::Snapshot, Cadence::Minute),
        ]
    );
    let none = provider::registry(&provider::Config::default(), &client(), &|_| None).expect("no providers");
    assert!(none.is_empty());
    assert!(matches!(
        provider::registry(&super::config("[source.x]"), &client(), &|_| None),
        Err(RegistryError::Unknown { .. })
    ));
}

#[tokio::test]
async fn every_provider_asks_as_documented() {
    let bearer = format!("authorization: bearer {KEY}");
    let token = format!("authorization: token {KEY}");
    let apikey = format!("apikey: {KEY}");
    let query = |rest: &str| format!("?access_key={KEY_ESCAPED}{rest}");
    let live = |rest: &str| format!("/live{}", query(rest));
    for (provider, options, base, target, header) in [
        ("open_er_api", "", "EUR", "/latest/EUR".to_owned(), None),
        ("exchangerate_api", "", "USD", "/latest/USD".to_owned(), Some(&bearer)),
        ("openexchangerates", "", "USD", "/latest.json".to_owned(), Some(&token)),
        (
            "openexchangerates",
            "symbols = ['NGN']",
            "EUR",
            "/latest.json?base=EUR&symbols=NGN%2CEUR".to_owned(),
            Some(&token),
        ),
        ("frankfurter", "", "USD", "/v2/rates?base=USD".to_owned(), None),
        ("frankfurter", "symbols = ['NGN', 'USD']", "USD", "/v2/rates?base=USD&quotes=NGN%2CUSD".to_owned(), None),
        (
            "frankfurter",
            "version = 1\nsymbols = ['ZAR']",
            "USD",
            "/v1/latest?base=USD&symbols=ZAR%2CUSD".to_owned(),
            None,
        ),
        ("ecb", "symbols = ['ZAR']", "USD", "/eurofxref-daily.xml".to_owned(), None),
        ("currencylayer", "", "USD", live(""), None),
        ("currencylayer", "symbols = ['NGN']", "GBP", live("&source=GBP&currencies=NGN%2CGBP"), None),
        ("exchangerate_host", "", "USD", live(""), None),
        ("fixer", "", "USD", format!("/latest{}", query("")), None),
        ("fixer", "symbols = ['NGN']", "USD", format!("/latest{}", query("&symbols=NGN%2CUSD")), None),
        (
            "currencyapi",
            "symbols = ['NGN']",
            "USD",
            "/latest?base_currency=USD&currencies=NGN%2CUSD".to_owned(),
            Some(&apikey),
        ),
    ] {
        let server = Server::saying(http(500, &[], "")).await;
        let mut wanted = wanted("NGN");
        wanted.base = super::currency(base);
        // With and without a slash at the end of the configured address.
        for url in [server.url.clone(), format!("{}/", server.url)] {
            ask(&one(provider, &url, options), &wanted).await.expect_err("a 500");
        }
        for head in server.seen() {
            assert_eq!(head.split_whitespace().nth(1), Some(target.as_str()), "{provider}");
            let head = head.to_ascii_lowercase();
            assert!(head.contains("user-agent: rowcast/") && head.contains("accept: application/json"), "{head}");
            assert!(!head.contains("accept-encoding") && !head.contains("referer"), "{head}");
            match header {
                Some(header) => assert!(head.contains(&format!("{header}\r\n")), "{head}"),
                None => assert!(!head.contains("authorization") && !head.contains("apikey"), "{head}"),
            }
        }
    }
}

#[tokio::test]
async fn the_environments_key_goes_before_the_files_and_its_line_end_is_no_part_of_it() {
    for (env, file, expected) in [
        (Some("from-env\n"), "api_key = 'from-file'", "from-env"),
        (Some(""), "api_key = 'from-file'", "from-file"),
        (None, "api_key = 'from-file'", "from-file"),
        (Some("from-env"), "key_env = 'FIXER_KEY'", "from-env"),
    ] {
        let server = Server::saying(http(200, &[], fixture("fixer_latest_eur.json"))).await;
        let config = config(&format!("[source.fixer]\nbase_url = '{}'\n{file}", server.url));
        let env = |name: &str| env.filter(|_| name == "FIXER_KEY").map(str::to_owned);
        let all = provider::registry(&config, &client(), &env).expect("a registry");
        ask(&all[0], &wanted("NGN")).await.expect("an answer");
        assert!(server.seen()[0].starts_with(&format!("GET /latest?access_key={expected} ")), "{:?}", server.seen());
    }
}

#[tokio::test]
async fn symbols_narrow_what_is_taken_too() {
    let server = Server::saying(http(200, &[], fixture("ecb_eurofxref-daily.xml"))).await;
    let answer = ask(&one("ecb", &server.url, "symbols = ['ZAR']"), &wanted("ZAR GBP NGN")).await.expect("an answer");
    let quotes: Vec<&str> = answer.quotes.iter().map(|q| q.quote.as_str()).collect();
    // USD is what the answer will be rebased to.
    assert_eq!((quotes, answer.unknown.len()), (vec!["USD", "ZAR"], 0));
}

#[tokio::test]
async fn the_simulated_market_is_the_same_for_the_same_seed() {
    let rates = async |seed: u64| {
        let config = config(&format!("[source.simulated]\nseed = {seed}"));
        let all = provider::registry(&config, &client(), &|_| None).expect("a registry");
        let mut rounds = Vec::new();
        for _ in 0..3 {
            let answer = ask(&all[0], &wanted("NGN XOF XTS EUR")).await.expect("an answer");
            assert_eq!((answer.quotes.len(), answer.unknown.len()), (3, 1));
            rounds.push(answer.quotes.clone());
        }
        rounds
    };
    let first = rates(7).await;
    assert_eq!(first, rates(7).await);
    assert_ne!(first, rates(8).await);
    let mut market = provider::Market::new(7, 5);
    market.step();
    assert!(first[0].iter().all(|q| market.rates()[&q.quote] == q.rate));
}
