//! Errors as clients see them (RFC 9457): the only place that knows statuses.
//!
//! Handlers return [`ApiError`]; the layer in [`super::context`] writes the body, because only it
//! knows the request's path and id. Internal causes go to the log there, once, and never into a
//! body.

use std::{borrow::Cow, error::Error, sync::Arc};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    event_sourcing::{ExecuteError, StoreError, Version},
    order::{InvalidMoney, Order, OrderError, Status},
};

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

/// The versions of a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conflict {
    /// What the client expected.
    pub expected: Version,
    /// What is there.
    pub current: Version,
}

/// An error on its way to the client.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// What is wrong.
    pub code: Code,
    /// What is wrong, with its values, written for clients.
    pub detail: Cow<'static, str>,
    /// Every bad field.
    pub errors: Vec<FieldError>,
    /// The versions, where they are the matter.
    pub conflict: Option<Conflict>,
    /// The order's status, where it is the matter.
    pub current_status: Option<Status>,
    /// What happened inside: for the log only.
    pub cause: Option<Arc<dyn Error + Send + Sync>>,
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

impl ApiError {
    /// An error with a detail for clients.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: vec![],
            conflict: None,
            current_status: None,
            cause: None,
        }
    }

    /// One bad header.
    pub fn header(header: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let error = FieldError::header(header, "invalid", detail);
        let detail = format!("{header} {}.", error.detail);
        Self {
            errors: vec![error],
            ..Self::new(Code::InvalidHeader, detail)
        }
    }

    /// Bad query or path parameters.
    #[must_use]
    pub fn parameters(errors: Vec<FieldError>) -> Self {
        let detail = summary(&errors);
        Self {
            errors,
            ..Self::new(Code::InvalidParameter, detail)
        }
    }

    /// Bad fields of the body.
    #[must_use]
    pub fn fields(errors: Vec<FieldError>) -> Self {
        let limits_only = errors
            .iter()
            .all(|error| error.code == Code::LimitExceeded.as_str());
        let code = if limits_only {
            Code::LimitExceeded
        } else {
            Code::ValidationFailed
        };
        let detail = summary(&errors);
        Self {
            errors,
            ..Self::new(code, detail)
        }
    }

    /// Adds what happened inside, for the log.
    #[must_use]
    pub fn because(mut self, cause: impl Error + Send + Sync + 'static) -> Self {
        self.cause = Some(Arc::new(cause));
        self
    }

    /// The body.
    #[must_use]
    pub fn problem<'a>(&'a self, instance: &'a str, request_id: &'a str) -> Problem<'a> {
        Problem {
            r#type: format!("/problems/{}", self.code.as_str().replace('_', "-")),
            title: self.code.title(),
            status: self.code.status(),
            detail: &self.detail,
            instance,
            code: self.code.as_str(),
            request_id,
            retryable: self.code.is_retryable(),
            expected_version: self.conflict.map(|conflict| conflict.expected.get()),
            current_version: self.conflict.map(|conflict| conflict.current.get()),
            current_status: self.current_status,
            errors: &self.errors,
        }
    }

    /// A refusal of the domain. `price_pointer` says where the body holds the price of an item.
    pub fn refused(refusal: &OrderError, price_pointer: fn(usize) -> String) -> Self {
        let detail = capitalised(&refusal.to_string());
        match refusal {
            OrderError::NotFound => Self::new(Code::OrderNotFound, detail),
            OrderError::AlreadyExists => Self::new(Code::OrderAlreadyExists, detail),
            OrderError::NotOpen { status } => Self {
                current_status: Some(*status),
                ..Self::new(Code::OrderNotOpen, detail)
            },
            OrderError::NoItems => Self::new(Code::OrderHasNoItems, detail),
            OrderError::ItemNotFound { .. } => Self::new(Code::ItemNotFound, detail),
            OrderError::ItemAlreadyExists { .. } => Self::new(Code::ItemAlreadyExists, detail),
            OrderError::InvalidPrice { index, reason } => {
                Self::fields(vec![price_error(price_pointer(*index), *reason)])
            }
            OrderError::TooManyLines | OrderError::TotalTooLarge => {
                Self::new(Code::LimitExceeded, detail)
            }
        }
    }

    /// A command that did not succeed. `from_header` says whether the expected version came from
    /// `If-Match`.
    pub fn executing(
        error: ExecuteError<Order>,
        from_header: bool,
        price_pointer: fn(usize) -> String,
    ) -> Self {
        match error {
            ExecuteError::Refused(refusal) => Self::refused(&refusal, price_pointer),
            ExecuteError::VersionConflict { expected, current } => {
                let (code, asker) = if from_header {
                    (Code::PreconditionFailed, "If-Match")
                } else {
                    (Code::VersionConflict, "expectedVersion")
                };
                let current_version = current.version;
                let detail = format!(
                    "{asker} asked for version {expected} but the order is at version \
                     {current_version}."
                );
                Self {
                    conflict: Some(Conflict {
                        expected,
                        current: current_version,
                    }),
                    current_status: current.state.state().map(|order| order.status),
                    ..Self::new(code, detail)
                }
            }
            ExecuteError::Contention => Self::new(
                Code::WriteContention,
                "Others kept changing the order; try again.",
            ),
            ExecuteError::KeyInProgress => Self::new(
                Code::IdempotencyInProgress,
                "A request with this Idempotency-Key is still running.",
            ),
            ExecuteError::KeyReused => Self::new(
                Code::IdempotencyKeyReused,
                "This Idempotency-Key was used for a request with another method, path or body.",
            ),
            ExecuteError::Store(error) => error.into(),
        }
    }

    fn retry_after(&self) -> Option<HeaderValue> {
        let is_asked = self.code.status() == 503 || self.code == Code::IdempotencyInProgress;
        is_asked.then(|| HeaderValue::from_static("1"))
    }
}

/// A price that is no amount of the order's currency.
#[must_use]
pub fn price_error(pointer: String, reason: InvalidMoney) -> FieldError {
    let code = match reason {
        InvalidMoney::Malformed => "invalid_money",
        InvalidMoney::TooPrecise => "money_precision",
        InvalidMoney::TooLarge => Code::LimitExceeded.as_str(),
    };
    FieldError::pointer(pointer, code, reason.to_string())
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let (code, detail) = match &error {
            StoreError::Overloaded => (
                Code::Overloaded,
                "Too many commands are waiting. This one was not applied.",
            ),
            StoreError::Unavailable(_) => (
                Code::StoreUnavailable,
                "The store does not answer. Nothing was changed.",
            ),
            StoreError::Unknown(_) => (
                Code::Timeout,
                "The store did not answer in time. The command may have been applied: repeat it \
                 with the same Idempotency-Key.",
            ),
            StoreError::Corrupt { .. } => (Code::InternalError, "The error was logged."),
        };
        Self::new(code, detail).because(error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status());
        let mut response = status
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response();
        if let Some(retry_after) = self.retry_after() {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, retry_after);
        }
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// One sentence about all bad fields.
fn summary(errors: &[FieldError]) -> String {
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

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(char::to_uppercase);
    first
        .into_iter()
        .flatten()
        .chain(characters)
        .chain(['.'])
        .collect()
}
