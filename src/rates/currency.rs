use std::fmt;
use std::str::FromStr;

/// An ISO 4217 code: three upper-case ASCII letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

/// `source` is paid, `destination` is received.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    pub source: Currency,
    pub destination: Currency,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no currency: expected three upper-case letters, such as USD")]
pub struct CurrencyError(String);

impl Currency {
    pub const USD: Self = Self(*b"USD");

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only ASCII letters get in")
    }

    /// Decimals of its smallest unit (ISO 4217).
    pub fn minor_digits(self) -> u32 {
        match self.as_str() {
            "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "UYI" | "VND"
            | "VUV" | "XAF" | "XOF" | "XPF" => 0,
            "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
            "CLF" | "UYW" => 4,
            _ => 2,
        }
    }
}

impl FromStr for Currency {
    type Err = CurrencyError;

    fn from_str(text: &str) -> Result<Self, CurrencyError> {
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_uppercase) => Ok(Self(code)),
            _ => Err(CurrencyError(text.chars().take(16).collect())),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
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
    fn codes_and_pairs() {
        for (text, good) in
            [("USD", true), ("usd", false), ("US", false), ("USDT", false), ("U5D", false), ("€", false)]
        {
            assert_eq!(text.parse::<Currency>().is_ok(), good, "{text}");
        }
        for text in ["USD_NGN", "USD/NGN", "USD-NGN"] {
            assert_eq!(text.parse::<Pair>().map(|p| p.to_string()).as_deref(), Ok("USD_NGN"));
        }
        for text in ["USDNGN", "USD_", "USD_NGN_KES", "usd_NGN"] {
            assert!(text.parse::<Pair>().is_err(), "{text}");
        }
    }
}
