//! HTTP: the only layer that knows paths, headers and statuses.
//!
//! A request passes through [`server::context`] (id, log, problem documents), CORS, the panic
//! handler, the refusal of cross-site writes ([`server::origin`]) and [`server::admission`] (host, rate
//! limit, media types, timeout) to its handler in [`orders`] or [`operations`]. Handlers read it with [`request`] and answer errors with
//! [`problem`]. The folders import each other in one direction: `server` → `orders` → `request` →
//! `problem`.

pub mod api;
pub mod operations;
pub mod orders;
pub mod problem;
pub mod request;
pub mod response;
pub mod server;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use axum::{Router, middleware::from_fn};
use tower::util::option_layer;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

pub use api::Api;
use operations::{description, docs, health, metrics};
use orders::{commands, get_order, history, list, streams};
use request::caller::{Work, WorkLimits};
pub use server::serve::serve;
use server::{
    admission::{self, Admission},
    context, cors, error_body,
    origin::{self, AllowedHosts},
    rate_limit::RateLimit,
    request_metrics::RequestMetrics,
    serve::ServerLimits,
};

/// The table of routes.
fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::with_openapi(description::document())
        .routes(routes!(commands::create_order, list::list_orders))
        .routes(routes!(get_order::get_order))
        .routes(routes!(history::get_history))
        .routes(routes!(streams::stream_orders))
        .routes(routes!(streams::stream_order))
        .routes(routes!(commands::add_item))
        .routes(routes!(commands::change_item, commands::remove_item))
        .routes(routes!(commands::complete_order))
        .routes(routes!(commands::cancel_order))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(metrics::metrics))
}

/// Returns the OpenAPI document of all routes.
#[must_use]
pub fn openapi() -> OpenApi {
    let (_, openapi) = routes().split_for_parts();
    description::complete(openapi)
}

/// Settings of the HTTP layer.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// How long a request may take.
    pub request_timeout: Duration,
    /// The origins that browsers may call from; `*` allows all, an empty list none.
    pub cors_origins: Vec<String>,
    /// How many requests a second each address may send; `None` sets no limit.
    pub rate_limit: Option<NonZeroU32>,
    /// How many entries of `X-Forwarded-For`, from the right, trusted proxies have written.
    pub trusted_proxy_hops: usize,
    /// The names that are allowed as `Host` besides IP addresses and `localhost`.
    pub allowed_hosts: Vec<String>,
    /// Limits on clients' connections.
    pub limits: ServerLimits,
    /// Limits on what clients have in work.
    pub work: WorkLimits,
}

/// Builds the router: all routes, the pages of the documentation, and the layers.
pub fn router(api: Api, options: &HttpOptions) -> Router {
    let (router, _) = routes().split_for_parts();
    let admission = Admission {
        hosts: AllowedHosts::new(&options.allowed_hosts),
        trusted_proxy_hops: options.trusted_proxy_hops,
        rate_limit: options
            .rate_limit
            .map(|per_second| Arc::new(RateLimit::new(per_second))),
        work: Work::new(options.work),
        timeout: options.request_timeout,
    };
    let cross_site = origin::refuse_cross_site(&options.cors_origins);
    let metrics = Arc::new(RequestMetrics::default());
    router
        .merge(docs::pages(&openapi()))
        .fallback(async || error_body::no_route())
        .method_not_allowed_fallback(async || error_body::no_method())
        // One tuple of layers: each call of `layer` would box the handler of every request again.
        .layer((
            from_fn(move |request, next| {
                context::with_context(Arc::clone(&metrics), request, next)
            }),
            option_layer(cors::layer(&options.cors_origins)),
            CatchPanicLayer::custom(error_body::panicked),
            option_layer(cross_site),
            from_fn(move |request, next| admission::admit(admission.clone(), request, next)),
        ))
        .with_state(Arc::new(api))
}
