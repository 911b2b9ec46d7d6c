//! Shows one order: its current state, a state at least as new as a version, or a past state.
#![expect(
    clippy::missing_errors_doc,
    reason = "the responses of each operation document them"
)]

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use utoipa::IntoParams;

use super::{
    paths::OrderPath,
    reads::{order_not_found, refuse},
    views::{OrderView, rows::view_of},
};
use crate::http::{
    api::Api,
    problem::{ApiError, Code},
    request::{
        consistency::{Consistency, write_parked},
        parameters::QueryParameters,
        preconditions::{IfNoneMatch, etag},
    },
    response::json_body,
};
use crate::{
    event_sourcing::{Position, Version, repository::Loaded, store::Until},
    order::{Order, OrderId},
    read_model::HotView,
};

/// Which state of the order is shown. At most one of these may be given.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "documents what read_parameters reads")]
pub struct OrderParameters {
    /// The oldest version to show. While the read model is behind, the event store answers.
    #[param(minimum = 1)]
    min_version: Option<i32>,
    /// Shows the order as it was at this version.
    #[param(minimum = 1)]
    version: Option<i32>,
    /// Shows the order as it was at this time (RFC 3339 with an offset).
    as_of: Option<String>,
}

/// The state that is asked for.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    Current { min_version: Option<Version> },
    Past(Until),
}

/// What the headers of a read ask for.
struct Conditions {
    consistency: Consistency,
    seen: IfNoneMatch,
}

/// Shows an order
///
/// If the read model cannot apply an event of the order, the answer comes from the event store and
/// has the header `Order-Parked`.
#[utoipa::path(
    get, path = "/v1/orders/{id}", tag = "Queries", params(OrderPath, OrderParameters),
    responses(
        (status = 200, description = "The order", body = OrderView),
        (status = 304, description = "The order still has the version of `If-None-Match`"),
        (status = 404, description = "`order_not_found`, `version_not_found`"),
    )
)]
pub async fn get_order(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
    OrderPath { id }: OrderPath,
) -> Result<Response, ApiError> {
    let wanted = read_parameters(&uri)?;
    let conditions = Conditions {
        consistency: Consistency::of(&headers)?,
        seen: IfNoneMatch::of(&headers),
    };
    match wanted {
        Wanted::Past(until) => show_past(&api, id, until, &conditions).await,
        Wanted::Current { min_version } => show_current(&api, id, min_version, &conditions).await,
    }
}

fn read_parameters(uri: &Uri) -> Result<Wanted, ApiError> {
    let mut parameters = QueryParameters::of(uri);
    let min_version = parameters.version("minVersion");
    let version = parameters.version("version");
    let as_of = parameters.instant("asOf");
    let given = [
        ("minVersion", min_version.is_some()),
        ("version", version.is_some()),
        ("asOf", as_of.is_some()),
    ];
    for (name, _) in given.iter().filter(|(_, is_given)| *is_given).skip(1) {
        let detail = "cannot be combined with another version or time";
        parameters.refuse(name, "exclusive", detail);
    }
    parameters.close()?;
    Ok(match (version, as_of) {
        (Some(version), _) => Wanted::Past(Until::Version(version)),
        (None, Some(instant)) => Wanted::Past(Until::Timestamp(instant)),
        (None, None) => Wanted::Current { min_version },
    })
}

async fn show_past(
    api: &Api,
    id: OrderId,
    until: Until,
    conditions: &Conditions,
) -> Result<Response, ApiError> {
    let consistency = &conditions.consistency;
    let position = api.reads.position(consistency).await?;
    let loaded = match load_past(api, id, until).await {
        Ok(loaded) => loaded,
        Err(error) => return Ok(refuse(error, consistency, position)),
    };
    let mut view = view_of_state(&loaded)?;
    view.allowed_actions.clear();
    show(&serialised(&view)?, conditions, position)
}

async fn load_past(api: &Api, id: OrderId, until: Until) -> Result<Loaded<Order>, ApiError> {
    let loaded = api.history.load(id, until).await?;
    match (loaded, until) {
        (Some(loaded), Until::Version(wanted)) if loaded.version < wanted => {
            Err(no_such_version(wanted, loaded.version))
        }
        (Some(loaded), _) => Ok(loaded),
        (None, Until::Timestamp(instant)) if api.exists(id).await? => Err(ApiError::new(
            Code::VersionNotFound,
            format!("The order did not exist at {instant}."),
        )),
        (None, _) => Err(order_not_found(id)),
    }
}

async fn show_current(
    api: &Api,
    id: OrderId,
    min_version: Option<Version>,
    conditions: &Conditions,
) -> Result<Response, ApiError> {
    let Conditions { consistency, seen } = conditions;
    // The answer must not be older than a version that the client has.
    let at_least = min_version.max(seen.newest());
    if let Some((view, position)) = api.reads.hot(id.get(), consistency)
        && at_least.is_none_or(|at_least| view.version >= at_least)
    {
        return show(&view, conditions, position);
    }
    let found = api
        .reads
        .until(consistency, |views| async move { views.find(id).await })
        .await?;
    let position = found.projection_position;
    if let Some(parked) = found.parked {
        let stored = show_parked(api, id, min_version, conditions).await;
        // The event store may not be able to read the event either. Then the answer is an error,
        // and the header says why.
        let mut response = stored.unwrap_or_else(|error| refuse(error, consistency, position));
        write_parked(parked, response.headers_mut());
        return Ok(response);
    }
    let projected = found.order.as_ref();
    if projected.map(|rows| Version::new(rows.order.version)) < at_least {
        return show_stored(api, id, min_version, conditions, position).await;
    }
    let Some(rows) = projected else {
        return Ok(refuse(order_not_found(id), consistency, position));
    };
    let view = serialised(&view_of(rows)?)?;
    let shown = show(&view, conditions, position)?;
    api.reads.keep(id.get(), position, view);
    Ok(shown)
}

/// Shows an order from the event store.
async fn show_stored(
    api: &Api,
    id: OrderId,
    min_version: Option<Version>,
    conditions: &Conditions,
    position: Position,
) -> Result<Response, ApiError> {
    match load_newest(api, id, min_version).await {
        Ok(loaded) => show_loaded(&loaded, conditions, position),
        Err(error) => Ok(refuse(error, &conditions.consistency, position)),
    }
}

/// Shows a parked order from the event store, once the read model has come as far: when an operator
/// brings the order back, the read model must not show an older state than this.
async fn show_parked(
    api: &Api,
    id: OrderId,
    min_version: Option<Version>,
    conditions: &Conditions,
) -> Result<Response, ApiError> {
    let loaded = load_newest(api, id, min_version).await?;
    let consistency = conditions.consistency.and(loaded.position);
    let position = api.reads.position(&consistency).await?;
    show_loaded(&loaded, conditions, position)
}

async fn load_newest(
    api: &Api,
    id: OrderId,
    min_version: Option<Version>,
) -> Result<Loaded<Order>, ApiError> {
    let loaded = api.history.load(id, Until::Now).await?;
    let loaded = loaded.ok_or_else(|| order_not_found(id))?;
    match min_version.filter(|wanted| *wanted > loaded.version) {
        Some(wanted) => Err(no_such_version(wanted, loaded.version)),
        None => Ok(loaded),
    }
}

fn show_loaded(
    loaded: &Loaded<Order>,
    conditions: &Conditions,
    position: Position,
) -> Result<Response, ApiError> {
    let view = serialised(&view_of_state(loaded)?)?;
    show(&view, conditions, position)
}

/// Answers with the view, or with 304 if the client has this version.
fn show(view: &HotView, conditions: &Conditions, position: Position) -> Result<Response, ApiError> {
    let mut response = if conditions.seen.matches(view.version) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        json_body(view.body.clone())
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag(view.version)?);
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    conditions.consistency.write(position, headers);
    Ok(response)
}

fn serialised(view: &OrderView<'_>) -> Result<HotView, ApiError> {
    Ok(HotView {
        version: view.version,
        body: serde_json::to_vec(view).map_err(ApiError::internal)?.into(),
    })
}

fn view_of_state(loaded: &Loaded<Order>) -> Result<OrderView<'_>, ApiError> {
    OrderView::of(&loaded.state, loaded.version).map_err(ApiError::internal)
}

fn no_such_version(wanted: Version, current: Version) -> ApiError {
    ApiError::new(
        Code::VersionNotFound,
        format!("The order is at version {current}, there is no version {wanted} yet."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::asked;

    #[test]
    fn every_documented_parameter_is_read_and_every_parameter_read_is_documented() {
        let read = asked::during(|| read_parameters(&Uri::from_static("/")));

        assert_eq!(read, asked::documented::<OrderParameters>());
    }
}
