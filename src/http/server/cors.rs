//! CORS: which browser pages may call the service, and which headers they may send and read.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::http::{
    orders::streams::LAST_EVENT_ID,
    request::{
        consistency::{
            CONSISTENCY_TOKEN, ORDER_PARKED, PREFER, PREFERENCE_APPLIED, PROJECTION_POSITION,
        },
        context::{TRACEPARENT, X_REQUEST_ID},
        idempotency::IDEMPOTENCY_KEY,
    },
};

/// Makes the CORS layer for these origins; `*` allows all. `None` if there is no origin.
#[must_use]
pub fn layer(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let origins = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(
            origins
                .iter()
                .filter_map(|origin| HeaderValue::try_from(origin).ok()),
        )
    };
    let request_headers = [
        header::ACCEPT,
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        LAST_EVENT_ID,
        IDEMPOTENCY_KEY,
        CONSISTENCY_TOKEN,
        PREFER,
        TRACEPARENT,
        HeaderName::from_static("tracestate"),
        HeaderName::from_static("baggage"),
        X_REQUEST_ID,
    ];
    let exposed_headers = [
        header::ETAG,
        header::LOCATION,
        header::LINK,
        header::RETRY_AFTER,
        X_REQUEST_ID,
        HeaderName::from_static("idempotent-replayed"),
        CONSISTENCY_TOKEN,
        PREFERENCE_APPLIED,
        PROJECTION_POSITION,
        ORDER_PARKED,
        header::ALLOW,
        header::WWW_AUTHENTICATE,
    ];
    let cors = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers(request_headers)
        .expose_headers(exposed_headers)
        .max_age(Duration::from_hours(1));
    Some(cors)
}
