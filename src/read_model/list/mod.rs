//! Lists of orders: filtered, sorted, a page at a time. What belongs to single orders is in
//! [`super::queries`].

mod query;
mod statements;

use sqlx::Error;

pub use self::query::{ListPage, ListQuery, ListSort, ListStart, MAX_COUNT, MAX_LINES, Total};
use self::statements::{Parameters, list_filtered, list_of_product, list_unfiltered};
use super::{queries::OrderViews, view_columns::ViewColumns};
use crate::{
    event_sourcing::{Position, StoreError},
    sql::error::store_error,
};

impl OrderViews {
    /// Lists a page of orders.
    ///
    /// # Errors
    /// If the database fails, or a row cannot be decoded.
    pub async fn list(&self, query: &ListQuery) -> Result<ListPage, StoreError> {
        let parameters = Parameters::new(query);
        let rows = if parameters.has_no_filter() {
            self.query(async |connection| list_unfiltered(connection, &parameters).await)
                .await?
        } else {
            self.query_filtered(async |connection| match query.product_id {
                None => list_filtered(connection, &parameters).await,
                Some(_) => list_of_product(connection, &parameters).await,
            })
            .await?
        };
        // There is at least one row: an empty page still has a position and a total.
        let first = rows.first().map(|row| (row.projection_position, row.total));
        let (position, total) = first.ok_or_else(|| store_error(Error::RowNotFound))?;
        let found = rows.iter().filter(|row| row.id.is_some()).count();
        // The lines of the orders after these were not read.
        let is_whole = |row: &ViewColumns| row.lines_before < Some(MAX_LINES);
        let mut orders = Vec::with_capacity(rows.len());
        for row in rows
            .into_iter()
            .take_while(is_whole)
            .take(query.limit as usize)
        {
            orders.extend(row.into_order()?);
        }
        Ok(ListPage {
            has_more: found > orders.len(),
            orders,
            total: total.map(|count| Total {
                count: count.min(MAX_COUNT),
                is_capped: count > MAX_COUNT,
            }),
            projection_position: Position::new(position),
        })
    }
}
