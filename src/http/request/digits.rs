//! Whole numbers in headers and parameters.

/// Reads a text of ASCII digits; `None` for any other text. A number that is too large becomes
/// [`u64::MAX`]: the callers treat it as valid and too high, not as unreadable.
#[must_use]
pub fn whole_number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_any_size_is_read_and_nothing_else() {
        assert_eq!(whole_number("0"), Some(0));
        assert_eq!(whole_number("018342"), Some(18_342));
        assert_eq!(whole_number(&"9".repeat(40)), Some(u64::MAX));
        for text in ["", "-1", "+1", "1.0", " 1", "x"] {
            assert_eq!(whole_number(text), None, "{text}");
        }
    }
}
