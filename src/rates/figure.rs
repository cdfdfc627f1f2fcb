//! A positive decimal number of 28 significant digits, whatever its magnitude.
//!
//! `rust_decimal` has 96 bits and at most 28 decimals: of 1/3542 it keeps 25 significant digits, of a cross between two
//! small quotes fewer. So quotes arrive as `Decimal`, and are calculated with as digits × 10^exponent. Multiplication,
//! division and the square root are exact before they are rounded, half to even, once each; all of it fits `u128`.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;

/// 10^27: the least number of 28 digits.
const ONE: u128 = 1_000_000_000_000_000_000_000_000_000;
const DIGITS: i32 = 28;
/// Half of the digits.
const HALF: u128 = 100_000_000_000_000;

/// `digits` × 10^(`exponent` − 27), with 10^27 <= digits < 10^28. So the derived order is the numbers' order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Figure {
    exponent: i32,
    digits: u128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a positive decimal number")]
pub struct FigureError;

impl Figure {
    pub const ONE: Self = Self { exponent: 0, digits: ONE };

    /// None: not positive.
    pub fn new(number: Decimal) -> Option<Self> {
        let mantissa = u128::try_from(number.mantissa()).ok()?;
        Self::scaled(mantissa, -(number.scale() as i32))
    }

    /// number × 10^exponent.
    fn scaled(number: u128, exponent: i32) -> Option<Self> {
        let length = number.checked_ilog10()? as i32 + 1;
        let exponent = exponent + length - 1;
        Some(if length <= DIGITS {
            Self { digits: number * 10u128.pow((DIGITS - length) as u32), exponent }
        } else {
            let cut = 10u128.pow((length - DIGITS) as u32);
            Self::rounded(number / cut, number % cut, cut, exponent)
        })
    }

    /// digits + rest/whole, half to even.
    fn rounded(digits: u128, rest: u128, whole: u128, exponent: i32) -> Self {
        let up = rest > whole - rest || (rest == whole - rest && digits % 2 == 1);
        match digits + u128::from(up) {
            digits if digits == ONE * 10 => Self { digits: ONE, exponent: exponent + 1 },
            digits => Self { digits, exponent },
        }
    }

    pub fn times(self, other: Self) -> Self {
        // Schoolbook, in base 10^14: the product is high × 10^28 + low.
        let (a1, a0) = (self.digits / HALF, self.digits % HALF);
        let (b1, b0) = (other.digits / HALF, other.digits % HALF);
        let middle = a1 * b0 + a0 * b1 + a0 * b0 / HALF;
        let high = a1 * b1 + middle / HALF;
        let low = middle % HALF * HALF + a0 * b0 % HALF;
        let exponent = self.exponent + other.exponent;
        if high >= ONE {
            Self::rounded(high, low, ONE * 10, exponent + 1)
        } else {
            Self::rounded(high * 10 + low / ONE, low % ONE, ONE, exponent)
        }
    }

    pub fn over(self, divisor: Self) -> Self {
        let (mut rest, by) = (self.digits, divisor.digits);
        let mut exponent = self.exponent - divisor.exponent;
        if rest < by {
            rest *= 10;
            exponent -= 1;
        }
        let mut digits = 0;
        for place in 0..DIGITS {
            if place > 0 {
                rest *= 10;
            }
            digits = digits * 10 + rest / by;
            rest %= by;
        }
        Self::rounded(digits, rest, by, exponent)
    }

    pub fn inverse(self) -> Self {
        Self::ONE.over(self)
    }

    /// By pairs of digits, as on paper: each step's rest is exact.
    pub fn sqrt(self) -> Self {
        let odd = self.exponent.rem_euclid(2) == 1;
        let text = format!("{}{:0<width$}", if odd { "" } else { "0" }, self.digits, width = 55 + usize::from(odd));
        let (mut root, mut rest) = (0u128, 0u128);
        for pair in text.as_bytes().chunks_exact(2) {
            rest = rest * 100 + u128::from(pair[0] - b'0') * 10 + u128::from(pair[1] - b'0');
            let digit = (0..10).rev().find(|d| (20 * root + d) * d <= rest).expect("0 always fits");
            rest -= (20 * root + digit) * digit;
            root = root * 10 + digit;
        }
        // (root + 1/2)² = root² + root + 1/4: never a tie.
        let up = u128::from(rest > root);
        Self::rounded(root + up, 0, 1, self.exponent.div_euclid(2))
    }

    /// √(a·b): the middle for which the middle of the inverses is the inverse of the middle.
    pub fn geometric_middle(self, other: Self) -> Self {
        if self == other { self } else { self.times(other).sqrt() }
    }

    /// |self/of − 1|, to 28 decimals; 10^20 stands for everything beyond.
    pub fn deviation(self, of: Self) -> Decimal {
        let ratio = self.over(of);
        let limit = Decimal::from_i128_with_scale(10i128.pow(20), 0);
        if ratio.exponent >= 20 {
            return limit;
        }
        let (digits, scale) = match u32::try_from(27 - ratio.exponent).expect("below 10^20") {
            scale @ 0..=28 => (ratio.digits, scale),
            beyond => (10u128.checked_pow(beyond - 28).map_or(0, |cut| ratio.digits / cut), 28),
        };
        (Decimal::from_i128_with_scale(digits as i128, scale) - Decimal::ONE).abs()
    }

    /// Half to even, to so many significant digits (1 to 28).
    pub fn to_significant(self, places: u32) -> Self {
        let cut = 10u128.pow(28 - places);
        let kept = Self::rounded(self.digits / cut, self.digits % cut, cut, 0);
        Self::scaled(kept.digits, self.exponent - places as i32 + 1)
            .expect("rounding a positive number up or down a bit")
    }

    /// Towards zero, to so many significant digits (1 to 28).
    pub fn down_to_significant(self, places: u32) -> Self {
        let cut = 10u128.pow(28 - places);
        Self { digits: self.digits / cut * cut, ..self }
    }

    /// With exactly so many decimals, half to even. A number too small for them is all zeros.
    pub fn to_decimals(self, places: u32) -> String {
        self.decimals(places, false)
    }

    /// With exactly so many decimals, towards zero.
    pub fn down_to_decimals(self, places: u32) -> String {
        self.decimals(places, true)
    }

    fn decimals(self, places: u32, down: bool) -> String {
        // Digits behind the last place that stays.
        let cut = 27 - self.exponent - places as i32;
        let places = places as usize;
        let whole = match u32::try_from(cut) {
            Err(_) => format!("{}{}", self.digits, "0".repeat(cut.unsigned_abs() as usize)),
            Ok(cut) if cut > 28 => "0".into(),
            Ok(cut) => {
                let cut = 10u128.pow(cut);
                let (digits, rest) = (self.digits / cut, self.digits % cut);
                let up = !down && (rest > cut - rest || (rest == cut - rest && digits % 2 == 1));
                (digits + u128::from(up)).to_string()
            }
        };
        let text = format!("{whole:0>width$}", width = places + 1);
        match places {
            0 => text,
            _ => format!("{}.{}", &text[..text.len() - places], &text[text.len() - places..]),
        }
    }
}

impl fmt::Display for Figure {
    /// Plain digits, all of them, without trailing zeros: what Postgres takes as numeric.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digits.to_string();
        let digits = digits.trim_end_matches('0');
        match usize::try_from(self.exponent) {
            Err(_) => write!(f, "0.{}{digits}", "0".repeat(self.exponent.unsigned_abs() as usize - 1)),
            Ok(e) if digits.len() <= e + 1 => write!(f, "{digits:0<width$}", width = e + 1),
            Ok(e) => write!(f, "{}.{}", &digits[..=e], &digits[e + 1..]),
        }
    }
}

impl fmt::Debug for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Figure {
    type Err = FigureError;

    /// Plain digits, as Postgres writes numeric; what is beyond 37 digits is cut off before rounding.
    fn from_str(text: &str) -> Result<Self, FigureError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let are_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || text.len() > 1_000 || !are_digits(whole) || !are_digits(fraction) {
            return Err(FigureError);
        }
        let all = format!("{whole}{fraction}");
        let significant = all.trim_start_matches('0');
        let kept = &significant[..significant.len().min(37)];
        let exponent = (significant.len() - kept.len()) as i32 - fraction.len() as i32;
        kept.parse().ok().and_then(|n| Self::scaled(n, exponent)).ok_or(FigureError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(text: &str) -> Figure {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn text_goes_in_and_comes_out() {
        for (text, expected) in [
            ("1", "1"),
            ("10", "10"),
            ("1000000000", "1000000000"),
            ("383.40", "383.4"),
            ("0.000012", "0.000012"),
            ("007.0", "7"),
            ("0.5", "0.5"),
            ("123456789012345678901234567.8", "123456789012345678901234567.8"),
            ("12345678901234567890123456785", "12345678901234567890123456780"),
            ("12345678901234567890123456775", "12345678901234567890123456780"),
            ("9999999999999999999999999999.5", "10000000000000000000000000000"),
            ("0.00000000000000000000000000000000012345", "0.00000000000000000000000000000000012345"),
        ] {
            assert_eq!(figure(text).to_string(), expected, "{text}");
        }
        for text in ["", "0", "0.00", "-1", "+1", ".5", "1e5", "NaN", "1,5", "1 "] {
            assert_eq!(text.parse::<Figure>(), Err(FigureError), "{text:?}");
        }
        assert_eq!(Figure::new(Decimal::MAX).map(|f| f.to_string()).as_deref(), Some("79228162514264337593543950340"));
        assert_eq!(Figure::new(Decimal::ZERO), None);
        assert_eq!(Figure::new(Decimal::NEGATIVE_ONE), None);
    }

    // Expected values: Python's decimal module at precision 28 (half even).
    #[test]
    fn arithmetic_has_28_digits_whatever_the_magnitude() {
        for (a, b, product, quotient) in [
            ("3", "7", "21", "0.4285714285714285714285714286"),
            ("1", "3542.118544297608", "3542.118544297608", "0.0002823169206490510459549083957"),
            ("0.000012345", "999999999", "12344.999987655", "0.00000000000001234500001234500001234500001"),
            (
                "9999999999999999999999999999",
                "9999999999999999999999999999",
                "99999999999999999999999999980000000000000000000000000000",
                "1",
            ),
            ("1535.482335438087", "0.8731001341082", "1340.629832991765897098059013", "1758.655479999961238196310017"),
            (
                "0.007820284996829248827757022692",
                "17.02360396971617344982350956",
                "0.1331294347163342332442752855",
                "0.0004593789312028757659723740778",
            ),
            (
                "0.1796756374642284910887865231",
                "0.004421703276945032509908319267",
                "0.0007944723549627667705020212681",
                "40.63493776279961167273035766",
            ),
            (
                "0.01612652064173077113966905585",
                "0.00000651294211782403232661194792",
                "0.0000001050310955014869814549996941",
                "2476.073078800618316578196188",
            ),
            (
                "0.2857266243325295081885621302",
                "3579654.784072979790473146063",
                "1022802.677728962329984740925",
                "0.00000007981960316503645572598547629",
            ),
            (
                "286.0584514559474018578756457",
                "0.01243663800406416293287854537",
                "3.557605408760778938990825044",
                "23001.26861957922217604141115",
            ),
            (
                "0.009832501995158750718326272081",
                "4.11116288192982165733760627",
                "0.04042301723899757095642888612",
                "0.002391659556564023634376306565",
            ),
            (
                "4580.938248964443279645386631",
                "0.01621305573343547301864698048",
                "74.27100714188682343571991704",
                "282546.259279018911345756727",
            ),
            (
                "8890.077126938109529887638989",
                "0.216926683383948539902956268",
                "1928.494946174186179121770451",
                "40981.94370677374014558971573",
            ),
            (
                "677511.3296724289666123134164",
                "621.4409754337798506955526231",
                "421033301.5790714510596500653",
                "1090.226355285810918715293673",
            ),
        ] {
            let (x, y) = (figure(a), figure(b));
            assert_eq!(x.times(y).to_string(), product, "{a} × {b}");
            assert_eq!(y.times(x).to_string(), product, "{b} × {a}");
            assert_eq!(x.over(y).to_string(), quotient, "{a} / {b}");
        }
    }

    #[test]
    fn the_root_is_right_to_its_last_digit() {
        for (of, expected) in [
            ("2", "1.414213562373095048801688724"),
            ("20", "4.472135954999579392818347337"),
            ("0.2", "0.4472135954999579392818347337"),
            ("0.02", "0.1414213562373095048801688724"),
            ("144", "12"),
            ("0.0000000001", "0.00001"),
            ("99999999999999999999999999.99", "9999999999999.999999999999999"),
            ("9999999999999999999999999999", "99999999999999.99999999999999"),
        ] {
            assert_eq!(figure(of).sqrt().to_string(), expected, "√{of}");
        }
    }

    #[test]
    fn inverses_of_the_middle_are_middles_of_the_inverses() {
        let (a, b) = (figure("1535.4821"), figure("1536.0963"));
        let there = a.geometric_middle(b).inverse();
        let back = a.inverse().geometric_middle(b.inverse());
        assert_eq!(there.to_significant(26), back.to_significant(26));
    }

    #[test]
    fn rounding_at_the_edge() {
        for (text, places, rounded, down) in [
            ("0.00065126115548225", 12, "0.000651261155", "0.000651261155"),
            ("1.005", 2, "1.00", "1.00"),
            ("1.015", 2, "1.02", "1.01"),
            ("999.9999", 2, "1000.00", "999.99"),
            ("0.004", 2, "0.00", "0.00"),
            ("0.006", 2, "0.01", "0.00"),
            ("0.5", 0, "0", "0"),
            ("1.5", 0, "2", "1"),
            ("123456789", 3, "123456789.000", "123456789.000"),
            ("0.0000000000000000000000000000000000001", 2, "0.00", "0.00"),
        ] {
            assert_eq!(figure(text).to_decimals(places), rounded, "{text} to {places}");
            assert_eq!(figure(text).down_to_decimals(places), down, "{text} down to {places}");
        }
        for (text, places, rounded, down) in [
            ("1512.4501", 6, "1512.45", "1512.45"),
            ("0.00028231699", 6, "0.000282317", "0.000282316"),
            ("999999.9", 6, "1000000", "999999"),
            ("1234567", 3, "1230000", "1230000"),
        ] {
            assert_eq!(figure(text).to_significant(places).to_string(), rounded, "{text} to {places}");
            assert_eq!(figure(text).down_to_significant(places).to_string(), down, "{text} down to {places}");
        }
    }

    #[test]
    fn deviations_are_relative_and_bounded() {
        for (x, of, expected) in [
            ("101", "100", "0.01"),
            ("99", "100", "0.01"),
            ("153.54821", "1535.4821", "0.9"),
            ("1000000000", "0.000000001", "999999999999999999"),
            ("1000000000", "0.000000000001", "100000000000000000000"),
            ("0.000000001", "1000000000", "0.999999999999999999"),
            ("0.0000000000000000000000001", "1000000000", "1"),
        ] {
            assert_eq!(figure(x).deviation(figure(of)).normalize().to_string(), expected, "{x} of {of}");
        }
    }
}
