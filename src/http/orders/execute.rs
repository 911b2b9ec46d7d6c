//! From the headers of a command request through the write side to the response.
//!
//! The write side tells whether anything changed, and the version; the status and the headers
//! follow from these here. So a replayed response is the same as the first one.

use axum::{
    body::Body,
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request::Parts},
    response::Response,
};
use tokio::time::timeout;

use super::views::command_output::{CommandOutput, OrderBody};
use crate::{
    event_sourcing::{Executed, Request, Version},
    http::{
        api::Api,
        problem::ApiError,
        request::{
            body::JsonBody,
            caller::{Caller, overloaded},
            consistency::{CONSISTENCY_TOKEN, token},
            context::{Audit, now},
            idempotency::{self, IDEMPOTENCY_KEY},
            parameters::QueryParameters,
            preconditions::{self, IfMatch, etag},
        },
    },
    order::{OrderCommand, OrderId},
};

/// The headers that a command reads.
const COMMAND_HEADERS: [HeaderName; 2] = [header::IF_MATCH, IDEMPOTENCY_KEY];

/// What a command reads of its request, except path parameters and body.
pub struct CommandContext {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    audit: Audit,
    caller: Caller,
}

impl<S: Send + Sync> FromRequestParts<S> for CommandContext {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // Commands take no query parameters.
        QueryParameters::of(&parts.uri).close()?;
        let mut headers = HeaderMap::new();
        for name in COMMAND_HEADERS {
            for value in parts.headers.get_all(&name) {
                headers.append(&name, value.clone());
            }
        }
        Ok(Self {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            headers,
            audit: Audit::from_request_parts(parts, state).await?,
            caller: Caller::from_request_parts(parts, state).await?,
        })
    }
}

/// The status of a successful command.
#[derive(Debug, Clone, Copy)]
pub(super) enum Success {
    /// 201 with `Location`; 200 if the same order existed before.
    OrderCreated,
    /// 201.
    ItemAdded,
    /// 200.
    OrderChanged,
}

/// A command that was read from a request.
pub(super) struct PreparedCommand {
    pub id: OrderId,
    /// Whether the service generated `id` for this request.
    pub is_new: bool,
    pub command: OrderCommand,
    pub expected_in_body: Option<Version>,
    pub success: Success,
    /// The JSON pointer of the price of the n-th item, for problem documents.
    pub price_pointer: fn(usize) -> String,
}

impl PreparedCommand {
    /// A command on an existing order that answers 200.
    pub fn new(id: OrderId, command: OrderCommand, expected_in_body: Option<Version>) -> Self {
        Self {
            id,
            is_new: false,
            command,
            expected_in_body,
            success: Success::OrderChanged,
            price_pointer: |_| "#/price".to_owned(),
        }
    }
}

impl CommandContext {
    /// Whether the request has this header; only those that commands read are kept.
    pub(super) fn has_header(&self, name: &HeaderName) -> bool {
        self.headers.contains_key(name)
    }

    /// Executes the command, as soon as no other runs on its order. Until then it ends with its
    /// client. Then it runs in a task of its own, so that a client that disconnects does not stop it
    /// halfway.
    pub(super) async fn execute(
        self,
        api: &Api,
        body: JsonBody,
        prepared: PreparedCommand,
    ) -> Result<Response, ApiError> {
        let if_match = preconditions::if_match(&self.headers)?;
        let (expected, from_header) = expected_version(if_match, prepared.expected_in_body)?;
        let key = idempotency::idempotency_key(&self.headers, || {
            idempotency::fingerprint(self.method.as_str(), self.uri.path(), &body.bytes)
        })?;
        let request = Request {
            id: prepared.id.get(),
            command: prepared.command,
            expected,
            is_new: prepared.is_new,
            key,
            metadata: self.audit.0,
            now: now(),
        };
        let executing = |error| ApiError::executing(error, from_header, prepared.price_pointer);
        let JsonBody { bytes, share } = body;
        drop(bytes);
        let claimed = timeout(api.claim_limit, api.orders.claim(request)).await;
        let claimed = claimed
            .map_err(|_| overloaded("order", "Too many commands on this order are waiting."))?
            .map_err(executing)?;
        let running = self.caller.command()?;
        let orders = api.orders.clone();
        let execution = async move {
            let executed = orders.run(claimed, OrderBody::of).await;
            drop((share, running));
            executed
        };
        let executed = api.tasks.spawn(execution).await;
        let executed = executed.map_err(ApiError::internal)?.map_err(executing)?;
        respond(executed, prepared.success)
    }
}

/// The version that the client expects, and whether it is from the header.
fn expected_version(
    if_match: Option<IfMatch>,
    in_body: Option<Version>,
) -> Result<(Option<Version>, bool), ApiError> {
    match (if_match, in_body) {
        (Some(IfMatch::Version(header)), Some(body)) if header != body => Err(ApiError::header(
            "If-Match",
            format!("says version {header}, but expectedVersion says {body}"),
        )),
        (Some(IfMatch::Version(header)), _) => Ok((Some(header), true)),
        (Some(IfMatch::Exists) | None, body) => Ok((body, false)),
    }
}

fn respond(executed: Executed<CommandOutput>, success: Success) -> Result<Response, ApiError> {
    let order = executed.output.map_err(ApiError::internal)?;
    let (status, location) = match (success, executed.has_changed) {
        (Success::OrderCreated, true) => {
            let location = HeaderValue::try_from(format!("/v1/orders/{}", order.id));
            (
                StatusCode::CREATED,
                Some(location.map_err(ApiError::internal)?),
            )
        }
        (Success::ItemAdded, _) => (StatusCode::CREATED, None),
        (Success::OrderCreated, false) | (Success::OrderChanged, _) => (StatusCode::OK, None),
    };
    let mut response = Response::new(Body::from(order.json));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::ETAG, etag(executed.version)?);
    headers.insert(CONSISTENCY_TOKEN, token(executed.position)?);
    if let Some(location) = location {
        headers.insert(header::LOCATION, location);
    }
    if executed.is_replayed {
        headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    Ok(response)
}
