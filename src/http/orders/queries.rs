//! One order: now, at least as new as promised, or as it was; and its history.
#![expect(
    clippy::missing_errors_doc,
    reason = "the responses of each operation document them"
)]

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Serialize;
use utoipa::IntoParams;

use super::{
    rows::view_of,
    view::{HistoryPage, OrderView},
};
use crate::http::{
    Api,
    problem::error::{ApiError, Code},
    request::{
        consistency::{Consistency, write_parked},
        parameters::{OrderPath, Parameters},
        preconditions::{IfNoneMatch, etag},
    },
};
use crate::{
    event_sourcing::{Position, Version, repository::Loaded, store::Until},
    order::{Order, OrderId},
    read_model::HotView,
};

/// Which state of the order is wanted; at most one of them.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "documents what get_order reads")]
pub struct OrderParameters {
    /// Never older than this version: answered from the event store while the read model is behind.
    #[param(minimum = 1)]
    min_version: Option<i32>,
    /// The order as it was at this version.
    #[param(minimum = 1)]
    version: Option<i32>,
    /// The order as it was at this instant (RFC 3339 with an offset).
    as_of: Option<String>,
}

/// The part of the history that is wanted.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "documents what get_history reads")]
pub struct HistoryParameters {
    /// The first version (default 1).
    #[param(minimum = 1)]
    from_version: Option<i32>,
    /// How many events at most (default 100).
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// What of an order is asked for.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    Now { min_version: Option<Version> },
    Past(Until),
}

/// Shows an order
///
/// An order that is parked (the read model cannot apply one of its events) is shown as the write
/// side knows it, and `Order-Parked` says so.
#[utoipa::path(
    get, path = "/v1/orders/{id}", tag = "Queries", params(OrderPath, OrderParameters),
    responses(
        (status = 200, description = "The order", body = OrderView),
        (status = 304, description = "The order is still at the version of `If-None-Match`"),
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
    let consistency = Consistency::of(&headers)?;
    let seen = IfNoneMatch::of(&headers);
    match wanted {
        Wanted::Past(until) => {
            let position = api
                .reads
                .until(&consistency, |views| async move { views.position().await })
                .await?;
            let loaded = match load_past(&api, id, until).await {
                Ok(loaded) => loaded,
                Err(error) => return Ok(refuse(error, &consistency, position)),
            };
            let mut view = view_of_state(&loaded)?;
            view.allowed_actions.clear();
            Ok(show(&written(&view), &seen, &consistency, position))
        }
        Wanted::Now { min_version } => show_now(&api, id, min_version, &seen, &consistency).await,
    }
}

fn read_parameters(uri: &Uri) -> Result<Wanted, ApiError> {
    let mut parameters = Parameters::of(uri);
    let min_version = parameters.version("minVersion");
    let version = parameters.version("version");
    let as_of = parameters.instant("asOf");
    let given = [
        ("minVersion", min_version.is_some()),
        ("version", version.is_some()),
        ("asOf", as_of.is_some()),
    ];
    for (name, _) in given.iter().filter(|(_, is_given)| *is_given).skip(1) {
        let detail = "cannot go with another version or instant";
        parameters.refuse(name, "exclusive", detail);
    }
    parameters.close()?;
    Ok(match (version, as_of) {
        (Some(version), _) => Wanted::Past(Until::Version(version)),
        (None, Some(instant)) => Wanted::Past(Until::Timestamp(instant)),
        (None, None) => Wanted::Now { min_version },
    })
}

async fn show_now(
    api: &Api,
    id: OrderId,
    min_version: Option<Version>,
    seen: &IfNoneMatch,
    consistency: &Consistency,
) -> Result<Response, ApiError> {
    // Who has seen a version is not shown an older one.
    let at_least = min_version.max(seen.newest());
    if let Some((view, position)) = api.reads.hot_views.get(id.get())
        && position >= consistency.required
        && at_least.is_none_or(|at_least| view.version >= at_least)
    {
        return Ok(show(&view, seen, consistency, position));
    }
    let found = api
        .reads
        .until(consistency, |views| async move { views.find(id).await })
        .await?;
    let position = found.projection_position;
    let shown = found
        .order
        .as_ref()
        .map(|view| Version::new(view.order.version));
    let Some(parked) = found.parked else {
        if shown >= at_least {
            let Some(order) = &found.order else {
                return Ok(refuse(not_found(id), consistency, position));
            };
            let view = written(&view_of(order)?);
            let shown = show(&view, seen, consistency, position);
            api.reads.hot_views.keep(id.get(), position, view);
            return Ok(shown);
        }
        return show_stored(api, id, min_version, seen, consistency, position).await;
    };
    let stored = show_stored(api, id, min_version, seen, consistency, position).await;
    // An event that the write side cannot read either answers an error, and that says why.
    let mut response = stored.unwrap_or_else(|error| refuse(error, consistency, position));
    write_parked(parked, response.headers_mut());
    Ok(response)
}

/// Shows an order as the write side knows it.
async fn show_stored(
    api: &Api,
    id: OrderId,
    min_version: Option<Version>,
    seen: &IfNoneMatch,
    consistency: &Consistency,
    position: Position,
) -> Result<Response, ApiError> {
    let Some(loaded) = api.history.load(id, Until::Now).await? else {
        return Ok(refuse(not_found(id), consistency, position));
    };
    if let Some(wanted) = min_version.filter(|wanted| *wanted > loaded.version) {
        let detail = format!(
            "The order is at version {}, there is no version {wanted} yet.",
            loaded.version
        );
        return Ok(refuse(no_such_version(&detail), consistency, position));
    }
    let view = written(&view_of_state(&loaded)?);
    Ok(show(&view, seen, consistency, position))
}

async fn load_past(api: &Api, id: OrderId, until: Until) -> Result<Loaded<Order>, ApiError> {
    let loaded = api.history.load(id, until).await?;
    match (loaded, until) {
        (Some(loaded), Until::Version(wanted)) if loaded.version < wanted => {
            Err(no_such_version(&format!(
                "The order is at version {}, there is no version {wanted} yet.",
                loaded.version
            )))
        }
        (Some(loaded), _) => Ok(loaded),
        (None, Until::Timestamp(instant)) if exists(api, id).await? => Err(no_such_version(
            &format!("The order did not exist at {instant}."),
        )),
        (None, _) => Err(not_found(id)),
    }
}

async fn exists(api: &Api, id: OrderId) -> Result<bool, ApiError> {
    Ok(!api.history.events(id, Version::new(1), 1).await?.is_empty())
}

/// Shows an order's history
///
/// Every event from the event store, in version order and in today's shape.
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
    let mut parameters = Parameters::of(&uri);
    let from = parameters.version("fromVersion").unwrap_or(Version::new(1));
    let limit = parameters.number("limit", 1, 1000).unwrap_or(100);
    parameters.close()?;
    let consistency = Consistency::of(&headers)?;
    let position = api
        .reads
        .until(&consistency, |views| async move { views.position().await })
        .await?;
    let mut events = api.history.events(id, from, limit + 1).await?;
    if events.is_empty() && !exists(&api, id).await? {
        return Ok(refuse(not_found(id), &consistency, position));
    }
    let next = events.get(limit as usize).map(|event| event.version.get());
    events.truncate(limit as usize);
    let items = events.into_iter().map(Into::into).collect();
    let mut response = json(&HistoryPage {
        items,
        next_from_version: next,
    });
    consistency.write(position, response.headers_mut());
    Ok(response)
}

/// Answers with a view, or with 304 where the client has it.
fn show(
    view: &HotView,
    seen: &IfNoneMatch,
    consistency: &Consistency,
    position: Position,
) -> Response {
    let mut response = if seen.matches(view.version) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        json_body(view.body.clone())
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag(view.version));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    consistency.write(position, headers);
    response
}

/// A refusal that says, as every read does, up to where the read model was complete: what is not
/// there yet may be there later.
pub(super) fn refuse(error: ApiError, consistency: &Consistency, position: Position) -> Response {
    let mut response = error.into_response();
    consistency.write(position, response.headers_mut());
    response
}

/// A view as it is sent and kept.
fn written(view: &OrderView<'_>) -> HotView {
    HotView {
        version: view.version,
        body: view.to_json().into(),
    }
}

fn write_json(value: &impl Serialize) -> Result<Bytes, ApiError> {
    let body = serde_json::to_vec(value);
    body.map(Bytes::from)
        .map_err(|error| ApiError::new(Code::InternalError, "The error was logged.").because(error))
}

/// A 200 of JSON.
pub fn json(value: &impl Serialize) -> Response {
    write_json(value).map_or_else(IntoResponse::into_response, json_body)
}

/// A 200 of JSON that is written already.
fn json_body(body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    response
}

fn view_of_state(loaded: &Loaded<Order>) -> Result<OrderView<'_>, ApiError> {
    let order = loaded.state.state();
    let view = order.map(|order| OrderView::of_state(order, loaded.version));
    view.ok_or_else(|| {
        ApiError::new(Code::InternalError, "The error was logged.").because(std::io::Error::other(
            "a stream that does not begin with its creation",
        ))
    })
}

pub(super) fn not_found(id: OrderId) -> ApiError {
    ApiError::new(Code::OrderNotFound, format!("There is no order {id}."))
}

fn no_such_version(detail: &str) -> ApiError {
    ApiError::new(Code::VersionNotFound, detail.to_owned())
}
