//! Why rows could not be written.

use sqlx::Error;

use crate::{
    event_sourcing::StoreError,
    sql::error::{is_about_data, store_error},
};

/// Why a chunk of events could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// The database refused the data itself: some order in the chunk is the culprit.
    #[error("the database refused the rows")]
    Data(#[source] Error),
    /// Whatever the data, it could not be done.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl WriteError {
    /// Tells a refusal of the data from a failure of the database.
    pub(super) fn from_query(error: Error) -> Self {
        if is_about_data(&error) {
            Self::Data(error)
        } else {
            Self::Store(store_error(error))
        }
    }
}

impl From<WriteError> for StoreError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Data(error) => StoreError::corrupt("the read model", error),
            WriteError::Store(error) => error,
        }
    }
}

/// An error with all its causes in one line, for a parked order's reason.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
