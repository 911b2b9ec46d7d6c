//! Problem documents in place of the empty answers that hyper gives to a request whose head it cannot
//! read. No service is asked then, so there is no request id but the one made here.

use bytes::Bytes;
use tracing::debug;

use crate::http::{
    problem::{ApiError, Code},
    request::context::new_id,
};

/// The longest answer that hyper writes by itself.
const LONGEST: usize = 256;

/// The answer in place of `bytes`, where these are one of hyper's own.
pub(super) fn replacement(bytes: &[u8]) -> Option<Bytes> {
    let is_whole = bytes.len() <= LONGEST && bytes.ends_with(b"\r\n\r\n");
    let status = bytes
        .strip_prefix(b"HTTP/1.")
        .filter(|_| is_whole)?
        .get(2..5)?;
    let error = match status {
        b"400" => ApiError::new(
            Code::InvalidHeader,
            "The request line or a header cannot be read as HTTP/1.1.",
        ),
        b"414" => uri_too_long(),
        b"431" => headers_too_large(),
        _ => return None,
    };
    Some(written(&error))
}

/// 414
pub(super) fn uri_too_long() -> ApiError {
    ApiError::new(
        Code::UriTooLong,
        format!("Path and query have more than {} bytes.", super::MAX_URI),
    )
}

/// 431
fn headers_too_large() -> ApiError {
    ApiError::new(
        Code::HeadersTooLarge,
        format!(
            "The request line and headers have more than {} bytes, or there are more than {} headers.",
            super::MAX_HEAD,
            super::MAX_HEADERS
        ),
    )
}

fn written(error: &ApiError) -> Bytes {
    let request_id = new_id().to_string();
    debug!(
        request_id,
        code = error.code.as_str(),
        "a request's head cannot be read"
    );
    let problem = error.problem("", &request_id);
    let body = serde_json::to_string(&problem).unwrap_or_default();
    let (status, length) = (error.code.status(), body.len());
    let title = match status.as_u16() {
        414 => "URI Too Long",
        431 => "Request Header Fields Too Large",
        _ => "Bad Request",
    };
    format!(
        "HTTP/1.1 {} {title}\r\ncontent-type: application/problem+json\r\n\
         content-length: {length}\r\ncache-control: no-store\r\nx-request-id: {request_id}\r\n\
         x-content-type-options: nosniff\r\nconnection: close\r\n\r\n{body}",
        status.as_u16()
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_answer_of_hyper_becomes_a_problem_document() {
        let empty = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
                      content-length: 0\r\ndate: Sat, 28 Nov 2026 20:00:00 GMT\r\n\r\n";

        let answer = replacement(empty).unwrap();

        let answer = std::str::from_utf8(&answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        assert!(
            answer.contains("\"code\":\"headers_too_large\""),
            "{answer}"
        );
    }

    #[test]
    fn other_bytes_are_left_alone() {
        assert_eq!(replacement(b"HTTP/1.1 200 OK\r\n\r\n"), None);
        assert_eq!(replacement(b"HTTP/1.1 400 Bad Request\r\n\r\n{}"), None);
        assert_eq!(replacement(b"{\"id\": 400}"), None);
        assert_eq!(replacement(b""), None);
    }
}
