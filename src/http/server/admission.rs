//! The innermost layer: host, connections that may only ask for health, rate limit, accepted media types,
//! timeout.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderMap, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    connections::HealthOnly,
    origin::{AllowedHosts, target_error},
    rate_limit::RateLimit,
};
use crate::http::{
    problem::{ApiError, Code},
    request::{
        caller::{Work, overloaded},
        client::ClientAddress,
    },
};

/// What decides whether a request reaches its handler.
#[derive(Debug, Clone)]
pub struct Admission {
    /// The names that are allowed as `Host`.
    pub hosts: AllowedHosts,
    /// How many entries of `X-Forwarded-For`, from the right, trusted proxies have written.
    pub trusted_proxy_hops: usize,
    /// How many requests each client may send.
    pub rate_limit: Option<Arc<RateLimit>>,
    /// What clients have in work.
    pub work: Work,
    /// How long a request may take.
    pub timeout: Duration,
}

/// Runs a request, or refuses it: 414, 400 or 421 if its target or its `Host` is not one of this
/// service's, 503 `overloaded` if its connection may only ask for health, 429 `rate_limited` if its
/// address sends too many requests, 406 `not_acceptable` if `Accept` excludes the media type of the
/// answer, 503 `timeout` if the handler takes too long. A command that has started is not stopped by
/// the timeout; a stream has started its answer before.
pub async fn admit(admission: Admission, mut request: Request, next: Next) -> Response {
    let (version, headers) = (request.version(), request.headers());
    if let Some(error) = target_error(&admission.hosts, version, request.uri(), headers) {
        return error.into_response();
    }
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("", MatchedPath::as_str);
    if request.extensions().get::<HealthOnly>().is_some() && !route.starts_with("/health/") {
        return overloaded("connections", "There are too many connections.").into_response();
    }
    let peer = request.extensions().get::<ClientAddress>().copied();
    let peer = peer.unwrap_or(ClientAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
    let client = peer.behind_proxies(headers, admission.trusted_proxy_hops);
    // Health checks are never limited: an orchestrator would take a 429 for an unhealthy service.
    if let Some(rate_limit) = admission.rate_limit.as_deref()
        && !route.starts_with("/health/")
        && !rate_limit.admits(client)
    {
        let detail =
            "This address sent more requests in a second than the limit allows. Nothing was done.";
        return ApiError::new(Code::RateLimited, detail).into_response();
    }
    if let Some(answer) = media_type(request.method(), route)
        && !accepts(request.headers(), answer)
    {
        let detail = format!("The answer is {answer}, which Accept excludes.");
        return ApiError::new(Code::NotAcceptable, detail).into_response();
    }
    let caller = admission.work.caller(client);
    request.extensions_mut().insert(caller);
    let limit = admission.timeout;
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

/// The media type of the answers of a route; `None` outside the API.
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

/// Whether `Accept` allows this media type. The most specific range that matches decides.
fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
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
    ranges.is_empty()
        || ranges
            .iter()
            .max()
            .is_some_and(|(_, is_accepted)| *is_accepted)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn accepts(accept: &'static str, media_type: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        super::accepts(&headers, media_type)
    }

    fn accepts_json(accept: &'static str) -> bool {
        accepts(accept, "application/json")
    }

    #[test]
    fn the_most_specific_range_decides() {
        assert!(super::accepts(&HeaderMap::new(), "application/json"));
        assert!(accepts_json("*/*"));
        assert!(accepts_json("text/html, application/*;q=0.5"));
        assert!(!accepts_json("text/html"));
        assert!(!accepts_json("application/json;q=0, */*"));
        assert!(accepts_json("application/json;q=0.1"));
    }

    #[test]
    fn a_stream_has_a_media_type_of_its_own() {
        let stream = media_type(&Method::GET, "/v1/orders/{id}/stream").unwrap();
        let is_accepted = |accept| accepts(accept, stream);

        assert!(is_accepted("text/event-stream"));
        assert!(is_accepted("application/json;q=0.5, text/*"));
        assert!(!is_accepted("application/json"));
        assert_eq!(media_type(&Method::GET, "/docs"), None);
        let command = media_type(&Method::POST, "/v1/orders/stream");
        assert_eq!(command, Some("application/json"));
    }
}
