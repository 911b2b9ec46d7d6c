//! HTTP: the only layer that knows paths, headers and statuses.
//!
//! [`router`] reads as a table of contents; [`problem`] is the only place that knows the statuses of
//! errors; [`serve()`] takes the connections. A request passes [`context`] (id, log, problem documents) →
//! CORS → panics → [`layers`] (rate limit, accepted types, timeout) → its handler in [`orders`] or
//! [`operations`].

pub mod operations;
pub mod orders;
pub mod problem;
pub mod request;
pub mod server;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use axum::{Router, middleware::from_fn};
use tokio_util::task::TaskTracker;
use tower::util::option_layer;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::order::{Currency, OrderHistory, Orders};
use operations::{
    docs,
    health::{self, Health},
};
use orders::{commands, execute::OrderBody, list, queries, reads::Reads, sse::Live, streams};
use problem::{ApiError, Code};
pub use server::serve::serve;
use server::{context, layers, rate_limit::RateLimit, request_metrics::RequestMetrics};

/// What the handlers work with.
pub struct Api {
    /// The write side.
    pub orders: Arc<dyn Orders<Option<OrderBody>>>,
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
        .routes(routes!(commands::create_order, list::list_orders))
        .routes(routes!(queries::get_order))
        .routes(routes!(queries::get_history))
        .routes(routes!(streams::stream_orders))
        .routes(routes!(streams::stream_order))
        .routes(routes!(commands::add_item))
        .routes(routes!(commands::change_item, commands::remove_item))
        .routes(routes!(commands::complete_order))
        .routes(routes!(commands::cancel_order))
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
