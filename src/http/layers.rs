//! Layers between the context and the handlers.

use std::time::Duration;

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::{
    conditional::IDEMPOTENCY_KEY,
    consistency::{CONSISTENCY_TOKEN, PREFER, PREFERENCE_APPLIED, PROJECTION_POSITION},
    context::{TRACEPARENT, X_REQUEST_ID},
    error::{ApiError, Code},
};

/// Answers 503 `timeout` where a request takes too long (its command, if it has one, goes on in a
/// task of its own), and 406 where the client of the API takes no JSON.
pub async fn within(limit: Duration, request: Request, next: Next) -> Response {
    let is_api = request
        .extensions()
        .get::<MatchedPath>()
        .is_some_and(|route| route.as_str().starts_with("/v1/"));
    if is_api && !takes_json(request.headers()) {
        let detail = "The answer is application/json, which Accept does not take.";
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

/// Whether `Accept` takes `application/json`: the most specific range that fits decides.
fn takes_json(headers: &HeaderMap) -> bool {
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
            let specificity = match parts.next()?.as_str() {
                "application/json" => 3,
                "application/*" => 2,
                "*/*" | "*" => 1,
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
        HeaderName::from_static("last-event-id"),
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

    fn takes(accept: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        takes_json(&headers)
    }

    #[test]
    fn the_most_specific_range_decides() {
        assert!(takes_json(&HeaderMap::new()));
        assert!(takes("*/*"));
        assert!(takes("text/html, application/*;q=0.5"));
        assert!(!takes("text/html"));
        assert!(!takes("application/json;q=0, */*"));
        assert!(takes("application/json;q=0.1"));
    }
}
