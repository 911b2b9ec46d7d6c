//! What readiness consists of: the checks of the parts of the service.

use futures::future::BoxFuture;
use serde::Serialize;
use utoipa::ToSchema;

/// The state of one part of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PartState {
    /// It works.
    Ok,
    /// It has a problem, but commands and reads are still answered.
    Degraded,
    /// It does not work, and requests that need it fail.
    Unavailable,
}

/// The check of one part of the service.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// The part that was checked.
    #[schema(example = "postgres")]
    pub name: &'static str,
    /// Its state.
    pub status: PartState,
    /// Its state in words.
    #[schema(example = "answers")]
    pub detail: String,
}

/// The readiness of the service.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// The worst state of all checks. `unavailable` is answered with 503.
    pub status: PartState,
    /// All checks.
    pub checks: Vec<Check>,
}

impl Readiness {
    /// Sums up the checks.
    #[must_use]
    pub fn of(checks: Vec<Check>) -> Self {
        let is_any = |status| checks.iter().any(|check| check.status == status);
        let status = if is_any(PartState::Unavailable) {
            PartState::Unavailable
        } else if is_any(PartState::Degraded) {
            PartState::Degraded
        } else {
            PartState::Ok
        };
        Self { status, checks }
    }
}

/// The source of readiness and metrics.
pub trait Health: Send + Sync + 'static {
    /// Checks every part, within a second.
    fn checks(&self) -> BoxFuture<'_, Vec<Check>>;

    /// Returns the metrics in the Prometheus text format.
    fn metrics(&self) -> BoxFuture<'_, String>;
}
