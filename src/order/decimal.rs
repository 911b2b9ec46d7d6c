//! Decimal numbers with their exact value, as JSON writes them.

/// The exact value of a JSON number: `±digits × 10^exponent`. The digits have no zero at either end;
/// zero has no digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decimal {
    /// Whether the text has a minus sign.
    pub is_negative: bool,
    /// The significant digits.
    pub digits: String,
    /// The power of ten of the last digit.
    pub exponent: i64,
}

impl Decimal {
    /// Reads the text of a JSON number; `None` if it is not one.
    #[must_use]
    pub fn parse(number: &str) -> Option<Self> {
        let (is_negative, number) = match number.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, number),
        };
        let (mantissa, exponent) = match number.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, clamp_exponent(exponent)?),
            None => (number, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all: String = [whole, fraction].concat();
        if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits = all.trim_end_matches('0');
        let dropped = i64::try_from(all.len().checked_sub(digits.len())?).ok()?;
        let fraction = i64::try_from(fraction.len()).ok()?;
        let digits = digits.trim_start_matches('0').to_owned();
        let exponent = exponent.checked_sub(fraction)?.checked_add(dropped)?;
        Some(Self {
            is_negative,
            digits,
            exponent,
        })
    }

    /// The value; `None` if it is not a whole number or does not fit.
    #[must_use]
    pub fn to_i64(&self) -> Option<i64> {
        if self.digits.is_empty() {
            return Some(0);
        }
        let zeros = u32::try_from(self.exponent).ok()?;
        let value = self
            .digits
            .parse::<i64>()
            .ok()?
            .checked_mul(10_i64.checked_pow(zeros)?)?;
        if self.is_negative {
            value.checked_neg()
        } else {
            Some(value)
        }
    }

    /// Whether the value is a whole number of any size.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.digits.is_empty() || self.exponent >= 0
    }
}

/// Reads an exponent with its sign. A larger one than a million is cut to a million: both are out of
/// range for every caller.
fn clamp_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse::<i64>().unwrap_or(i64::MAX).min(1_000_000);
    if text.starts_with('-') {
        size.checked_neg()
    } else {
        Some(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_may_be_written_with_an_exponent() {
        let whole = |text| Decimal::parse(text).and_then(|decimal| decimal.to_i64());

        assert_eq!(whole("2.0"), Some(2));
        assert_eq!(whole("1e3"), Some(1000));
        assert_eq!(whole("-5"), Some(-5));
        assert_eq!(whole("1.5"), None);
        assert_eq!(whole("1e30"), None);
    }

    #[test]
    fn zeros_at_either_end_are_no_digits() {
        let decimal = Decimal::parse("-0120.50e2").unwrap();

        assert!(decimal.is_negative);
        assert_eq!((decimal.digits.as_str(), decimal.exponent), ("1205", 1));
    }

    #[test]
    fn a_text_that_is_no_json_number_is_refused() {
        for text in ["", "-", ".", "1e", "1e+", "e5", "1x", "x1", "1e5x", "1ex"] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_number_without_a_digit_behind_the_point_is_whole() {
        let is_whole = |text| Decimal::parse(text).unwrap().is_whole();

        for text in ["0", "0.0", "0e-5", "20", "2e3", "1.5e1"] {
            assert!(is_whole(text), "{text}");
        }
        for text in ["1.5", "1e-1", "0.1"] {
            assert!(!is_whole(text), "{text}");
        }
    }
}
