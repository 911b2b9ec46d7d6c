//! Currencies: ISO 4217 codes and how many decimal digits their amounts have.

use std::{fmt, str::FromStr};

/// An ISO 4217 currency with a minor unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency(iso_currency::Currency);

/// A text is not the code of a currency with a minor unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an ISO 4217 currency code")]
pub struct UnknownCurrency(pub String);

impl Currency {
    /// A currency with the most digits of all: an amount too precise for it is too precise for all.
    #[must_use]
    pub fn finest() -> Self {
        Self(iso_currency::Currency::CLF)
    }

    /// The three capital letters.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// The number of decimal digits: 2 for EUR, 0 for JPY, 3 for KWD.
    #[must_use]
    pub fn digits(self) -> u32 {
        self.0.exponent().map_or(0, u32::from)
    }
}

impl FromStr for Currency {
    type Err = UnknownCurrency;

    /// Reads the three capital letters. Codes without a minor unit (gold, test codes) are refused.
    fn from_str(code: &str) -> Result<Self, UnknownCurrency> {
        iso_currency::Currency::from_code(code)
            .filter(|currency| currency.code() == code && currency.exponent().is_some())
            .map(Self)
            .ok_or_else(|| UnknownCurrency(code.to_owned()))
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl serde::Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> serde::Deserialize<'de> for Currency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        code.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_in_capitals_with_a_minor_unit_are_currencies() {
        // Gold and the code for tests have no minor unit.
        for code in ["eur", "EURO", "", "XAU", "XTS"] {
            assert!(code.parse::<Currency>().is_err(), "{code}");
        }
        for (code, digits) in [("EUR", 2), ("JPY", 0), ("KWD", 3)] {
            let currency: Currency = code.parse().unwrap();
            assert_eq!(
                (currency.to_string().as_str(), currency.digits()),
                (code, digits)
            );
        }
    }
}
