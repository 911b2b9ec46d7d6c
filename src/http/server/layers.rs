//! Layers between the context and the handlers.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::{
    context::{TRACEPARENT, X_REQUEST_ID},
    rate_limit::{ClientAddress, RateLimit},
};
use crate::http::{
    orders::streams::LAST_EVENT_ID,
    problem::error::{ApiError, Code},
    request::{
        consistency::{CONSISTENCY_TOKEN, PREFER, PREFERENCE_APPLIED, PROJECTION_POSITION},
        preconditions::IDEMPOTENCY_KEY,
    },
};

/// Answers 429 `rate_limited` where an address sends too many requests, 406 where the client of the
/// API does not take what it would get, and 503 `timeout` where a request takes too long (its command,
/// if it has one, goes on in a task of its own; a stream has begun by then).
pub async fn admitted(
    rate_limit: Option<Arc<RateLimit>>,
    limit: Duration,
    request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("", MatchedPath::as_str);
    let client = request.extensions().get::<ClientAddress>();
    // Who looks after the service must never be told to come back later.
    if let Some((rate_limit, client)) = rate_limit.as_deref().zip(client)
        && !route.starts_with("/health/")
        && !rate_limit.admits(*client)
    {
        let detail = "This address sends more requests a second than it may. Nothing was done.";
        return ApiError::new(Code::RateLimited, detail).into_response();
    }
    let answer = media_type(request.method(), route);
    if let Some(answer) = answer
        && !takes(request.headers(), answer)
    {
        let detail = format!("The answer is {answer}, which Accept does not take.");
        return ApiError::new(Code::NotAcceptable, detail).into_response();
    }
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(
            Code::Timeout,
            format!(
                "No answer within {} seconds. A command may have been applied: repeat it with the \
                 same Idempotency-Key.",
                limit.as_secs()
            ),
        )
        .into_response(),
    }
}

/// What a route of the API answers with.
fn media_type(method: &Method, route: &str) -> Option<&'static str> {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    if !route.starts_with("/v1/") {
        None
    } else if is_read && route.ends_with("/stream") {
        Some("text/event-stream")
    } else {
        Some("application/json")
    }
}

/// Whether `Accept` takes this media type: the most specific range that fits decides.
fn takes(headers: &HeaderMap, media_type: &str) -> bool {
    let values: Vec<_> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let ranges: Vec<(u8, bool)> = values
        .iter()
        .flat_map(|value| value.split(','))
        .filter(|range| !range.trim().is_empty())
        .filter_map(|range| {
            let mut parts = range
                .split(';')
                .map(|part| part.trim().to_ascii_lowercase());
            let range = parts.next()?;
            let specificity = match range.strip_suffix("/*") {
                _ if range == media_type => 3,
                Some("*") => 1,
                Some(kind) if media_type.split('/').next() == Some(kind) => 2,
                _ if range == "*" => 1,
                _ => return Some((0, false)),
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=").map(str::to_owned));
            let is_refused = quality
                .is_some_and(|quality| quality.trim().trim_end_matches(['0', '.']).is_empty());
            Some((specificity, !is_refused))
        })
        .collect();
    ranges.is_empty() || ranges.iter().max().is_some_and(|(_, is_taken)| *is_taken)
}

/// Lets browsers of these origins call, and read the headers of the contract; `None` for no origin.
#[must_use]
pub fn cors(origins: &[String]) -> Option<CorsLayer> {
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
    let asked = [
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
        X_REQUEST_ID,
    ];
    let shown = [
        header::ETAG,
        header::LOCATION,
        header::LINK,
        header::RETRY_AFTER,
        X_REQUEST_ID,
        HeaderName::from_static("idempotent-replayed"),
        CONSISTENCY_TOKEN,
        PREFERENCE_APPLIED,
        PROJECTION_POSITION,
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
        .allow_headers(asked)
        .expose_headers(shown)
        .max_age(Duration::from_hours(1));
    Some(cors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(accept: &'static str, media_type: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        super::takes(&headers, media_type)
    }

    fn takes_json(accept: &'static str) -> bool {
        takes(accept, "application/json")
    }

    #[test]
    fn the_most_specific_range_decides() {
        assert!(super::takes(&HeaderMap::new(), "application/json"));
        assert!(takes_json("*/*"));
        assert!(takes_json("text/html, application/*;q=0.5"));
        assert!(!takes_json("text/html"));
        assert!(!takes_json("application/json;q=0, */*"));
        assert!(takes_json("application/json;q=0.1"));
    }

    #[test]
    fn a_stream_is_another_media_type() {
        let stream = media_type(&Method::GET, "/v1/orders/{id}/stream").unwrap();
        let is_taken = |accept| takes(accept, stream);

        assert!(is_taken("text/event-stream"));
        assert!(is_taken("application/json;q=0.5, text/*"));
        assert!(!is_taken("application/json"));
        assert_eq!(media_type(&Method::GET, "/docs"), None);
        let refused = media_type(&Method::POST, "/v1/orders/stream");
        assert_eq!(refused, Some("application/json"));
    }
}
