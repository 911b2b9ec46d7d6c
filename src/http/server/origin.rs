//! What browsers may do where everybody may do everything (`ORDERS_AUTH=off`): which names this service
//! answers to, and which writes are refused because another site sent them.
//!
//! A page of another site can send a form, or point a name of its own at this machine (DNS rebinding)
//! and then read and write as if it were ours. The first is told by `Origin` and `Sec-Fetch-Site`, the
//! second by `Host`.

use std::{net::IpAddr, sync::Arc};

use axum::{
    http::{HeaderMap, Uri, Version, header, uri::Authority},
    response::{IntoResponse, Response},
};
use tower_http::csrf::{CsrfLayer, ProtectionError};
use tracing::warn;

use super::unreadable_head::uri_too_long;
use crate::http::problem::{ApiError, Code};

/// The names that are taken as `Host` beside IP addresses and `localhost`, in lower case.
#[derive(Debug, Clone, Default)]
pub struct AllowedHosts(Arc<[String]>);

impl AllowedHosts {
    /// Takes these names.
    #[must_use]
    pub fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    fn allow(&self, host: &str) -> bool {
        let is_address = |host: &str| host.parse::<IpAddr>().is_ok();
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        bare.is_some_and(is_address)
            || is_address(host)
            || host.eq_ignore_ascii_case("localhost")
            || self.0.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

/// Refuses a target that is too long (414), a request without one readable `Host` (400) and a name that
/// is not this service's (421); `None` where nothing is wrong.
pub(super) fn target_error(
    hosts: &AllowedHosts,
    version: Version,
    uri: &Uri,
    headers: &HeaderMap,
) -> Option<ApiError> {
    let length = uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if length > super::MAX_URI {
        return Some(uri_too_long());
    }
    let mut values = headers.get_all(header::HOST).iter();
    let named = match (values.next(), values.next()) {
        (Some(host), None) => match Authority::try_from(host.as_bytes()) {
            Ok(host) => Some(host),
            Err(_) => return Some(ApiError::header("Host", "is not a host name")),
        },
        (Some(_), Some(_)) => return Some(ApiError::header("Host", "must not be repeated")),
        (None, _) if version == Version::HTTP_11 => {
            return Some(ApiError::header("Host", "is required in HTTP/1.1"));
        }
        (None, _) => None,
    };
    let refused = named
        .as_ref()
        .into_iter()
        .chain(uri.authority())
        .find(|authority| !hosts.allow(authority.host()))?;
    let detail = format!(
        "This service does not answer to the name {:?}. Call it by address, as localhost, or add the \
         name to ORDERS_ALLOWED_HOSTS.",
        refused.host()
    );
    Some(ApiError::new(Code::MisdirectedRequest, detail))
}

/// Makes the answer to a refused write.
type Refusal = fn(ProtectionError) -> Response;

/// Refuses writes that a browser sends for another site; `None` where every site is allowed.
#[must_use]
pub fn refuse_cross_site(cors_origins: &[String]) -> Option<CsrfLayer<Refusal>> {
    if cors_origins.iter().any(|origin| origin == "*") {
        return None;
    }
    let refused: Refusal = |_| {
        let detail = "A page of another site has sent this write. Add the page's origin to \
                      ORDERS_CORS_ORIGINS where it may do so.";
        ApiError::new(Code::CrossSiteRequest, detail).into_response()
    };
    let mut layer = CsrfLayer::new();
    for origin in cors_origins {
        match layer.clone().add_trusted_origin(origin) {
            Ok(with_origin) => layer = with_origin,
            Err(error) => {
                warn!(%error, origin, "a CORS origin cannot be one, its writes are refused");
            }
        }
    }
    Some(layer.with_rejection_response(refused))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(host: Option<&'static str>, uri: &str) -> Option<Code> {
        let hosts = AllowedHosts::new(&["Shop.example".to_owned()]);
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert(header::HOST, host.parse().unwrap());
        }
        let error = target_error(&hosts, Version::HTTP_11, &uri.parse().unwrap(), &headers);
        error.map(|error| error.code)
    }

    #[test]
    fn addresses_localhost_and_named_hosts_are_taken() {
        let taken = [
            "127.0.0.1:8080",
            "192.0.2.7",
            "[::1]:8080",
            "localhost",
            "LOCALHOST:80",
            "shop.example",
            "SHOP.EXAMPLE:443",
        ];
        for host in taken {
            assert_eq!(code(Some(host), "/"), None, "{host}");
        }
    }

    #[test]
    fn other_names_are_misdirected() {
        for host in [
            "evil.example",
            "localhost.evil.example",
            "shop.example.evil",
            "127.0.0.1.nip.io",
        ] {
            assert_eq!(
                code(Some(host), "/"),
                Some(Code::MisdirectedRequest),
                "{host}"
            );
        }
        let absolute = code(Some("localhost"), "http://evil.example/v1/orders");
        assert_eq!(absolute, Some(Code::MisdirectedRequest));
    }

    #[test]
    fn a_host_must_be_there_and_readable() {
        assert_eq!(code(None, "/"), Some(Code::InvalidHeader));
        assert_eq!(code(Some("a b"), "/"), Some(Code::InvalidHeader));
        assert_eq!(code(Some(""), "/"), Some(Code::InvalidHeader));
    }

    #[test]
    fn a_long_target_is_refused() {
        let target = format!("/{}", "x".repeat(super::super::MAX_URI));
        assert_eq!(code(Some("localhost"), &target), Some(Code::UriTooLong));
    }
}
