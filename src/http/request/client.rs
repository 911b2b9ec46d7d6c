//! The address of a client, as the connection or a trusted proxy tells it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};

/// The addresses that a request came through, one written by each proxy.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address that a request comes from: the peer of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// The client that the trusted proxies before this service name: the entry of `X-Forwarded-For`
    /// that the outermost of them has written, counted from the right. If there is none, or it is not
    /// an address, it is the peer of the connection: a client can forge what is further left.
    #[must_use]
    pub fn behind_proxies(self, headers: &HeaderMap, hops: usize) -> Self {
        let Some(from_right) = hops.checked_sub(1) else {
            return self;
        };
        let lines: Vec<_> = headers
            .get_all(X_FORWARDED_FOR)
            .iter()
            .map(|line| line.to_str().unwrap_or_default())
            .collect();
        let named = lines
            .iter()
            .rev()
            .flat_map(|line| line.rsplit(','))
            .nth(from_right);
        named.and_then(address).map_or(self, Self)
    }

    /// The address that counts: all addresses of one IPv6 `/64` network count as one, because one
    /// customer usually has the whole network.
    #[must_use]
    pub fn network(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            address @ IpAddr::V4(_) => address,
        }
    }
}

/// An address as proxies write it: with or without a port, an IPv6 address with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn forwarded(lines: &[&'static str], hops: usize) -> IpAddr {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_static(line));
        }
        client("192.0.2.1").behind_proxies(&headers, hops).0
    }

    #[test]
    fn the_client_is_the_entry_that_the_outermost_trusted_proxy_wrote() {
        let lines = ["203.0.113.9, 198.51.100.7", "198.51.100.8"];

        assert_eq!(forwarded(&lines, 0), client("192.0.2.1").0);
        assert_eq!(forwarded(&lines, 1), client("198.51.100.8").0);
        assert_eq!(forwarded(&lines, 2), client("198.51.100.7").0);
        assert_eq!(
            forwarded(&["[2001:db8::1]:443"], 1),
            client("2001:db8::1").0
        );
        assert_eq!(
            forwarded(&["198.51.100.8:9000"], 1),
            client("198.51.100.8").0
        );
    }

    #[test]
    fn without_a_readable_entry_the_client_is_the_peer() {
        assert_eq!(forwarded(&[], 1), client("192.0.2.1").0);
        assert_eq!(forwarded(&["203.0.113.9"], 2), client("192.0.2.1").0);
        assert_eq!(forwarded(&["unknown"], 1), client("192.0.2.1").0);
    }

    fn client(address: &str) -> ClientAddress {
        ClientAddress(address.parse().unwrap())
    }

    #[test]
    fn an_ipv6_network_counts_as_one_client() {
        let key = |address: &str| client(address).network();

        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::2"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
    }
}
