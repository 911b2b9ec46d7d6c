//! The problem document (RFC 9457) and the field errors in it.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

use crate::order::Status;

/// One invalid field, parameter or header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The place in the body: a JSON pointer as a URI fragment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "#/quantity")]
    pub pointer: Option<String>,
    /// The name of the query or path parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// The name of the header.
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
    /// An invalid field of the body.
    pub fn pointer(
        pointer: impl Into<String>,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            pointer: Some(pointer.into()),
            ..Self::without_place(code, detail.into())
        }
    }

    /// An invalid query or path parameter.
    pub fn parameter(
        parameter: impl Into<String>,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            parameter: Some(parameter.into()),
            ..Self::without_place(code, detail.into())
        }
    }

    /// An invalid header.
    pub fn header(
        header: &'static str,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            header: Some(header),
            ..Self::without_place(code, detail.into())
        }
    }

    fn without_place(code: &'static str, detail: Cow<'static, str>) -> Self {
        Self {
            pointer: None,
            parameter: None,
            header: None,
            code,
            detail,
        }
    }
}

/// The body of every error.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem<'a> {
    /// The kind of problem, as a URI reference.
    #[schema(example = "/problems/version-conflict")]
    pub r#type: String,
    /// The title of this kind of problem.
    #[schema(example = "The order was changed by someone else")]
    pub title: &'static str,
    /// The HTTP status.
    #[schema(example = 412)]
    pub status: u16,
    /// What is wrong with this request.
    #[schema(example = "If-Match asked for version 2 but the order is at version 4.")]
    pub detail: &'a str,
    /// The path of the request.
    pub instance: &'a str,
    /// The kind of problem, for programs.
    #[schema(example = "version_conflict")]
    pub code: &'static str,
    /// The id of the request, as in the logs.
    pub request_id: &'a str,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// The version that the client expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<i32>,
    /// The version that the order has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_version: Option<i32>,
    /// The status that the order has.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub current_status: Option<Status>,
    /// Every invalid field, parameter or header.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub errors: &'a [FieldError],
}

/// Sums up all field errors in one sentence.
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
