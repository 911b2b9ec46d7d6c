//! Shows the history of an order: its events.
#![expect(
    clippy::missing_errors_doc,
    reason = "the responses of each operation document them"
)]

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, Uri},
    response::Response,
};
use utoipa::IntoParams;

use super::{
    paths::OrderPath,
    reads::{order_not_found, refuse},
    views::HistoryPage,
};
use crate::event_sourcing::Version;
use crate::http::{
    api::Api,
    problem::ApiError,
    request::{consistency::Consistency, parameters::QueryParameters},
    response::json,
};

/// Which part of the history is shown.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "documents what read_parameters reads")]
pub struct HistoryParameters {
    /// The first version (default 1).
    #[param(minimum = 1)]
    from_version: Option<i32>,
    /// The largest number of events (default 100).
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Shows the history of an order
///
/// The events come from the event store, in version order and in their newest schema version.
#[utoipa::path(
    get, path = "/v1/orders/{id}/events", tag = "Queries", params(OrderPath, HistoryParameters),
    responses(
        (status = 200, description = "A part of the history", body = HistoryPage),
        (status = 404, description = "`order_not_found`"),
    )
)]
pub async fn get_history(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
    OrderPath { id }: OrderPath,
) -> Result<Response, ApiError> {
    let (from, limit) = read_parameters(&uri)?;
    let consistency = Consistency::of(&headers)?;
    let position = api.reads.position(&consistency).await?;
    // One event more tells whether another part follows.
    let mut events = api.history.events(id, from, limit + 1).await?;
    if events.is_empty() && !api.exists(id).await? {
        return Ok(refuse(order_not_found(id), &consistency, position));
    }
    let next = events.get(limit as usize).map(|event| event.version.get());
    events.truncate(limit as usize);
    let items = events.into_iter().map(TryInto::try_into);
    let mut response = json(&HistoryPage {
        items: items.collect::<Result<_, _>>()?,
        next_from_version: next,
    })?;
    consistency.write(position, response.headers_mut());
    Ok(response)
}

/// Reads the first version and the largest number of events.
fn read_parameters(uri: &Uri) -> Result<(Version, u32), ApiError> {
    let mut parameters = QueryParameters::of(uri);
    let from = parameters.version("fromVersion").unwrap_or(Version::new(1));
    let limit = parameters.number("limit", 1, 1000).unwrap_or(100);
    parameters.close()?;
    Ok((from, limit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::asked;

    #[test]
    fn every_documented_parameter_is_read_and_every_parameter_read_is_documented() {
        let read = asked::during(|| read_parameters(&Uri::from_static("/")));

        assert_eq!(read, asked::documented::<HistoryParameters>());
    }
}
