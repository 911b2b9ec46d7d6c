//! The words of errors as clients see them (RFC 9457): codes, their statuses and titles, bad fields, and
//! the body that shows them.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

use crate::order::Status;

macro_rules! codes {
    ($($name:ident $status:literal $code:literal $retryable:literal $title:literal,)*) => {
        /// What is wrong, in the contract's words.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $(
                #[doc = $title]
                $name,
            )*
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// The name that programs look at.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// Whether the same request can succeed later.
            #[must_use]
            pub const fn is_retryable(self) -> bool {
                match self { $(Self::$name => $retryable,)* }
            }

            /// The headline that people read.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    MalformedJson 400 "malformed_json" false "The body is not well-formed JSON",
    InvalidParameter 400 "invalid_parameter" false "A parameter is not valid",
    InvalidHeader 400 "invalid_header" false "A header is not valid",
    InvalidCursor 400 "invalid_cursor" false "The cursor does not belong to this list",
    PageTooDeep 400 "page_too_deep" false "The page is too deep; go on with the cursor",
    OrderNotFound 404 "order_not_found" false "There is no such order",
    ItemNotFound 404 "item_not_found" false "The order has no such item",
    VersionNotFound 404 "version_not_found" false "The order has no such version",
    RouteNotFound 404 "route_not_found" false "There is nothing at this path",
    MethodNotAllowed 405 "method_not_allowed" false "The path does not take this method",
    NotAcceptable 406 "not_acceptable" false "The answer is not available in an accepted type",
    OrderAlreadyExists 409 "order_already_exists" false "Another order has this id",
    OrderNotOpen 409 "order_not_open" false "The order cannot be changed any more",
    OrderHasNoItems 409 "order_has_no_items" false "The order has no items",
    ItemAlreadyExists 409 "item_already_exists" false "The order has, or had, another item with this id",
    VersionConflict 409 "version_conflict" false "The order was changed by someone else",
    WriteContention 409 "write_contention" true "Too many others changed the order meanwhile",
    IdempotencyInProgress 409 "idempotency_in_progress" true "A request with this key is still running",
    PreconditionFailed 412 "version_conflict" false "The order was changed by someone else",
    PayloadTooLarge 413 "payload_too_large" false "The body is too large",
    UnsupportedMediaType 415 "unsupported_media_type" false "The body must be application/json",
    ValidationFailed 422 "validation_failed" false "The request has invalid fields",
    LimitExceeded 422 "limit_exceeded" false "The order would exceed a limit",
    IdempotencyKeyReused 422 "idempotency_key_reused" false "The key was used for another request",
    RateLimited 429 "rate_limited" true "Too many requests; try again in a moment",
    InternalError 500 "internal_error" false "Something went wrong on our side",
    Overloaded 503 "overloaded" true "Too many commands are waiting; this one was not applied",
    StoreUnavailable 503 "store_unavailable" true "The store does not answer; nothing was applied",
    Timeout 503 "timeout" true "No answer in time; the request may have been applied",
    ReadModelBehind 503 "read_model_behind" true "The read model does not hold that write yet",
}

/// One bad field, parameter or header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Where in the body (a JSON pointer as a URI fragment).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "#/quantity")]
    pub pointer: Option<String>,
    /// Which query or path parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// Which header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<&'static str>,
    /// What is wrong, for programs.
    #[schema(example = "out_of_range")]
    pub code: &'static str,
    /// What is wrong, for people.
    #[schema(example = "must be between 1 and 10000")]
    pub detail: Cow<'static, str>,
}

impl FieldError {
    /// A bad field of the body.
    pub fn pointer(
        pointer: impl Into<String>,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        let detail = detail.into();
        Self {
            pointer: Some(pointer.into()),
            parameter: None,
            header: None,
            code,
            detail,
        }
    }

    /// A bad query or path parameter.
    pub fn parameter(
        parameter: impl Into<String>,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        let detail = detail.into();
        Self {
            pointer: None,
            parameter: Some(parameter.into()),
            header: None,
            code,
            detail,
        }
    }

    /// A bad header.
    pub fn header(
        header: &'static str,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            pointer: None,
            parameter: None,
            header: Some(header),
            code,
            detail: detail.into(),
        }
    }
}

/// The body of an error, as documented.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem<'a> {
    /// Names the kind of problem.
    #[schema(example = "/problems/version-conflict")]
    pub r#type: String,
    /// The headline.
    #[schema(example = "The order was changed by someone else")]
    pub title: &'static str,
    /// The HTTP status.
    #[schema(example = 412)]
    pub status: u16,
    /// What is wrong with this request.
    #[schema(example = "If-Match asked for version 2 but the order is at version 4.")]
    pub detail: &'a str,
    /// The request's path.
    pub instance: &'a str,
    /// The problem's kind, for programs.
    #[schema(example = "version_conflict")]
    pub code: &'static str,
    /// The request's id, as in the logs.
    pub request_id: &'a str,
    /// Whether the same request can succeed later.
    pub retryable: bool,
    /// The version that the client expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<i32>,
    /// The version that is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_version: Option<i32>,
    /// The order's status.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub current_status: Option<Status>,
    /// Every bad field.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub errors: &'a [FieldError],
}

/// One sentence about all bad fields.
pub(super) fn summary(errors: &[FieldError]) -> String {
    match errors {
        [error] => {
            let name = error
                .pointer
                .as_deref()
                .or(error.parameter.as_deref())
                .unwrap_or("It");
            format!("{name} {}.", error.detail)
        }
        _ => format!(
            "{} fields are not valid; each is listed in errors.",
            errors.len()
        ),
    }
}
