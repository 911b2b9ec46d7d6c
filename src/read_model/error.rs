//! Why rows could not be written.

use sqlx::Error;

use crate::{
    event_sourcing::StoreError,
    sql::error::{is_about_data, store_error},
};

/// Why a chunk of events could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// The database refused the data of some order in the chunk.
    #[error("the database refused the rows")]
    Data(#[source] Error),
    /// The store or the read model failed for another reason.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl WriteError {
    /// Tells refused data from a failure of the database.
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
