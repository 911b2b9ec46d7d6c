//! What readiness consists of: the checks of the parts of the service.

use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::sync::watch;
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

/// The answer of liveness.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Liveness {
    /// Always `ok`.
    pub status: Alive,
}

/// The process runs.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Alive {
    /// It answers.
    Ok,
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

/// The sources of readiness and metrics. Both are only shown: nothing is asked or computed for a request.
pub struct Health {
    /// The last readiness.
    pub readiness: watch::Receiver<Readiness>,
    /// The metrics of this process.
    pub metrics: PrometheusHandle,
}
