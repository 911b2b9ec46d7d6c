//! Opaque cursors: where a list goes on, bound to the filters it was made with.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::DateTime;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::http::problem::error::{ApiError, Code};
use crate::{
    event_sourcing::Timestamp,
    order::OrderId,
    read_model::{ListQuery, ListSort},
};

/// Bytes of digest in a cursor: enough to tell lists apart; it guards against mistakes, not malice.
const DIGEST: usize = 8;

/// Writes the cursor after the order at `key`.
#[must_use]
pub fn encode(query: &ListQuery, (at, id): (Timestamp, OrderId)) -> String {
    let mut bytes = digest(query).to_vec();
    bytes.extend(at.timestamp_micros().to_be_bytes());
    bytes.extend(id.get().as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a cursor that was made with the same filters and sort.
///
/// # Errors
/// 400 `invalid_cursor`.
pub fn decode(query: &ListQuery, cursor: &str) -> Result<(Timestamp, OrderId), ApiError> {
    let invalid = || {
        ApiError::new(
            Code::InvalidCursor,
            "The cursor was not made by a list with these filters and this sort.",
        )
    };
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| invalid())?;
    let (made_with, key) = bytes.split_at_checked(DIGEST).ok_or_else(invalid)?;
    let (at, id) = key.split_at_checked(8).ok_or_else(invalid)?;
    let at = i64::from_be_bytes(at.try_into().map_err(|_| invalid())?);
    let at = DateTime::from_timestamp_micros(at).ok_or_else(invalid)?;
    let id = Uuid::from_slice(id).map_err(|_| invalid())?;
    if made_with == digest(query) {
        Ok((at, id.into()))
    } else {
        Err(invalid())
    }
}

/// What must stay the same from page to page.
fn digest(query: &ListQuery) -> [u8; DIGEST] {
    let mut statuses: Vec<_> = query
        .statuses
        .iter()
        .map(|status| status.as_str())
        .collect();
    statuses.sort_unstable();
    statuses.dedup();
    let sort = match query.sort {
        ListSort::CreatedDescending => "-createdAt",
        ListSort::CreatedAscending => "createdAt",
        ListSort::UpdatedDescending => "-updatedAt",
        ListSort::UpdatedAscending => "updatedAt",
    };
    let filters = (
        &query.customer_id,
        statuses,
        &query.product_id,
        (
            query.created_from,
            query.created_to,
            query.updated_from,
            query.updated_to,
        ),
        sort,
    );
    let mut digest = [0; DIGEST];
    let hash = Sha256::digest(format!("{filters:?}"));
    digest
        .iter_mut()
        .zip(hash)
        .for_each(|(to, from)| *to = from);
    digest
}
