use std::collections::{BTreeMap, BTreeSet};

use chrono::Duration;
use rust_decimal::Decimal;
use serde::Deserialize;

use super::RatesError;
use super::pair::Pair;
use super::quote::Pace;
use crate::domain::Currency;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// When the rates are refreshed, UTC: five fields, or six with seconds first (`*/5 * * * * *`).
    pub refresh_cron: String,
    /// Every source is paired with every destination.
    pub sources: Vec<String>,
    pub destinations: Vec<String>,
    /// More pairs, such as `GBP_JPY`.
    pub pairs: Vec<String>,
    /// A provider's voice in the median, by its name; others weigh by how often they publish.
    pub weights: BTreeMap<String, u32>,
    pub weight_minute: u32,
    pub weight_hourly: u32,
    pub weight_daily: u32,
    /// A quote older than this is stale, by the provider's own time stamp. Of a daily provider Saturdays and Sundays
    /// do not count: 36 hours are 84 over a weekend.
    pub fresh_minute_s: u32,
    pub fresh_hourly_s: u32,
    pub fresh_daily_s: u32,
    /// How far a provider's clock may be ahead of ours.
    pub clock_skew_s: u32,
    /// Sources closer to each other than this are never outliers.
    pub floor_bps: u32,
    /// The same for thinly traded currencies.
    pub thin_floor_bps: u32,
    pub thin: Vec<String>,
    /// A greater jump waits for confirmation: by the next refresh, or by two providers.
    pub jump_bps: u32,
    /// What confirms a jump must be this close.
    pub confirm_bps: u32,
    /// A payout provider's price further than this from the middle of the market gets a warning.
    pub alarm_bps: u32,
    /// Without fresh quotes the last good value is used for so long.
    pub last_good_s: u32,
    /// A smaller change than this waits for the heartbeat.
    pub publish_bps: u32,
    pub heartbeat_s: u32,
    /// Taken off the middle of the market for the customer's rate. A payout provider's price is not marked up.
    pub markup_bps: u32,
    /// The same for single pairs, such as `USD_NGN = 150`.
    pub markup_corridor_bps: BTreeMap<String, u32>,
    pub quote_retention_days: i32,
    pub history_retention_days: i32,
    /// A provider that takes longer is not waited for: its answer counts in the next refresh.
    pub round_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        let list = |codes: &str| codes.split(' ').map(str::to_owned).collect();
        Self {
            refresh_cron: "*/10 * * * *".into(),
            sources: list("USD CAD GBP EUR"),
            destinations: list("XOF XAF EGP ETB GHS KES MAD NGN ZAR UGX ZMW TZS RWF SLE MWK"),
            pairs: Vec::new(),
            weights: BTreeMap::new(),
            weight_minute: 3,
            weight_hourly: 2,
            weight_daily: 1,
            fresh_minute_s: 600,
            fresh_hourly_s: 3 * 3_600,
            fresh_daily_s: 36 * 3_600,
            clock_skew_s: 60,
            floor_bps: 100,
            thin_floor_bps: 300,
            thin: list("NGN ETB EGP SLE MWK ZMW GHS"),
            jump_bps: 1_000,
            confirm_bps: 100,
            alarm_bps: 500,
            last_good_s: 24 * 3_600,
            publish_bps: 1,
            heartbeat_s: 60,
            markup_bps: 0,
            markup_corridor_bps: BTreeMap::new(),
            quote_retention_days: 7,
            history_retention_days: 400,
            round_ms: 15_000,
        }
    }
}

/// The configuration, understood.
#[derive(Clone, Debug)]
pub struct Rules {
    pub pairs: BTreeSet<Pair>,
    /// All that occur in the pairs, but USD.
    pub currencies: BTreeSet<Currency>,
    pub jump: Decimal,
    pub confirm: Decimal,
    pub alarm: Decimal,
    pub publish: Decimal,
    pub last_good: Duration,
    pub heartbeat: Duration,
    pub clock_skew: Duration,
    pub quote_retention_days: i32,
    pub history_retention_days: i32,
    pub round: std::time::Duration,
    thin: BTreeSet<Currency>,
    floor: Decimal,
    thin_floor: Decimal,
    weights: BTreeMap<String, u32>,
    paces: [(u32, Duration); 3],
    markup: u32,
    corridors: BTreeMap<Pair, u32>,
}

impl Rules {
    pub fn new(config: &Config) -> Result<Self, RatesError> {
        let codes =
            |list: &[String]| list.iter().map(|c| Ok(c.parse()?)).collect::<Result<BTreeSet<Currency>, RatesError>>();
        let (sources, destinations) = (codes(&config.sources)?, codes(&config.destinations)?);
        let product = sources
            .iter()
            .flat_map(|&source| destinations.iter().map(move |&destination| Pair { source, destination }));
        let mut pairs: BTreeSet<Pair> = product.collect();
        for pair in &config.pairs {
            pairs.insert(pair.parse()?);
        }
        pairs.retain(|p| p.source != p.destination);
        let mut currencies: BTreeSet<_> = pairs.iter().flat_map(|p| [p.source, p.destination]).collect();
        currencies.remove(&Currency::USD);
        let corridors = config.markup_corridor_bps.iter().map(|(pair, bps)| Ok((pair.parse()?, *bps)));
        let corridors: BTreeMap<Pair, u32> = corridors.collect::<Result<_, RatesError>>()?;
        if corridors.values().chain([&config.markup_bps]).any(|bps| *bps >= 10_000) {
            return Err(RatesError::Config("a markup must be below 10000 basis points"));
        }
        if config.quote_retention_days < 1 || config.history_retention_days < 1 {
            return Err(RatesError::Config("rates must be kept for at least one day"));
        }
        let weights = [config.weight_minute, config.weight_hourly, config.weight_daily];
        if config.weights.values().chain(&weights).any(|w| !(1..=1_000_000).contains(w)) {
            return Err(RatesError::Config("a provider's weight must be from 1 to 1000000"));
        }
        let seconds = |s: u32| Duration::seconds(s.into());
        let fraction = |bps: u32| Decimal::new(bps.into(), 4);
        Ok(Self {
            pairs,
            currencies,
            jump: fraction(config.jump_bps),
            confirm: fraction(config.confirm_bps),
            alarm: fraction(config.alarm_bps),
            publish: fraction(config.publish_bps),
            last_good: seconds(config.last_good_s),
            heartbeat: seconds(config.heartbeat_s),
            clock_skew: seconds(config.clock_skew_s),
            quote_retention_days: config.quote_retention_days,
            history_retention_days: config.history_retention_days,
            round: std::time::Duration::from_millis(config.round_ms),
            thin: codes(&config.thin)?,
            floor: fraction(config.floor_bps),
            thin_floor: fraction(config.thin_floor_bps),
            weights: config.weights.clone(),
            paces: [
                (config.weight_minute, seconds(config.fresh_minute_s)),
                (config.weight_hourly, seconds(config.fresh_hourly_s)),
                (config.weight_daily, seconds(config.fresh_daily_s)),
            ],
            markup: config.markup_bps,
            corridors,
        })
    }

    pub fn floor(&self, currency: Currency) -> Decimal {
        if self.thin.contains(&currency) { self.thin_floor } else { self.floor }
    }

    pub fn weight(&self, provider: &str, pace: Pace) -> u32 {
        self.weights.get(provider).copied().unwrap_or(self.paces[pace as usize].0)
    }

    pub fn fresh_for(&self, pace: Pace) -> Duration {
        self.paces[pace as usize].1
    }

    pub fn markup_bps(&self, pair: Pair) -> u32 {
        self.corridors.get(&pair).copied().unwrap_or(self.markup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_sixty_pairs() {
        let rules = Rules::new(&Config::default()).expect("the default is right");
        assert_eq!((rules.pairs.len(), rules.currencies.len()), (60, 18));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for toml in [
            "sources = ['usd']",
            "pairs = ['USDNGN']",
            "markup_bps = 10000",
            "markup_corridor_bps = { USD_NGN = 10000 }",
            "quote_retention_days = 0",
            "weights = { ecb = 0 }",
        ] {
            let config: Config = toml::from_str(toml).expect(toml);
            assert!(Rules::new(&config).is_err(), "{toml}");
        }
        assert!(toml::from_str::<Config>("no_such = 1").is_err());
    }

    #[test]
    fn further_pairs_and_a_currency_on_both_sides() {
        let toml = "sources = ['USD', 'EUR']\ndestinations = ['EUR']\npairs = ['GBP/JPY']\nmarkup_corridor_bps = { USD_EUR = 30 }";
        let rules = Rules::new(&toml::from_str(toml).expect("TOML")).expect("right");
        let pairs: Vec<_> = rules.pairs.iter().map(ToString::to_string).collect();
        assert_eq!(pairs, ["GBP_JPY", "USD_EUR"]);
        assert_eq!(rules.markup_bps("USD_EUR".parse().expect("a pair")), 30);
        assert_eq!(rules.markup_bps("GBP_JPY".parse().expect("a pair")), 0);
    }
}
