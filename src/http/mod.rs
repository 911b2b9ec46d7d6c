//! HTTP: the only layer that knows paths, headers and statuses.
//!
//! [`router`] reads as a table of contents; [`problem`] is the only place that knows the statuses of
//! errors; [`serve()`] takes the connections. A request passes [`context`] (id, log, problem documents) →
//! CORS → panics → [`layers`] (rate limit, accepted types, timeout) → its handler in [`order_commands`],
//! [`order_queries`], [`order_list`], [`order_streams`] or [`health`].

pub mod at_once;
pub mod body;
pub mod command_body;
pub mod conditional;
pub mod consistency;
pub mod context;
pub mod cursor;
pub mod docs;
pub mod error;
pub mod extract;
pub mod health;
pub mod layers;
pub mod live;
pub mod order_commands;
pub mod order_json;
pub mod order_list;
pub mod order_queries;
pub mod order_streams;
pub mod problem;
pub mod rate_limit;
pub mod reads;
pub mod request_body;
pub mod request_metrics;
pub mod rows;
pub mod serve;
pub mod view;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use axum::{Router, middleware::from_fn};
use tokio_util::task::TaskTracker;
use tower::util::option_layer;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::order::{Currency, OrderHistory, Orders};
use error::{ApiError, Code};
use health::Health;
use live::Live;
use rate_limit::RateLimit;
use reads::Reads;
use request_metrics::RequestMetrics;
pub use serve::serve;

/// What the handlers work with.
pub struct Api {
    /// The write side.
    pub orders: Arc<dyn Orders>,
    /// The past, from the event store.
    pub history: Arc<dyn OrderHistory>,
    /// The read model.
    pub reads: Reads,
    /// What streams show.
    pub live: Live,
    /// Readiness and metrics.
    pub health: Arc<dyn Health>,
    /// Runs commands, so that shutdown can wait for them.
    pub tasks: TaskTracker,
    /// The currency of orders that name none.
    pub default_currency: Currency,
}

/// Settings of the HTTP layer.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// How long a request may take.
    pub request_timeout: Duration,
    /// The origins that browsers may call from; `*` for all, nothing for none.
    pub cors_origins: Vec<String>,
    /// How many requests a second each address may send; any number where it is `None`.
    pub rate_limit: Option<NonZeroU32>,
}

/// Every route.
fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::with_openapi(docs::document())
        .routes(routes!(
            order_commands::create_order,
            order_list::list_orders
        ))
        .routes(routes!(order_queries::get_order))
        .routes(routes!(order_queries::get_history))
        .routes(routes!(order_streams::stream_orders))
        .routes(routes!(order_streams::stream_order))
        .routes(routes!(order_commands::add_item))
        .routes(routes!(
            order_commands::change_item,
            order_commands::remove_item
        ))
        .routes(routes!(order_commands::complete_order))
        .routes(routes!(order_commands::cancel_order))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
}

/// The OpenAPI document of all routes.
#[must_use]
pub fn openapi() -> OpenApi {
    let (_, openapi) = routes().split_for_parts();
    docs::complete(openapi)
}

/// The whole HTTP side of the service.
pub fn router(api: Api, options: &HttpOptions) -> Router {
    let (router, _) = routes().split_for_parts();
    let timeout = options.request_timeout;
    let rate_limit = options
        .rate_limit
        .map(|per_second| Arc::new(RateLimit::new(per_second)));
    let metrics = Arc::new(RequestMetrics::default());
    router
        .merge(docs::pages(&openapi()))
        .fallback(async || ApiError::new(Code::RouteNotFound, "There is nothing at this path."))
        .method_not_allowed_fallback(async || {
            let detail = "The path takes the methods that Allow names, and no other.";
            ApiError::new(Code::MethodNotAllowed, detail)
        })
        // All at once: each `layer` of its own costs every request another box around its handler.
        .layer((
            from_fn(move |request, next| {
                context::with_context(Arc::clone(&metrics), request, next)
            }),
            option_layer(layers::cors(&options.cors_origins)),
            CatchPanicLayer::custom(context::panicked),
            from_fn(move |request, next| {
                layers::admitted(rate_limit.clone(), timeout, request, next)
            }),
        ))
        .with_state(Arc::new(api))
}
