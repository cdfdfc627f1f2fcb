//! A market for the demo and for tests: no network, and the same walk for the same seed.

use std::collections::BTreeMap;
use std::sync::Mutex;

use rust_decimal::Decimal;

use super::answer::{Answer, Listing, Wanted};
use super::config::Cadence;
use super::error::ProviderError;
use super::{Kind, Provider};
use crate::domain::Boxed;
use crate::domain::Currency;

/// Units for 1 USD, November 2026. The two CFA francs are pegged to the euro instead.
const MARKET: &[(&str, &str)] = &[
    ("EUR", "0.8731"),
    ("GBP", "0.7612"),
    ("CAD", "1.3894"),
    ("EGP", "47.3318"),
    ("ETB", "152.8804"),
    ("GHS", "10.8421"),
    ("KES", "129.2415"),
    ("MAD", "9.1842"),
    ("NGN", "1535.4821"),
    ("ZAR", "17.2034"),
    ("UGX", "3542.118"),
    ("ZMW", "22.6413"),
    ("TZS", "2461.7702"),
    ("RWF", "1453.2291"),
    ("SLE", "22.8127"),
    ("MWK", "1735.6021"),
    ("JPY", "150.13"),
    ("CHF", "0.8063"),
    ("AUD", "1.5349"),
    ("NZD", "1.7638"),
    ("CNY", "7.1028"),
    ("HKD", "7.7791"),
    ("SGD", "1.3021"),
    ("INR", "88.404"),
    ("KRW", "1462.4"),
    ("BRL", "5.4060"),
    ("MXN", "18.3929"),
    ("TRY", "42.0735"),
    ("SEK", "9.5691"),
    ("NOK", "10.2126"),
    ("DKK", "6.5137"),
    ("PLN", "3.7012"),
    ("CZK", "21.0556"),
    ("AED", "3.6725"),
    ("SAR", "3.7500"),
];
const FRANCS_PER_EURO: Decimal = Decimal::from_parts(655_957, 0, 0, false, 3);
/// Fixed to the dollar: quoted, and never moved.
const PEGGED_TO_USD: [&str; 2] = ["AED", "SAR"];
const DIGITS: u32 = 8;
const PPM: i64 = 1_000_000;
/// No currency strays further from the table than this: 20 %.
const STRAY_PPM_MAX: i64 = 200_000;

pub(super) struct Simulated {
    pub cadence: Cadence,
    pub symbols: Vec<Currency>,
    pub market: Mutex<Market>,
}

impl Provider for Simulated {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn kind(&self) -> Kind {
        Kind::Snapshot
    }

    fn cadence(&self) -> Cadence {
        self.cadence
    }

    /// One step further; always against USD.
    fn fetch<'a>(&'a self, wanted: &'a Wanted) -> Boxed<'a, Result<Answer, ProviderError>> {
        Box::pin(async move {
            let rates = {
                let mut market = self.market.lock().expect("no code panics while it holds this lock");
                market.step();
                market.rates()
            };
            let mut listing = Listing::new(Currency::USD, wanted.now);
            rates.iter().for_each(|(currency, rate)| listing.add(currency.as_str(), Some(*rate)));
            listing.pick(wanted, &self.symbols)
        })
    }
}

/// A random walk per currency, drawn back to the table's rate by a 64th of the distance per step. About one currency
/// in three moves in a step: what did not change must not travel either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Market {
    seed: u64,
    step: u64,
    move_ppm_max: i64,
    /// How far each currency is from the table, in millionths; in the table's order.
    stray_ppm: Vec<i64>,
}

impl Market {
    /// `step_bps_max`: the largest move of one step, in hundredths of a percent.
    pub fn new(seed: u64, step_bps_max: u32) -> Self {
        let move_ppm_max = (i64::from(step_bps_max) * 100).min(STRAY_PPM_MAX);
        Self { seed, step: 0, move_ppm_max, stray_ppm: vec![0; MARKET.len()] }
    }

    pub fn step(&mut self) {
        self.step += 1;
        for (i, (code, _)) in MARKET.iter().enumerate() {
            let draw = mix(self.seed ^ mix(self.step ^ mix(i as u64)));
            if PEGGED_TO_USD.contains(code) || !draw.is_multiple_of(3) {
                continue;
            }
            let reach = 2 * self.move_ppm_max as u64 + 1;
            let moved = ((draw / 3) % reach) as i64 - self.move_ppm_max;
            let stray = &mut self.stray_ppm[i];
            *stray = (*stray - *stray / 64 + moved).clamp(-STRAY_PPM_MAX, STRAY_PPM_MAX);
        }
    }

    /// Units for 1 USD.
    pub fn rates(&self) -> BTreeMap<Currency, Decimal> {
        let mut rates = BTreeMap::new();
        for ((code, rate), stray) in MARKET.iter().zip(&self.stray_ppm) {
            let rate: Decimal = rate.parse().expect("the table holds decimals");
            let rate = rate * Decimal::new(PPM + stray, 6);
            rates.insert(currency(code), rounded(rate));
        }
        let francs = rounded(rates[&Currency::EUR] * FRANCS_PER_EURO);
        rates.extend(["XOF", "XAF"].map(|code| (currency(code), francs)));
        rates
    }
}

fn currency(code: &str) -> Currency {
    code.parse().expect("the table holds currencies")
}

fn rounded(rate: Decimal) -> Decimal {
    rate.round_sf(DIGITS).expect("rates of the table are far from any bound").normalize()
}

/// splitmix64's finish: every bit of the input reaches every bit of the result.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seed: u64, steps: u64) -> Market {
        let mut market = Market::new(seed, 5);
        (0..steps).for_each(|_| market.step());
        market
    }

    #[test]
    fn the_same_seed_and_step_give_the_same_rates() {
        assert_eq!(at(7, 500).rates(), at(7, 500).rates());
        assert_ne!(at(7, 500).rates(), at(8, 500).rates());
        assert_ne!(at(7, 500).rates(), at(7, 501).rates());
        // Frozen: a demo or a test may rely on it.
        let rates = at(42, 100).rates();
        let shown = ["EUR", "NGN", "XOF", "AED"].map(|c| rates[&currency(c)].to_string());
        assert_eq!(shown, ["0.87309127", "1536.2759", "572.71033", "3.6725"]);
    }

    #[test]
    fn a_step_moves_some_currencies_a_little_and_none_strays_far() {
        let mut market = Market::new(1, 5);
        let table = market.rates();
        let (mut moved, mut compared) = (0, 0);
        for _ in 0..1_000 {
            let before = market.rates();
            market.step();
            for (currency, rate) in market.rates() {
                let change = ((rate - before[&currency]) / before[&currency]).abs();
                // 5 bps and the pull back, which is 1/64 of at most 20 %
                assert!(change <= Decimal::new(37, 4), "{currency} moved by {change}");
                assert!(((rate - table[&currency]) / table[&currency]).abs() <= Decimal::new(2001, 4));
                compared += 1;
                moved += usize::from(rate != before[&currency]);
            }
        }
        assert!((compared / 5..compared / 2).contains(&moved), "{moved} of {compared} moved");
        assert_ne!(market.rates(), table);
        assert_eq!(market.rates()[&currency("AED")], table[&currency("AED")]);
    }
}
