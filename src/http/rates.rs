//! REST of the applications whose rates rowcast serves, in their own shapes: `docs/WIRE-RATES.md`.
//!
//! Each request is one query by the primary key: an answer is never older than its request.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use poem_openapi::param::{Path, Query};
use poem_openapi::types::Any;
use poem_openapi::{ApiResponse, Object, OpenApi, Tags};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::connection::endpoint::{Clock, Endpoint};
use crate::protocol::native::time;
use crate::protocol::remittance::transfer;
use crate::rates::{Currency, Figure, Pair, price};
use crate::store::{PublishedRate, Store, StoreError};

use super::problem::{ApiError, ProblemCode};
use super::raw::Raw;

/// What the interface is served from.
#[derive(Clone)]
pub struct Rates {
    pub store: Store,
    /// Whose clients `ws/stats` counts.
    pub fx_engine: Arc<Endpoint>,
    pub clock: Clock,
}

pub(super) struct RatesApi(pub Option<Rates>);

#[derive(Tags)]
enum Tag {
    /// Exchange rates, in the shapes of the applications that rowcast replaces
    Rates,
}

/// `rate`: units of the source currency for 1 of the destination; `source.amount` buys `destination.amount`
#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
struct Transfer {
    status: String,
    message: String,
    data: Any<Value>,
}

#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
struct TransferError {
    /// `error`
    status: String,
    message: String,
    /// null
    data: Any<Value>,
}

/// Units of the target currency for 1 of the base, as text
#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
struct EngineRate {
    from_currency: String,
    to_currency: String,
    exchange_rate: String,
    /// `high`, `medium` or `low`
    confidence_level: String,
    timestamp: String,
}

#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
struct Converted {
    from_currency: String,
    to_currency: String,
    amount: String,
    /// In whole minor units of the target currency, rounded down
    converted_amount: String,
    exchange_rate: String,
    confidence_level: String,
    timestamp: String,
}

#[derive(Object)]
#[allow(dead_code, reason = "describes what is read as text")]
struct PairWanted {
    from_currency: String,
    to_currency: String,
}

#[derive(Object)]
#[allow(dead_code, reason = "describes what is read as text")]
struct Conversion {
    from_currency: String,
    to_currency: String,
    /// A positive decimal, as a number or as text
    amount: Any<Value>,
}

#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
struct Detail {
    detail: String,
}

#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
struct WsStats {
    timestamp: String,
    total_connections: u64,
    connections_by_subscription: Any<Value>,
}

/// The published series of a pair, oldest first
#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
struct History {
    pair: String,
    points: Vec<HistoryEntry>,
}

#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
struct HistoryEntry {
    /// RFC 3339, UTC
    at: String,
    /// Units of the second currency for 1 of the first
    rate: String,
    confidence: String,
}

#[derive(ApiResponse)]
enum TransferAnswer {
    #[oai(status = 200)]
    Ok(Raw<Transfer>),
    /// A parameter is missing or wrong
    #[oai(status = 400)]
    Bad(Raw<TransferError>),
    /// There is no such rate, or it has expired
    #[oai(status = 404)]
    None(Raw<TransferError>),
}

#[derive(ApiResponse)]
enum EngineAnswer<T: poem_openapi::types::Type + poem_openapi::types::ToJSON> {
    #[oai(status = 200)]
    Ok(Raw<T>),
    /// Not a currency, or twice the same
    #[oai(status = 400)]
    Bad(Raw<Detail>),
    /// A field is missing or has a wrong type
    #[oai(status = 422)]
    Unprocessable(Raw<Detail>),
    /// There is no such rate now
    #[oai(status = 503)]
    None(Raw<Detail>),
}

const CHECK_PERIOD_DAYS: i64 = 5;
const DAY_US: i64 = 86_400_000_000;
const HISTORY_LIMIT: u64 = 200;

#[OpenApi(tag = "Tag::Rates")]
impl RatesApi {
    /// One rate
    #[oai(path = "/rates", method = "get")]
    async fn rate(
        &self,
        source_currency: Query<Option<String>>,
        destination_currency: Query<Option<String>>,
        /// Of the destination currency; 1 if left out
        amount: Query<Option<String>>,
    ) -> Result<TransferAnswer, ApiError> {
        let parts = self.parts()?;
        let bad = |message: &str| Ok(TransferAnswer::Bad(Raw::new(transfer_error(message))));
        let given = |text: Option<String>| text.map(|t| t.trim().to_ascii_uppercase()).filter(|t| !t.is_empty());
        let (Some(source), Some(destination)) = (given(source_currency.0), given(destination_currency.0)) else {
            return bad("source_currency and destination_currency are required");
        };
        let amount = amount.0.unwrap_or_else(|| "1".into());
        let Ok(amount) = amount.trim().parse::<Figure>() else {
            return bad("amount must be a positive number");
        };
        let none = || Ok(TransferAnswer::None(Raw::new(transfer_error("Rate not found"))));
        let (Ok(source), Ok(destination)) = (source.parse(), destination.parse()) else { return none() };
        // Units of the source for 1 destination: what 1 unit of the destination is in the source.
        let Some(quote) = parts.quote(Pair { source: destination, destination: source }).await? else { return none() };
        let cost = amount.times(quote.figure()?).to_significant(price::RATE_DIGITS).to_string();
        let cost = if amount == Figure::ONE { quote.rate.clone() } else { cost };
        let mut out = Vec::new();
        let (source, destination) = (source.to_string(), destination.to_string());
        transfer(&mut out, &source, &destination, &quote.rate, &cost, &amount.to_string());
        Ok(TransferAnswer::Ok(Raw::new(out)))
    }

    /// All rates from one currency
    #[oai(path = "/rates/all", method = "get")]
    async fn all_rates(
        &self,
        /// USD if left out
        base_currency: Query<Option<String>>,
    ) -> Result<Raw<Transfer>, ApiError> {
        let parts = self.parts()?;
        let base = base_currency.0.filter(|b| !b.is_empty()).unwrap_or_else(|| "USD".into()).to_ascii_uppercase();
        let mut out = br#"{"status":"success","message":"Rates fetched","data":{"#.to_vec();
        let rates = parts.store.published_rates(Some(&base), None).await?.rates;
        for (i, r) in rates.iter().filter(|r| !r.expired).enumerate() {
            out.extend_from_slice(if i > 0 { b",\"" } else { b"\"" });
            out.extend_from_slice(format!("{}_{}\":", r.source, r.destination).as_bytes());
            transfer(&mut out, &r.source, &r.destination, &r.inverse, &r.inverse, "1");
        }
        out.extend_from_slice(b"}}");
        Ok(Raw::new(out))
    }

    /// Which rates changed in the last five days
    #[oai(path = "/rates/check-changes", method = "get")]
    async fn check_changes(&self) -> Result<Raw<Transfer>, ApiError> {
        let parts = self.parts()?;
        let now = (parts.clock)();
        let rates = parts.store.published_rates(None, None).await?.rates;
        let age = |r: &PublishedRate| (now - r.updated_at_us).max(0);
        let changed: Vec<String> =
            rates.iter().filter(|r| age(r) <= CHECK_PERIOD_DAYS * DAY_US).map(|r| changed_rate(r, age(r))).collect();
        let text = format!(
            "{{\"status\":\"success\",\"message\":\"Rate change check completed\",\"data\":{{\"has_changes\":{},\
             \"total_rates\":{},\"updated_in_last_5_days\":{},\"check_period_days\":{CHECK_PERIOD_DAYS},\
             \"check_date\":\"{}\",\"changed_rates\":[{}]}}}}",
            !changed.is_empty(),
            rates.len(),
            changed.len(),
            time(now),
            changed.join(",")
        );
        Ok(Raw::new(text))
    }

    /// How a rate went
    #[oai(path = "/rates/history", method = "get")]
    async fn history(
        &self,
        /// Such as `USD_NGN`
        pair: Query<String>,
        /// How many points, the newest, 1 to 1000
        #[oai(default = "history_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u64>,
    ) -> Result<Raw<History>, ApiError> {
        let parts = self.parts()?;
        let wrong = |e: crate::rates::CurrencyError| ApiError::new(ProblemCode::BadRequest, format!("{e}."));
        let pair: Pair = pair.0.to_ascii_uppercase().parse().map_err(wrong)?;
        let (source, destination) = (pair.source.to_string(), pair.destination.to_string());
        let limit = i64::try_from(limit.0).unwrap_or(i64::MAX);
        let points = parts.store.rate_history(&source, &destination, 0, limit).await?;
        let points: Vec<String> = points
            .iter()
            .map(|p| {
                format!("{{\"at\":\"{}\",\"rate\":\"{}\",\"confidence\":\"{}\"}}", time(p.at_us), p.rate, p.confidence)
            })
            .collect();
        Ok(Raw::new(format!("{{\"pair\":\"{pair}\",\"points\":[{}]}}", points.join(","))))
    }

    /// One rate, the other way round
    ///
    /// Also as `GET /rate?pair=USD-EUR`, beside `/api`.
    #[oai(path = "/v1/rates/:from/:to", method = "get")]
    async fn engine_rate(&self, from: Path<String>, to: Path<String>) -> Result<EngineAnswer<EngineRate>, ApiError> {
        self.engine(&from.0, &to.0).await
    }

    /// One rate, asked for by a body
    #[oai(path = "/v1/rates", method = "post")]
    async fn engine_rate_of_body(&self, body: Raw<PairWanted>) -> Result<EngineAnswer<EngineRate>, ApiError> {
        #[derive(Deserialize)]
        struct Wanted {
            from_currency: String,
            to_currency: String,
        }
        match serde_json::from_slice::<Wanted>(&body.text) {
            Ok(wanted) => self.engine(&wanted.from_currency, &wanted.to_currency).await,
            Err(e) => Ok(EngineAnswer::Unprocessable(detail(&e.to_string()))),
        }
    }

    /// An amount in another currency
    #[oai(path = "/v1/convert", method = "post")]
    async fn convert(&self, body: Raw<Conversion>) -> Result<EngineAnswer<Converted>, ApiError> {
        #[derive(Deserialize)]
        struct Wanted<'a> {
            from_currency: String,
            to_currency: String,
            #[serde(borrow)]
            amount: &'a RawValue,
        }
        let wanted = match serde_json::from_slice::<Wanted<'_>>(&body.text) {
            Ok(wanted) => wanted,
            Err(e) => return Ok(EngineAnswer::Unprocessable(detail(&e.to_string()))),
        };
        let Ok(amount) = wanted.amount.get().trim_matches('"').parse::<Figure>() else {
            return Ok(EngineAnswer::Unprocessable(detail("amount must be a positive decimal number")));
        };
        let (pair, quote) = match self.quoted(&wanted.from_currency, &wanted.to_currency).await? {
            Ok(quoted) => quoted,
            Err(Refusal::Bad(why)) => return Ok(EngineAnswer::Bad(detail(&why))),
            Err(Refusal::None(why)) => return Ok(EngineAnswer::None(detail(&why))),
        };
        let converted = price::amount_at(amount, quote.figure()?, pair.destination);
        let head = format!(
            "{{\"from_currency\":\"{}\",\"to_currency\":\"{}\",\"amount\":\"{amount}\",\
             \"converted_amount\":\"{converted}\",",
            pair.source, pair.destination
        );
        Ok(EngineAnswer::Ok(Raw::new(head + &quote.tail())))
    }

    /// Who listens on `/api/v1/ws/rates`, on this instance
    #[oai(path = "/v1/ws/stats", method = "get")]
    async fn ws_stats(&self) -> Result<Raw<WsStats>, ApiError> {
        let parts = self.parts()?;
        let audience = &parts.fx_engine.audience;
        let (all, filtered) = (audience.all.load(Ordering::Relaxed), audience.filtered.load(Ordering::Relaxed));
        let (at, total) = (time((parts.clock)()), all + filtered);
        Ok(Raw::new(format!(
            "{{\"timestamp\":\"{at}\",\"total_connections\":{total},\"connections_by_subscription\":\
             {{\"all_pairs\":{all},\"filtered\":{filtered}}}}}"
        )))
    }
}

/// Why there is no rate.
enum Refusal {
    Bad(String),
    None(String),
}

impl RatesApi {
    fn parts(&self) -> Result<&Rates, ApiError> {
        let missing = || ApiError::new(ProblemCode::NotReady, "There are no rates here.");
        self.0.as_ref().ok_or_else(missing)
    }

    async fn engine(&self, from: &str, to: &str) -> Result<EngineAnswer<EngineRate>, ApiError> {
        Ok(match self.quoted(from, to).await? {
            Ok((pair, quote)) => {
                let head = format!("{{\"from_currency\":\"{}\",\"to_currency\":\"{}\",", pair.source, pair.destination);
                EngineAnswer::Ok(Raw::new(head + &quote.tail()))
            }
            Err(Refusal::Bad(why)) => EngineAnswer::Bad(detail(&why)),
            Err(Refusal::None(why)) => EngineAnswer::None(detail(&why)),
        })
    }

    async fn quoted(&self, from: &str, to: &str) -> Result<Result<(Pair, Quote), Refusal>, ApiError> {
        let currency = |text: &str| text.trim().to_ascii_uppercase().parse::<Currency>();
        let (source, destination) = match (currency(from), currency(to)) {
            (Ok(source), Ok(destination)) => (source, destination),
            (Err(e), _) | (_, Err(e)) => return Ok(Err(Refusal::Bad(e.to_string()))),
        };
        if source == destination {
            return Ok(Err(Refusal::Bad("from_currency and to_currency are the same".into())));
        }
        let pair = Pair { source, destination };
        Ok(match self.parts()?.quote(pair).await? {
            Some(quote) => Ok((pair, quote)),
            None => Err(Refusal::None(format!("No rate is available for {source}/{destination}"))),
        })
    }
}

/// Units of the second currency for 1 of the first.
struct Quote {
    rate: String,
    confidence: String,
    updated_at_us: i64,
}

impl Rates {
    /// Of the pair as it is published, or of the pair the other way round.
    async fn quote(&self, pair: Pair) -> Result<Option<Quote>, StoreError> {
        let (source, destination) = (pair.source.to_string(), pair.destination.to_string());
        let of =
            |r: PublishedRate, rate: String| Quote { rate, confidence: r.confidence, updated_at_us: r.updated_at_us };
        let mut straight = self.store.published_rates(Some(&source), Some(&destination)).await?.rates;
        if let Some(mut r) = straight.pop() {
            let rate = std::mem::take(&mut r.rate);
            return Ok((!r.expired).then(|| of(r, rate)));
        }
        let mut reverse = self.store.published_rates(Some(&destination), Some(&source)).await?.rates;
        Ok(reverse.pop().filter(|r| !r.expired).map(|mut r| {
            let rate = std::mem::take(&mut r.inverse);
            of(r, rate)
        }))
    }
}

impl Quote {
    fn figure(&self) -> Result<Figure, ApiError> {
        let broken = |_| ApiError::new(ProblemCode::Internal, "The cause is in the server's log.");
        self.rate.parse().map_err(broken)
    }

    /// The end of the engine's bodies.
    fn tail(&self) -> String {
        format!(
            "\"exchange_rate\":\"{}\",\"confidence_level\":\"{}\",\"timestamp\":\"{}\"}}",
            self.rate,
            self.confidence,
            time(self.updated_at_us)
        )
    }
}

/// `GET /rate?pair=USD-EUR`: the engine's first path, outside of `/api`.
pub(super) struct RateByPair(pub RatesApi);

impl poem::Endpoint for RateByPair {
    type Output = poem::Response;

    async fn call(&self, request: poem::Request) -> poem::Result<poem::Response> {
        use poem::IntoResponse as _;
        let query: Vec<(String, String)> = request.params().unwrap_or_default();
        let answer = match query.iter().find(|(name, _)| name == "pair") {
            None => EngineAnswer::Unprocessable(detail("pair is required, such as USD-EUR")),
            Some((_, pair)) => match pair.split_once(['-', '/', '_']) {
                Some((from, to)) => self.0.engine(from, to).await?,
                None => EngineAnswer::Bad(detail("pair must be two currencies, such as USD-EUR")),
            },
        };
        Ok(answer.into_response())
    }
}

fn changed_rate(r: &PublishedRate, age_us: i64) -> String {
    // Two decimals of an hour, without a float.
    let hundredths = age_us / (DAY_US / 2_400);
    format!(
        "{{\"source_currency\":\"{}\",\"destination_currency\":\"{}\",\"rate\":{},\"last_updated\":\"{}\",\
         \"days_since_update\":{},\"hours_since_update\":{}.{:02}}}",
        r.source,
        r.destination,
        r.inverse,
        time(r.updated_at_us),
        age_us / DAY_US,
        hundredths / 100,
        hundredths % 100
    )
}

fn transfer_error(message: &str) -> String {
    format!("{{\"status\":\"error\",\"message\":\"{message}\",\"data\":null}}")
}

fn detail(text: &str) -> Raw<Detail> {
    Raw::new(serde_json::json!({ "detail": text }).to_string())
}

fn history_limit() -> u64 {
    HISTORY_LIMIT
}
