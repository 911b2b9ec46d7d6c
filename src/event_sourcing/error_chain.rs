//! Prints an error with its causes, for log lines and stored reasons.

use std::{error::Error, fmt::Write as _};

/// Returns the error and all its sources as one line: `the store is unavailable: no route`. Some errors
/// print their source themselves; it is not repeated.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            // Writing to a String does not fail.
            let _ = write!(text, ": {cause_text}");
        }
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

    #[test]
    fn a_cause_that_its_error_prints_itself_is_not_repeated() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot ask: {0}")]
        struct CannotAsk(#[source] std::io::Error);

        let error = CannotAsk(std::io::Error::other("no route"));

        assert_eq!(error_chain(&error), "cannot ask: no route");
    }
}
