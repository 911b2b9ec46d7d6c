//! Versions in headers: `ETag`, `If-Match`, `If-None-Match`.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::digits::whole_number;
use crate::{event_sourcing::Version, http::problem::ApiError};

/// Makes the `ETag` of a version.
///
/// # Errors
/// 500 if the version cannot be a header.
pub fn etag(version: Version) -> Result<HeaderValue, ApiError> {
    HeaderValue::try_from(format!("\"{version}\"")).map_err(ApiError::internal)
}

/// The condition of `If-Match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfMatch {
    /// `*`: the order must exist.
    Exists,
    /// The order must be at this version.
    Version(Version),
}

/// Reads `If-Match`.
///
/// # Errors
/// 400 `invalid_header` if the value is neither `*` nor one quoted version.
pub fn if_match(headers: &HeaderMap) -> Result<Option<IfMatch>, ApiError> {
    let Some(value) = single(headers, &header::IF_MATCH, "If-Match")? else {
        return Ok(None);
    };
    if value == "*" {
        return Ok(Some(IfMatch::Exists));
    }
    let version = tag_version(value)
        .ok_or_else(|| ApiError::header("If-Match", "must be * or one version, as in \"4\""))?;
    Ok(Some(IfMatch::Version(version)))
}

/// Reads the version in `"4"` or `W/"4"`. A number that is too large becomes [`i32::MAX`], which no
/// order reaches.
fn tag_version(tag: &str) -> Option<Version> {
    let digits = tag
        .strip_prefix("W/")
        .unwrap_or(tag)
        .strip_prefix('"')?
        .strip_suffix('"')?;
    let is_canonical = digits == "0" || !digits.starts_with('0');
    let number = whole_number(digits).filter(|_| is_canonical)?;
    Some(Version::new(i32::try_from(number).unwrap_or(i32::MAX)))
}

/// The versions in `If-None-Match`: those that the client has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IfNoneMatch {
    any: bool,
    versions: Vec<Version>,
}

impl IfNoneMatch {
    /// Reads the header. A tag that is not a version matches nothing (RFC 9110).
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::IF_NONE_MATCH);
        let tags: Vec<&str> = values
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .collect();
        Self {
            any: tags.contains(&"*"),
            versions: tags.iter().filter_map(|tag| tag_version(tag)).collect(),
        }
    }

    /// Whether the client has this version.
    #[must_use]
    pub fn matches(&self, version: Version) -> bool {
        self.any || self.versions.contains(&version)
    }

    /// The newest version that the client has.
    #[must_use]
    pub fn newest(&self) -> Option<Version> {
        self.versions
            .iter()
            .copied()
            .filter(|version| version.get() < i32::MAX)
            .max()
    }
}

/// Returns the only value of a header, trimmed. `label` is its name in errors.
pub(super) fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    label: &'static str,
) -> Result<Option<&'a str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(ApiError::header(label, "must not be repeated"));
    }
    let text = value.to_str().map(str::trim);
    text.map(Some)
        .map_err(|_| ApiError::header(label, "must be printable ASCII"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weak_tag_counts_as_its_version() {
        assert_eq!(tag_version("W/\"4\""), Some(Version::new(4)));
        assert_eq!(tag_version("\"4\""), Some(Version::new(4)));
        for unreadable in [
            "4",
            "\"\"",
            "\"x\"",
            "\"-1\"",
            "w/\"4\"",
            "\"04\"",
            "\"4",
            "\"1\", \"2\"",
        ] {
            assert_eq!(tag_version(unreadable), None, "{unreadable}");
        }
    }
}
