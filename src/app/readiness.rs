//! The readiness checks of the running service: PostgreSQL, read model, NATS and relay.

use std::time::Duration;

use futures::{FutureExt, future::BoxFuture};
use metrics::gauge;
use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::PgPool;
use tokio::time::timeout;

use crate::{
    http::operations::checks::{Check, Health, PartState},
    nats::{self, Alarm},
    postgres,
    read_model::OrderViews,
};

/// How long each check may take.
const DEADLINE: Duration = Duration::from_millis(900);

/// Checks the parts of the running service.
pub struct ReadinessChecks {
    pool: PgPool,
    views: OrderViews,
    nats: async_nats::Client,
    relay: Alarm,
    metrics: PrometheusHandle,
}

impl ReadinessChecks {
    /// The checks of these parts; `relay` is the relay's alarm.
    #[must_use]
    pub fn new(
        pool: PgPool,
        views: OrderViews,
        nats: async_nats::Client,
        relay: Alarm,
        metrics: PrometheusHandle,
    ) -> Self {
        Self {
            pool,
            views,
            nats,
            relay,
            metrics,
        }
    }

    /// The state of this process's relay. If another process relays, there is never an alarm here.
    fn relay_check(&self) -> Check {
        let (status, detail) = match self.relay.text() {
            None => (
                PartState::Ok,
                "publishes while this process holds its lease".to_owned(),
            ),
            Some(alarm) => (PartState::Degraded, alarm),
        };
        Check {
            name: "relay",
            status,
            detail,
        }
    }

    /// Checks PostgreSQL and the read model.
    async fn store_checks(&self) -> Vec<Check> {
        let unavailable = |name, detail: &str| Check {
            name,
            status: PartState::Unavailable,
            detail: detail.to_owned(),
        };
        let Ok(Ok(last)) = timeout(DEADLINE, postgres::last_position(&self.pool)).await else {
            return vec![
                unavailable("postgres", "does not answer"),
                unavailable("readModel", "PostgreSQL does not answer"),
            ];
        };
        let postgres = Check {
            name: "postgres",
            status: PartState::Ok,
            detail: format!("answers; the last event is at position {last}"),
        };
        let read_model = match timeout(DEADLINE, self.views.progress()).await {
            Ok(Ok((position, 0))) => Check {
                name: "readModel",
                status: PartState::Ok,
                detail: format!("holds every event up to position {position}"),
            },
            Ok(Ok((position, parked))) => Check {
                name: "readModel",
                status: PartState::Degraded,
                detail: format!("is at position {position}; {parked} orders are parked"),
            },
            _ => unavailable("readModel", "does not answer"),
        };
        vec![postgres, read_model]
    }
}

impl Health for ReadinessChecks {
    fn checks(&self) -> BoxFuture<'_, Vec<Check>> {
        async {
            let mut checks = self.store_checks().await;
            let (status, detail) = if nats::is_connected(&self.nats) {
                (PartState::Ok, "connected")
            } else {
                (
                    PartState::Degraded,
                    "not connected; reads are delayed until it is connected again",
                )
            };
            checks.push(Check {
                name: "nats",
                status,
                detail: detail.to_owned(),
            });
            checks.push(self.relay_check());
            checks
        }
        .boxed()
    }

    fn metrics(&self) -> BoxFuture<'_, String> {
        async {
            // Counted on each request: any process may park an order, and a command may unpark it.
            // Without an answer the gauge keeps its last value.
            if let Ok(Ok((_, parked))) = timeout(DEADLINE, self.views.progress()).await {
                #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
                gauge!("orders_parked").set(parked as f64);
            }
            self.metrics.render()
        }
        .boxed()
    }
}
