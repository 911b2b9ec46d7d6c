//! The codes of all problems, each with its HTTP status, its title, and whether a retry may help.

use axum::http::StatusCode;

macro_rules! codes {
    ($($name:ident $status:ident $code:literal $retryable:literal $title:literal,)*) => {
        /// What is wrong: one code of the contract with clients.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $(
                #[doc = $title]
                $name,
            )*
        }

        impl Code {
            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// The stable name, for programs.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// Whether the same request may succeed later.
            #[must_use]
            pub const fn is_retryable(self) -> bool {
                match self { $(Self::$name => $retryable,)* }
            }

            /// The title, for people.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    MalformedJson BAD_REQUEST "malformed_json" false "The body is not well-formed JSON",
    InvalidParameter BAD_REQUEST "invalid_parameter" false "A parameter is not valid",
    InvalidHeader BAD_REQUEST "invalid_header" false "A header is not valid",
    InvalidCursor BAD_REQUEST "invalid_cursor" false "The cursor does not belong to this list",
    PageTooDeep BAD_REQUEST "page_too_deep" false "The page is too deep; use the cursor",
    CrossSiteRequest FORBIDDEN "cross_site_request" false "A page of another site may not do this",
    OrderNotFound NOT_FOUND "order_not_found" false "There is no such order",
    ItemNotFound NOT_FOUND "item_not_found" false "The order has no such item",
    VersionNotFound NOT_FOUND "version_not_found" false "The order has no such version",
    RouteNotFound NOT_FOUND "route_not_found" false "There is nothing at this path",
    MethodNotAllowed METHOD_NOT_ALLOWED "method_not_allowed" false "The path does not support this method",
    NotAcceptable NOT_ACCEPTABLE "not_acceptable" false "The answer has a media type that Accept excludes",
    OrderAlreadyExists CONFLICT "order_already_exists" false "Another order has this id",
    OrderNotOpen CONFLICT "order_not_open" false "The order cannot be changed any more",
    OrderHasNoItems CONFLICT "order_has_no_items" false "The order has no items",
    ItemAlreadyExists CONFLICT "item_already_exists" false "The order has, or had, another item with this id",
    VersionConflict CONFLICT "version_conflict" false "The order was changed by someone else",
    WriteContention CONFLICT "write_contention" true "Other requests kept changing the order",
    IdempotencyInProgress CONFLICT "idempotency_in_progress" true "A request with this key is still running",
    PreconditionFailed PRECONDITION_FAILED "version_conflict" false "The order was changed by someone else",
    PayloadTooLarge PAYLOAD_TOO_LARGE "payload_too_large" false "The body is too large",
    UriTooLong URI_TOO_LONG "uri_too_long" false "The path and query are too long",
    UnsupportedMediaType UNSUPPORTED_MEDIA_TYPE "unsupported_media_type" false "The body must be application/json",
    MisdirectedRequest MISDIRECTED_REQUEST "misdirected_request" false "This service does not answer to that host name",
    ValidationFailed UNPROCESSABLE_ENTITY "validation_failed" false "The request has invalid fields",
    LimitExceeded UNPROCESSABLE_ENTITY "limit_exceeded" false "The order would exceed a limit",
    IdempotencyKeyReused UNPROCESSABLE_ENTITY "idempotency_key_reused" false "The key was used for another request",
    RateLimited TOO_MANY_REQUESTS "rate_limited" true "Too many requests; try again in a moment",
    HeadersTooLarge REQUEST_HEADER_FIELDS_TOO_LARGE "headers_too_large" false "The request head is too large",
    InternalError INTERNAL_SERVER_ERROR "internal_error" false "The service failed",
    Overloaded SERVICE_UNAVAILABLE "overloaded" true "The service has too much to do; nothing was applied",
    StoreUnavailable SERVICE_UNAVAILABLE "store_unavailable" true "The store does not answer; nothing was applied",
    Timeout SERVICE_UNAVAILABLE "timeout" true "No answer in time; the request may have been applied",
    ReadModelBehind SERVICE_UNAVAILABLE "read_model_behind" true "The read model does not hold that write yet",
}
