//! Every file of real-shaped bytes, through the provider that may get it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rowcast::provider::{self, ProviderError};

use super::server::{Server, http};
use super::{ask, fixture, one, time, wanted};

const CODES: &str = "USD EUR GBP CAD NGN KES GHS ZAR UGX TZS RWF XOF XAF ZMW EGP MAD ETB SLE MWK XTS";

enum Is {
    /// Base, time stamp, number of quotes, some of the quotes.
    Quotes(&'static str, &'static str, usize, &'static [(&'static str, &'static str)]),
    Error(ProviderError),
}
use Is::{Error, Quotes};

struct Row {
    file: &'static str,
    provider: &'static str,
    /// 0: the file has its own status line.
    status: u16,
    codes: &'static str,
    options: &'static str,
    is: Is,
}

fn row(file: &'static str, provider: &'static str, status: u16, is: Is) -> Row {
    Row { file, provider, status, codes: CODES, options: "", is }
}

fn with(options: &'static str, row: Row) -> Row {
    Row { options, ..row }
}

fn of(codes: &'static str, row: Row) -> Row {
    Row { codes, ..row }
}

fn snapshots() -> Vec<Row> {
    let er = "2026-11-20T00:00:02Z";
    vec![
        row(
            "open_er_api_latest_usd.json",
            "open_er_api",
            200,
            Quotes("USD", er, 18, &[("NGN", "1535.4821"), ("UGX", "3542.118")]),
        ),
        row("outlier_open_er_api_latest_usd.json", "open_er_api", 200, Quotes("USD", er, 18, &[("NGN", "153.54821")])),
        row(
            "exchangerate_api_v6_latest_usd.json",
            "exchangerate_api",
            200,
            Quotes("USD", "2026-11-20T00:00:01Z", 18, &[("CAD", "1.39"), ("XOF", "572.9463")]),
        ),
        row(
            "exchangerate_api_v6_pair_usd_ngn.json",
            "exchangerate_api",
            200,
            Quotes("USD", "2026-11-20T00:00:01Z", 1, &[("NGN", "1536.0963")]),
        ),
        row(
            "openexchangerates_latest.json",
            "openexchangerates",
            200,
            Quotes("USD", "2026-11-20T16:00:00Z", 18, &[("ETB", "152.834536"), ("NGN", "1535.021455")]),
        ),
        with(
            "version = 1",
            row(
                "frankfurter_v1_latest_usd.json",
                "frankfurter",
                200,
                Quotes("USD", "2026-11-20T14:00:00Z", 4, &[("EUR", "0.87315"), ("ZAR", "17.2051")]),
            ),
        ),
        row(
            "frankfurter_v2_rates_usd.json",
            "frankfurter",
            200,
            Quotes("USD", "2026-11-20T14:00:00Z", 4, &[("KES", "129.25"), ("NGN", "1535.9")]),
        ),
        row(
            "ecb_eurofxref-daily.xml",
            "ecb",
            200,
            Quotes(
                "EUR",
                "2026-11-20T14:00:00Z",
                4,
                &[("USD", "1.1453"), ("GBP", "0.87184"), ("CAD", "1.5913"), ("ZAR", "19.7040")],
            ),
        ),
        of(
            "HUF PLN",
            row(
                "ecb_eurofxref-daily.xml",
                "ecb",
                200,
                Quotes("EUR", "2026-11-20T14:00:00Z", 3, &[("HUF", "383.40"), ("PLN", "4.2390"), ("USD", "1.1453")]),
            ),
        ),
        row(
            "currencylayer_live.json",
            "currencylayer",
            200,
            Quotes("USD", "2026-11-20T15:55:04Z", 18, &[("EUR", "0.873275"), ("MWK", "1735.94922")]),
        ),
        row(
            "exchangerate_host_live.json",
            "exchangerate_host",
            200,
            Quotes("USD", "2026-11-20T15:55:04Z", 18, &[("EUR", "0.873013"), ("MWK", "1735.42854")]),
        ),
        row(
            "fixer_latest_eur.json",
            "fixer",
            200,
            Quotes("EUR", "2026-11-20T15:55:05Z", 18, &[("USD", "1.145344"), ("NGN", "1758.65548")]),
        ),
        row(
            "currencyapi_v3_latest.json",
            "currencyapi",
            200,
            Quotes("USD", "2026-11-19T23:59:59Z", 2, &[("NGN", "1535.7701432"), ("KES", "129.2500113")]),
        ),
    ]
}

fn errors() -> Vec<Row> {
    let refused = |what| Error(ProviderError::Refused { what });
    let symbols = "it does not know one of the currencies under `symbols`";
    let rate_limited = || Error(ProviderError::RateLimited { retry_after: None });
    let mut rows = vec![
        row("open_er_api_429.txt", "open_er_api", 0, rate_limited()),
        row("open_er_api_error_unsupported.json", "open_er_api", 200, Error(ProviderError::UnsupportedBase)),
        row("open_er_api_error_unsupported.json", "open_er_api", 404, Error(ProviderError::UnsupportedBase)),
        row("frankfurter_error_404.json", "frankfurter", 404, Error(ProviderError::UnsupportedBase)),
        with(
            "version = 1",
            row("frankfurter_error_404.json", "frankfurter", 404, Error(ProviderError::UnsupportedBase)),
        ),
        with("symbols = ['XTS']", row("frankfurter_error_404.json", "frankfurter", 422, refused(symbols))),
    ];
    for status in [200, 400] {
        for (file, error) in [
            ("exchangerate_api_v6_error_inactive-account.json", ProviderError::Auth),
            ("exchangerate_api_v6_error_invalid-key.json", ProviderError::Auth),
            ("exchangerate_api_v6_error_quota-reached.json", ProviderError::Quota),
            ("exchangerate_api_v6_error_unsupported-code.json", ProviderError::UnsupportedBase),
        ] {
            rows.push(row(file, "exchangerate_api", status, Error(error)));
        }
        let file = "exchangerate_api_v6_error_malformed-request.json";
        rows.push(row(file, "exchangerate_api", status, refused("it calls the request malformed")));
    }
    for provider in ["currencylayer", "exchangerate_host", "fixer"] {
        for status in [200, 403, 429] {
            rows.extend([
                row("apilayer_error_101_invalid_access_key.json", provider, status, Error(ProviderError::Auth)),
                row("apilayer_error_101_missing_access_key.json", provider, status, Error(ProviderError::Auth)),
                row("apilayer_error_104_usage_limit_reached.json", provider, status, Error(ProviderError::Quota)),
                row(
                    "apilayer_error_105_base_currency_access_restricted.json",
                    provider,
                    status,
                    Error(ProviderError::UnsupportedBase),
                ),
                row("apilayer_error_106_rate_limit_reached.json", provider, status, rate_limited()),
                row("apilayer_error_202_invalid_currency_codes.json", provider, status, refused(symbols)),
            ]);
        }
    }
    for (file, status, error) in [
        ("openexchangerates_error_access_restricted.json", 403, ProviderError::Auth),
        ("openexchangerates_error_invalid_app_id.json", 401, ProviderError::Auth),
        ("openexchangerates_error_missing_app_id.json", 401, ProviderError::Auth),
        ("openexchangerates_error_invalid_base.json", 400, ProviderError::UnsupportedBase),
        ("openexchangerates_error_not_allowed.json", 429, ProviderError::UnsupportedBase),
        ("openexchangerates_error_not_found.json", 404, ProviderError::Status { status: 404 }),
    ] {
        rows.push(row(file, "openexchangerates", status, Error(error.clone())));
        rows.push(row(file, "openexchangerates", 200, Error(error)));
    }
    for (file, status, error) in [
        ("flutterwave_error_400.json", 400, ProviderError::Status { status: 400 }),
        ("flutterwave_error_401.json", 401, ProviderError::Auth),
        ("flutterwave_error_500.json", 500, ProviderError::Status { status: 500 }),
        ("flutterwave_error_500.json", 200, ProviderError::Malformed { what: "not the documented JSON" }),
        ("flutterwave_error_unavailable.json", 200, ProviderError::Refused { what: "it cannot quote at the moment" }),
    ] {
        rows.push(of("NGN", row(file, "flutterwave", status, Error(error))));
    }
    rows
}

/// Of Flutterwave, by pair: each shape says the same of its two amounts.
const QUOTES: [(&str, &str, &str); 5] = [
    ("flutterwave_rates_classic_usd_ngn.json", "USD/NGN", "1534.9901"),
    ("flutterwave_rates_classic_kes_usd_1000.json", "KES/USD", "0.0076997646"),
    ("flutterwave_rates_classic_ngn_usd_1000.json", "NGN/USD", "0.00065123246"),
    ("flutterwave_rates_new_ngn_usd_1000.json", "NGN/USD", "0.00065123400"),
    ("flutterwave_v4_rates.json", "NGN/USD", "0.00065123246"),
];

#[tokio::test]
async fn every_answer_is_understood() {
    for Row { file, provider, status, codes, options, is } in snapshots().into_iter().chain(errors()) {
        let label = format!("{provider} gets {file} with status {status}");
        let bytes = if status == 0 { fixture(file) } else { http(status, &[], fixture(file)) };
        let server = Server::saying(bytes).await;
        let wanted = wanted(codes);
        let result = ask(&one(provider, &server.url, options), &wanted).await;
        match (result, is) {
            (Err(error), Error(expected)) => assert_eq!(error, expected, "{label}"),
            (Ok(answer), Quotes(base, ts, count, some)) => {
                assert_eq!((answer.base.as_str(), answer.provider_ts), (base, time(ts)), "{label}");
                assert_eq!((answer.quotes.len(), answer.unchanged), (count, false), "{label}: {answer:?}");
                for (code, rate) in some {
                    let quote = answer.quotes.iter().find(|q| q.quote.as_str() == *code).expect(code);
                    assert_eq!(quote.rate.to_string(), *rate, "{label}: {code}");
                    assert_eq!((quote.base, quote.provider_ts), (answer.base, answer.provider_ts), "{label}: {code}");
                }
                // Nothing wanted is forgotten: it is quoted, unknown, or the base.
                let named = answer.quotes.iter().map(|q| q.quote).chain(answer.unknown.iter().copied());
                let named: BTreeSet<_> = named.chain([answer.base]).collect();
                assert!(wanted.currencies.is_subset(&named), "{label}: {answer:?}");
                assert_eq!(named.len(), answer.quotes.len() + answer.unknown.len() + 1, "{label}: {answer:?}");
            }
            (result, _) => panic!("{label}: {result:?}"),
        }
    }
}

#[tokio::test]
async fn flutterwave_quotes_are_read_from_their_amounts() {
    for (file, pair, rate) in QUOTES {
        let server = Server::saying(http(200, &[], fixture(file))).await;
        let mut wanted = wanted("");
        wanted.pairs = vec![super::pair(pair)];
        let answer = ask(&one("flutterwave", &server.url, ""), &wanted).await.expect(file);
        let [quote] = answer.quotes[..] else { panic!("{answer:?}") };
        assert_eq!(format!("{}/{}", quote.base, quote.quote), pair, "{file}");
        let shown = quote.rate.round_sf(8).expect("a rate");
        assert_eq!(shown.to_string(), rate, "{file}");
    }
}

#[test]
fn no_file_is_left_out_and_no_provider() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/providers");
    let there: BTreeSet<String> = std::fs::read_dir(dir)
        .expect("the fixtures")
        .map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned())
        .collect();
    let rows: Vec<Row> = snapshots().into_iter().chain(errors()).collect();
    let used = rows.iter().map(|r| r.file).chain(QUOTES.map(|(file, ..)| file));
    assert_eq!(used.map(str::to_owned).collect::<BTreeSet<_>>(), there);
    let asked: BTreeSet<&str> = rows.iter().map(|r| r.provider).chain(["simulated"]).collect();
    assert_eq!(asked, provider::names().into_iter().collect());
}
