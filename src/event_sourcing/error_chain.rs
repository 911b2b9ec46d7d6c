//! Prints an error with its causes, for log lines and stored reasons.

use std::{error::Error, fmt::Write as _};

/// Returns the error and all its sources as one line: `the store is unavailable: no route`.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a String does not fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_sourcing::StoreError;

    #[test]
    fn an_error_is_printed_with_its_causes() {
        let error = StoreError::unavailable(std::io::Error::other("no route"));

        assert_eq!(error_chain(&error), "the store is unavailable: no route");
    }
}
