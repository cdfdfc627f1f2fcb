use std::fmt;
use std::str::FromStr;

use crate::domain::{Currency, CurrencyError};

/// `source` is paid, `destination` is received.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    pub source: Currency,
    pub destination: Currency,
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}_{}", self.source, self.destination))
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Pair {
    type Err = CurrencyError;

    /// `USD_NGN`, `USD/NGN` or `USD-NGN`.
    fn from_str(text: &str) -> Result<Self, CurrencyError> {
        let (source, destination) = text.split_once(['_', '/', '-']).ok_or_else(|| CurrencyError(text.into()))?;
        Ok(Self { source: source.parse()?, destination: destination.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_has_three_spellings() {
        for text in ["USD_NGN", "USD/NGN", "USD-NGN"] {
            assert_eq!(text.parse::<Pair>().map(|p| p.to_string()).as_deref(), Ok("USD_NGN"));
        }
        for text in ["USDNGN", "USD_", "USD_NGN_KES", "usd_NGN"] {
            assert!(text.parse::<Pair>().is_err(), "{text}");
        }
    }
}
