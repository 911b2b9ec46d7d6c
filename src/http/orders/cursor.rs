//! Cursors: the place where the next page of a list starts. A cursor is valid only for the filters
//! and the sort that it was made with.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Datelike};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::http::problem::{ApiError, Code};
use crate::{
    event_sourcing::Timestamp,
    order::OrderId,
    read_model::{ListQuery, ListSort},
};

/// The bytes of the digest in a cursor. They detect a cursor of another list; they are not a
/// secret.
const DIGEST: usize = 8;

/// Makes the cursor of the page that follows the order with this sort key.
#[must_use]
pub fn encode(query: &ListQuery, (at, id): (Timestamp, OrderId)) -> String {
    let mut bytes = digest(query).to_vec();
    bytes.extend(at.timestamp_micros().to_be_bytes());
    bytes.extend(id.get().as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a cursor.
///
/// # Errors
/// 400 `invalid_cursor` if it is not a cursor, or was made with other filters or another sort.
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
    // PostgreSQL refuses years far outside these, and no order has one.
    let at = DateTime::from_timestamp_micros(at)
        .filter(|at| (0..=9999).contains(&at.year()))
        .ok_or_else(invalid)?;
    let id = Uuid::from_slice(id).map_err(|_| invalid())?;
    if made_with == digest(query) {
        Ok((at, id.into()))
    } else {
        Err(invalid())
    }
}

/// Digests the filters and the sort: they must be the same for all pages of a list.
fn digest(query: &ListQuery) -> [u8; DIGEST] {
    let mut statuses: Vec<_> = query
        .statuses
        .iter()
        .map(|status| status.as_str())
        .collect();
    statuses.sort_unstable();
    statuses.dedup();
    let statuses = statuses.join(",");
    let sort = match query.sort {
        ListSort::CreatedDescending => "-createdAt",
        ListSort::CreatedAscending => "createdAt",
        ListSort::UpdatedDescending => "-updatedAt",
        ListSort::UpdatedAscending => "updatedAt",
    };
    let mut hash = Sha256::new();
    for text in [query.customer_id.as_deref(), query.product_id.as_deref()] {
        update(&mut hash, text.map(str::as_bytes));
    }
    for bound in [
        query.created_from,
        query.created_to,
        query.updated_from,
        query.updated_to,
    ] {
        let micros = bound.map(|at| at.timestamp_micros().to_be_bytes());
        update(&mut hash, micros.as_ref().map(<[u8; 8]>::as_slice));
    }
    update(&mut hash, Some(statuses.as_bytes()));
    update(&mut hash, Some(sort.as_bytes()));
    let mut digest = [0; DIGEST];
    digest
        .iter_mut()
        .zip(hash.finalize())
        .for_each(|(to, from)| *to = from);
    digest
}

/// Adds one field: 0 if it is absent, else 1, its length and its bytes. So no two lists of fields
/// give the same bytes.
fn update(hash: &mut Sha256, field: Option<&[u8]>) {
    match field {
        None => hash.update([0]),
        Some(bytes) => {
            hash.update([1]);
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{event_sourcing::testing::instant, order::Status};

    const ID: OrderId = OrderId::new(Uuid::from_u128(7));

    fn by(change: impl FnOnce(&mut ListQuery)) -> ListQuery {
        let mut query = ListQuery::default();
        change(&mut query);
        query
    }

    #[test]
    fn a_cursor_is_valid_only_for_its_own_filters_and_sort() {
        let queries = [
            by(|_| {}),
            by(|query| query.customer_id = Some("a".to_owned())),
            by(|query| query.customer_id = Some(String::new())),
            by(|query| query.product_id = Some("a".to_owned())),
            by(|query| query.created_from = Some(instant(1))),
            by(|query| query.created_to = Some(instant(1))),
            by(|query| query.updated_from = Some(instant(1))),
            by(|query| query.updated_to = Some(instant(1))),
            by(|query| query.updated_to = Some(instant(2))),
            by(|query| query.statuses = vec![Status::Created]),
            by(|query| query.statuses = vec![Status::Created, Status::Completed]),
            by(|query| query.sort = ListSort::UpdatedAscending),
        ];
        for (index, made_with) in queries.iter().enumerate() {
            let cursor = encode(made_with, (instant(3), ID));
            for (other, query) in queries.iter().enumerate() {
                let read = decode(query, &cursor);
                assert_eq!(read.is_ok(), index == other, "{made_with:?} {query:?}");
            }
        }
    }

    #[test]
    fn the_order_of_statuses_and_the_size_of_the_page_do_not_matter() {
        let cursor = encode(
            &by(|query| query.statuses = vec![Status::Created, Status::Completed]),
            (instant(3), ID),
        );
        let query = by(|query| {
            query.statuses = vec![Status::Completed, Status::Created, Status::Completed];
            query.limit = 7;
        });

        assert_eq!(decode(&query, &cursor).unwrap(), (instant(3), ID));
    }

    /// Clients keep cursors across releases.
    #[test]
    fn a_cursor_stays_the_same_from_release_to_release() {
        let query = by(|query| {
            query.customer_id = Some("customer-1".to_owned());
            query.created_from = Some(instant(1));
            query.statuses = vec![Status::Cancelled];
        });

        assert_eq!(
            encode(&query, (instant(3), ID)),
            "uOA6-5wIwUQAAAAAAC3GwAAAAAAAAAAAAAAAAAAAAAc"
        );
    }

    /// A cursor of the default list: with the right digest, and these bytes behind it.
    fn forged(key: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode([&digest(&ListQuery::default()), key].concat())
    }

    #[test]
    fn a_cursor_with_an_impossible_time_is_refused() {
        for micros in [i64::MIN, -100_000_000_000_000_000, 300_000_000_000_000_000] {
            let key = [micros.to_be_bytes().as_slice(), ID.get().as_bytes()].concat();

            let refused = decode(&ListQuery::default(), &forged(&key)).unwrap_err();

            assert_eq!(refused.code, Code::InvalidCursor);
        }
    }

    proptest! {
        #[test]
        fn a_forged_cursor_is_refused_or_names_a_place_of_the_calendar(
            text in ".*",
            key in prop::collection::vec(any::<u8>(), 0..40),
            micros in any::<i64>(),
        ) {
            let whole = [micros.to_be_bytes().as_slice(), ID.get().as_bytes()].concat();
            for cursor in [text, forged(&key), forged(&whole), forged(&whole) + "="] {
                match decode(&ListQuery::default(), &cursor) {
                    Ok((at, _)) => prop_assert!((0..=9999).contains(&at.year())),
                    Err(refused) => prop_assert_eq!(refused.code, Code::InvalidCursor),
                }
            }
        }
    }
}
