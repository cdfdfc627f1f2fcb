//! From the market to the prices of pairs.

use rust_decimal::Decimal;

use super::figure::Figure;
use crate::domain::Currency;

/// Significant digits of a published rate: what a JavaScript number surely holds.
pub const RATE_DIGITS: u32 = 15;
/// Significant digits of a rate that is marked up.
const CUSTOMER_DIGITS: u32 = 6;

/// Units of the destination for 1 source, from the units of both for 1 USD. Crosses of one snapshot leave nothing to arbitrage.
pub fn cross(source_per_usd: Figure, destination_per_usd: Figure) -> Figure {
    destination_per_usd.over(source_per_usd)
}

/// mid × (1 − bps/10⁴), down to 6 significant digits. `bps` < 10000.
pub fn customer_rate(mid: Figure, bps: u32) -> Figure {
    let kept = Figure::new(Decimal::new(10_000 - i64::from(bps), 4)).expect("a markup is below 100 %");
    mid.times(kept).down_to_significant(CUSTOMER_DIGITS)
}

/// What `amount` comes to at `rate`, in whole minor units of the destination, never in the customer's favour.
pub fn amount_at(amount: Figure, rate: Figure, destination: Currency) -> String {
    amount.times(rate).down_to_decimals(destination.minor_digits())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(text: &str) -> Figure {
        text.parse().expect("a figure")
    }

    #[test]
    fn amounts_are_whole_minor_units() {
        for (amount, rate, code, expected) in [
            ("100", "1535.482335438087", "NGN", "153548.23"),
            ("100", "572.719", "XOF", "57271"),
            ("1", "0.00028232", "USD", "0.00"),
            ("10", "0.3076", "KWD", "3.076"),
            ("0.01", "3542", "UGX", "35"),
        ] {
            assert_eq!(
                amount_at(figure(amount), figure(rate), code.parse().expect("a code")),
                expected,
                "{amount} {code}"
            );
        }
    }

    #[test]
    fn crosses_leave_nothing_to_arbitrage() {
        let (ngn, kes, eur) = (figure("1535.482335438087"), figure("129.241519578397"), figure("0.873100134108"));
        let round = cross(ngn, kes).times(cross(kes, eur)).times(cross(eur, ngn));
        assert_eq!(round.to_significant(26), Figure::ONE);
        assert_eq!(cross(ngn, kes).inverse().to_significant(27), cross(kes, ngn).to_significant(27));
    }

    #[test]
    fn a_markup_rounds_down() {
        assert_eq!(customer_rate(figure("1535.482335438087"), 150).to_string(), "1512.45");
        assert_eq!(customer_rate(figure("0.000651261155"), 0).to_string(), "0.000651261");
    }
}
