//! Exact money: whole minor units of a currency, with checked arithmetic. Clients see decimal text.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    currency::Currency,
    decimal::Decimal,
    value::{MAX_SIGNIFICANT_DIGITS, MAX_TOTAL},
};

/// An amount in minor units of a currency that the context names. Parsing gives no negative amount.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Money(i64);

/// Why a text is not a valid amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMoney {
    /// Not of the form `0 | 1…9… [ . digits ]`, or below zero.
    #[error("must be a decimal amount of zero or more, without sign or exponent")]
    Malformed,
    /// More digits than the currency has, or more than 15 significant ones.
    #[error("must not have more digits than the currency has, nor more than 15 significant ones")]
    TooPrecise,
    /// More than [`MAX_TOTAL`].
    #[error("must not exceed {MAX_TOTAL} minor units")]
    TooLarge,
}

impl Money {
    /// The amount of zero.
    pub const ZERO: Self = Self(0);

    /// The largest amount that can be represented.
    pub const MAX: Self = Self(i64::MAX);

    /// Wraps an amount in minor units.
    #[must_use]
    pub const fn from_minor(minor: i64) -> Self {
        Self(minor)
    }

    /// The amount in minor units.
    #[must_use]
    pub const fn minor(self) -> i64 {
        self.0
    }

    /// The sum; `None` if it overflows.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference; `None` if it overflows.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The product; `None` if it overflows.
    #[must_use]
    pub fn checked_mul(self, times: u32) -> Option<Self> {
        self.0.checked_mul(i64::from(times)).map(Self)
    }

    /// Reads an amount from text such as `"49.90"`. Every written digit counts: `"49.900"` is too
    /// precise for EUR.
    ///
    /// # Errors
    /// [`InvalidMoney`]; no amount is rounded.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, InvalidMoney> {
        let (whole, fraction) = match text.split_once('.') {
            Some((_, "")) => return Err(InvalidMoney::Malformed),
            Some(parts) => parts,
            None => (text, ""),
        };
        let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
            return Err(InvalidMoney::Malformed);
        }
        if whole.len() > 1 && whole.starts_with('0') {
            return Err(InvalidMoney::Malformed);
        }
        let digits: String = [whole, fraction].concat();
        Self::from_digits(&digits, fraction.len(), currency)
    }

    /// Reads an amount from a JSON number such as `49.9` or `1e2`. Its exact value counts: `49.900` is
    /// a valid amount of EUR.
    ///
    /// # Errors
    /// [`InvalidMoney`]; no amount is rounded.
    pub fn parse_number(number: &str, currency: Currency) -> Result<Self, InvalidMoney> {
        let decimal = Decimal::parse(number).ok_or(InvalidMoney::Malformed)?;
        if decimal.digits.is_empty() {
            return Ok(Self::ZERO);
        }
        if decimal.is_negative {
            return Err(InvalidMoney::Malformed);
        }
        // As in a text, the zeros before the point count: `1e300` has 301 digits.
        let zeros = usize::try_from(decimal.exponent);
        if decimal.digits.len().saturating_add(zeros.unwrap_or(0)) > MAX_SIGNIFICANT_DIGITS {
            return Err(InvalidMoney::TooPrecise);
        }
        if let Ok(zeros) = zeros {
            let minor_zeros = zeros.saturating_add(currency.digits() as usize);
            scaled(&decimal.digits, minor_zeros)
        } else {
            let fraction = usize::try_from(decimal.exponent.unsigned_abs())
                .map_err(|_| InvalidMoney::TooPrecise)?;
            Self::from_digits(&decimal.digits, fraction, currency)
        }
    }

    fn from_digits(
        digits: &str,
        fraction: usize,
        currency: Currency,
    ) -> Result<Self, InvalidMoney> {
        let significant = digits.trim_start_matches('0');
        if significant.len() > MAX_SIGNIFICANT_DIGITS {
            return Err(InvalidMoney::TooPrecise);
        }
        match (currency.digits() as usize).checked_sub(fraction) {
            None => Err(InvalidMoney::TooPrecise),
            Some(_) if significant.is_empty() => Ok(Self::ZERO),
            Some(zeros) => scaled(significant, zeros),
        }
    }

    /// The amount as decimal text with all digits of the currency.
    #[must_use]
    pub fn display(self, currency: Currency) -> DisplayMoney {
        DisplayMoney {
            minor: self.0,
            digits: currency.digits(),
        }
    }
}

/// The number made of `digits` and then `zeros` zeros, as minor units.
fn scaled(digits: &str, zeros: usize) -> Result<Money, InvalidMoney> {
    let exponent = u32::try_from(zeros).map_err(|_| InvalidMoney::TooLarge)?;
    let minor = digits.parse::<i64>().ok().zip(10_i64.checked_pow(exponent));
    minor
        .and_then(|(value, factor)| value.checked_mul(factor))
        .filter(|minor| *minor <= MAX_TOTAL)
        .map(Money)
        .ok_or(InvalidMoney::TooLarge)
}

/// An amount that is shown as decimal text.
#[derive(Debug, Clone, Copy)]
pub struct DisplayMoney {
    minor: i64,
    digits: u32,
}

impl DisplayMoney {
    /// Writes the text into the buffer from its end, without an allocation: an order has many amounts.
    pub fn write(self, text: &mut [u8; 32]) -> &str {
        let mut start = text.len();
        let mut put = |byte| {
            start = start.saturating_sub(1);
            text[start] = byte;
        };
        let mut minor = self.minor.unsigned_abs();
        let mut written = 0;
        while minor > 0 || written <= self.digits {
            if written == self.digits && written > 0 {
                put(b'.');
            }
            put(b'0'.wrapping_add(u8::try_from(minor % 10).unwrap_or(0)));
            minor = minor.wrapping_div(10);
            written = written.saturating_add(1);
        }
        if self.minor < 0 {
            put(b'-');
        }
        str::from_utf8(&text[start..]).unwrap_or_default()
    }
}

impl fmt::Display for DisplayMoney {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.write(&mut [0; 32]))
    }
}

impl Serialize for DisplayMoney {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.write(&mut [0; 32]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn currency(code: &str) -> Currency {
        code.parse().unwrap()
    }

    #[test]
    fn every_written_digit_of_a_text_counts() {
        let eur = |text| Money::parse(text, currency("EUR")).map(Money::minor);

        assert_eq!(eur("49.99"), Ok(4999));
        assert_eq!(eur("49.9"), Ok(4990));
        assert_eq!(eur("0"), Ok(0));
        assert_eq!(eur("0.00"), Ok(0));
        assert_eq!(eur("49.990"), Err(InvalidMoney::TooPrecise));
        assert_eq!(eur("0.000"), Err(InvalidMoney::TooPrecise));
        assert_eq!(eur("9999999999999.99"), Ok(999_999_999_999_999));
        assert_eq!(eur("10000000000000.00"), Err(InvalidMoney::TooPrecise));
        for malformed in [
            "", ".", "1.", ".5", "00", "01.2", "-1", "+1", "1e2", " 1", "1 ", "1,5", "१", "NaN",
        ] {
            assert_eq!(
                eur(malformed),
                Err(InvalidMoney::Malformed),
                "{malformed:?}"
            );
        }
    }

    #[test]
    fn the_exact_value_of_a_number_counts() {
        let eur = |number| Money::parse_number(number, currency("EUR")).map(Money::minor);

        assert_eq!(eur("1e2"), Ok(10_000));
        assert_eq!(eur("49.990"), Ok(4999));
        assert_eq!(eur("4999E-2"), Ok(4999));
        assert_eq!(eur("-0"), Ok(0));
        assert_eq!(eur("0e999999999999"), Ok(0));
        assert_eq!(eur("0.001"), Err(InvalidMoney::TooPrecise));
        assert_eq!(eur("1e-400"), Err(InvalidMoney::TooPrecise));
        assert_eq!(eur("-0.01"), Err(InvalidMoney::Malformed));
        assert_eq!(eur("1e15"), Err(InvalidMoney::TooPrecise));
        assert_eq!(eur("1e300"), Err(InvalidMoney::TooPrecise));
        assert_eq!(eur("1e-300"), Err(InvalidMoney::TooPrecise));
        assert_eq!(eur("1e99999999999999999999"), Err(InvalidMoney::TooPrecise));
        assert_eq!(eur("1e14"), Err(InvalidMoney::TooLarge));
        assert_eq!(eur("1234567890123456"), Err(InvalidMoney::TooPrecise));
    }

    #[test]
    fn an_amount_is_shown_with_all_digits_of_its_currency() {
        let show = |minor, code| Money::from_minor(minor).display(currency(code)).to_string();

        assert_eq!(show(4990, "EUR"), "49.90");
        assert_eq!(show(5, "EUR"), "0.05");
        assert_eq!(show(500, "JPY"), "500");
        assert_eq!(show(1234, "KWD"), "1.234");
    }

    #[test]
    fn zeros_signs_and_extremes_are_shown() {
        let text = |minor, digits| DisplayMoney { minor, digits }.to_string();

        assert_eq!(text(0, 0), "0");
        assert_eq!(text(0, 2), "0.00");
        assert_eq!(text(7, 3), "0.007");
        assert_eq!(text(120, 2), "1.20");
        assert_eq!(text(120, 0), "120");
        assert_eq!(text(-5, 2), "-0.05");
        assert_eq!(text(i64::MAX, 4), "922337203685477.5807");
        assert_eq!(text(i64::MIN, 2), "-92233720368547758.08");
    }

    #[test]
    fn sums_differences_and_products_do_not_overflow() {
        let (small, largest) = (Money::from_minor(3), Money::from_minor(i64::MAX));

        assert_eq!(small.checked_add(small), Some(Money::from_minor(6)));
        assert_eq!(largest.checked_add(small), None);
        assert_eq!(
            small.checked_sub(largest).map(Money::minor),
            Some(3 - i64::MAX)
        );
        assert_eq!(Money::from_minor(-5).checked_sub(largest), None);
        assert_eq!(small.checked_mul(5), Some(Money::from_minor(15)));
        assert_eq!(largest.checked_mul(2), None);
    }
}
