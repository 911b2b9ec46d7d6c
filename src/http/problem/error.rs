//! What went wrong, as an answer: the one place that turns errors into codes. What these mean to clients
//! is in [`super::document`].
//!
//! Handlers return [`ApiError`]; the layer in [`crate::http::server::context`] writes the body, because only it
//! knows the request's path and id. Internal causes go to the log there, once, and never into a
//! body.

use std::{borrow::Cow, error::Error, sync::Arc};

use super::document::summary;
pub use super::document::{Code, FieldError, Problem};
use crate::{
    event_sourcing::{ExecuteError, StoreError, Version},
    order::{InvalidMoney, Order, OrderError, Status},
};
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

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
        let is_asked =
            matches!(self.code.status(), 429 | 503) || self.code == Code::IdempotencyInProgress;
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
