//! [`ApiError`]: the one place that turns inner errors into codes.
//!
//! Handlers return it. [`crate::http::server::error_body`] writes the body, because only that layer
//! knows the path and the id of the request. It also logs the internal cause, once; a cause never
//! gets into a body.

use std::{borrow::Cow, error::Error, sync::Arc};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{
    code::Code,
    document::{FieldError, Problem, summary},
};
use crate::{
    event_sourcing::{ExecuteError, StoreError, Version},
    order::{InvalidMoney, Order, OrderError, Status},
};

/// The detail of each error whose cause is internal.
const LOGGED: &str = "The error was logged.";

/// The two versions of a version conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conflict {
    /// The version that the client expected.
    pub expected: Version,
    /// The version that the order has.
    pub current: Version,
}

/// An error on its way to the client.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// The kind of problem.
    pub code: Code,
    /// What is wrong with this request: a sentence for clients.
    pub detail: Cow<'static, str>,
    /// Every invalid field, parameter or header.
    pub errors: Vec<FieldError>,
    /// The versions, if they conflict.
    pub conflict: Option<Conflict>,
    /// The order's status, if it is the reason for the error.
    pub current_status: Option<Status>,
    /// The internal cause, for the log only.
    pub cause: Option<Arc<dyn Error + Send + Sync>>,
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

    /// 500: an error of the service itself. The cause is logged.
    pub fn internal(cause: impl Error + Send + Sync + 'static) -> Self {
        Self::new(Code::InternalError, LOGGED).because(cause)
    }

    /// One invalid header.
    pub fn header(header: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let error = FieldError::header(header, "invalid", detail);
        let detail = format!("{header} {}.", error.detail);
        Self {
            errors: vec![error],
            ..Self::new(Code::InvalidHeader, detail)
        }
    }

    /// Invalid query or path parameters.
    #[must_use]
    pub fn parameters(errors: Vec<FieldError>) -> Self {
        let detail = summary(&errors);
        Self {
            errors,
            ..Self::new(Code::InvalidParameter, detail)
        }
    }

    /// Invalid fields of the body.
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

    /// Adds the internal cause, for the log.
    #[must_use]
    pub fn because(mut self, cause: impl Error + Send + Sync + 'static) -> Self {
        self.cause = Some(Arc::new(cause));
        self
    }

    /// The body of this error.
    #[must_use]
    pub fn problem<'a>(&'a self, instance: &'a str, request_id: &'a str) -> Problem<'a> {
        Problem {
            r#type: format!("/problems/{}", self.code.as_str().replace('_', "-")),
            title: self.code.title(),
            status: self.code.status().as_u16(),
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

    /// A refusal of the domain. `price_pointer` returns the pointer to the price of the item with
    /// this index.
    pub fn refused(refusal: &OrderError, price_pointer: fn(usize) -> String) -> Self {
        let detail = sentence(&refusal.to_string());
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

    /// A command that failed. `from_header` is true if the expected version came from `If-Match`;
    /// for `price_pointer` see [`Self::refused`].
    pub fn executing(
        error: ExecuteError<Order>,
        from_header: bool,
        price_pointer: fn(usize) -> String,
    ) -> Self {
        match error {
            ExecuteError::Refused(refusal) => Self::refused(&refusal, price_pointer),
            ExecuteError::VersionConflict { expected, current } => {
                let status = current.state.state().map(|order| order.status);
                let conflict = Conflict {
                    expected,
                    current: current.version,
                };
                Self::version_conflict(conflict, status, from_header)
            }
            ExecuteError::Contention => Self::new(
                Code::WriteContention,
                "Other requests kept changing the order; try again.",
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

    fn version_conflict(conflict: Conflict, status: Option<Status>, from_header: bool) -> Self {
        let (code, source) = if from_header {
            (Code::PreconditionFailed, "If-Match")
        } else {
            (Code::VersionConflict, "expectedVersion")
        };
        let Conflict { expected, current } = conflict;
        let detail =
            format!("{source} asked for version {expected} but the order is at version {current}.");
        Self {
            conflict: Some(conflict),
            current_status: status,
            ..Self::new(code, detail)
        }
    }

    fn retry_after(&self) -> Option<HeaderValue> {
        let may_pass = matches!(
            self.code.status(),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        ) || self.code == Code::IdempotencyInProgress;
        may_pass.then(|| HeaderValue::from_static("1"))
    }
}

/// A price that is not an amount of the order's currency.
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
            StoreError::Corrupt { .. } => (Code::InternalError, LOGGED),
        };
        Self::new(code, detail).because(error)
    }
}

impl IntoResponse for ApiError {
    /// The status and the headers. The error itself goes along as an extension, for the layer that
    /// writes the body.
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        if let Some(retry_after) = self.retry_after() {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, retry_after);
        }
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// The text with a capital letter at its start and a period at its end.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(char::to_uppercase);
    first
        .into_iter()
        .flatten()
        .chain(characters)
        .chain(['.'])
        .collect()
}
