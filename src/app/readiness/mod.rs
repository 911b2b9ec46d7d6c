//! Readiness: once a second one task looks at all parts, and every request for readiness or metrics
//! shows what it found last. So no flood of requests reaches the database.
//!
//! What only one process knows of (the relay and the projector run in one process at a time) is read from
//! the database, so every process shows it.
//!
//! `unavailable` means that commands or reads fail: PostgreSQL or its read replica does not answer, or takes
//! no writes. With any other problem they are answered: `degraded`.

mod checks;
mod figures;
mod lag;
mod own_connection;

use std::time::Duration;

use metrics::gauge;
use sqlx::postgres::PgConnectOptions;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at},
};

use self::{
    figures::{Figures, ReadModel, Relay, Store},
    lag::{Lag, LagWatch, StoreEnd},
    own_connection::OwnConnection,
};
use super::background::BackgroundTasks;
use crate::{
    event_sourcing::Position,
    http::operations::checks::{Check, PartState, Readiness},
    nats::{self, Alarm},
    postgres::{
        AppendWatch,
        condition::{self, ExpiredLease, Missing, StoreCondition},
    },
    read_model,
};

/// How often the parts are looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// Looks at the parts of the service.
pub(super) struct Observer {
    connect: PgConnectOptions,
    store: OwnConnection,
    /// Where the read model is read, if that is another server.
    replica: Option<OwnConnection>,
    appends: AppendWatch,
    nats: async_nats::Client,
    alarm: Alarm,
    end: StoreEnd,
    read_model: LagWatch,
    relay: LagWatch,
}

impl Observer {
    /// Observes the database of `connect`, the `replica` that serves reads, if there is one, and this
    /// process's own parts.
    pub(super) fn new(
        connect: PgConnectOptions,
        replica: Option<PgConnectOptions>,
        appends: AppendWatch,
        nats: async_nats::Client,
        alarm: Alarm,
    ) -> Self {
        Self {
            store: OwnConnection::new(connect.clone()),
            connect,
            replica: replica.map(OwnConnection::new),
            appends,
            nats,
            alarm,
            end: StoreEnd::default(),
            read_model: LagWatch::default(),
            relay: LagWatch::default(),
        }
    }

    /// Looks once before it returns, and then once a second in a task.
    pub(super) async fn start(mut self, tasks: &mut BackgroundTasks) -> watch::Receiver<Readiness> {
        let (sender, receiver) = watch::channel(self.readiness().await);
        tasks.spawn_and_drop("readiness", async move {
            let mut ticks = interval_at(Instant::now() + PERIOD, PERIOD);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                sender.send_replace(self.readiness().await);
            }
        });
        receiver
    }

    async fn readiness(&mut self) -> Readiness {
        let figures = self.look().await;
        let checks = checks::checks(&figures);
        measure(&figures, &checks);
        Readiness::of(checks)
    }

    async fn look(&mut self) -> Figures {
        let reads = self.replica.as_mut().unwrap_or(&mut self.store);
        let progress = reads.ask(read_model::read_progress).await;
        let checkpoint = progress.map_or(Position::ZERO, |(position, _)| position);
        let appends = &self.appends;
        let seen = self.store.ask(async |connection| {
            let condition = condition::read(connection, checkpoint).await?;
            let expired = condition::read_expired_leases(connection).await?;
            let fail_elsewhere = appends.exchange(connection).await?;
            Ok((condition, expired, fail_elsewhere))
        });
        let seen = seen.await;
        if let Ok((condition, _, fail_elsewhere)) = &seen {
            self.end.update(condition.newest);
            if condition.is_read_only {
                // A new session takes writes once the server does; an old one may not.
                self.store.forget();
            }
            self.appends.try_again(&self.connect, *fail_elsewhere).await;
        }
        let unapplied = seen
            .as_ref()
            .map_or_else(|_| Missing::default(), |(seen, ..)| seen.unapplied);
        let failure = self.appends.failure();
        Figures {
            read_model: progress.map(|(position, parked)| ReadModel {
                position,
                lag: self.read_model.look(position, self.end, unapplied),
                parked: u64::try_from(parked).unwrap_or(0),
            }),
            store: seen.map(|(condition, expired, _)| self.store(condition, &expired)),
            append_failure: failure.map(|failure| (failure.reason, failure.since.elapsed())),
            is_nats_connected: nats::is_connected(&self.nats),
            projector_alarm: self.alarm.of("subscriber"),
        }
    }

    fn store(&mut self, condition: StoreCondition, expired: &[ExpiredLease]) -> Store {
        // A lease that was never taken is not missed: then nobody can write, which is reported anyway.
        let expired_for = |name| {
            let lease = expired.iter().find(|lease| lease.name == name);
            lease.map_or(Duration::ZERO, |lease| lease.expired_for)
        };
        let relay = condition.relay;
        Store {
            newest: condition.newest,
            is_standby: condition.is_standby,
            is_read_only: condition.is_read_only,
            relay: Relay {
                position: relay.position,
                lag: self.relay.look(relay.position, self.end, relay.unpublished),
                failure: relay.failure,
                lease_expired_for: expired_for("relay"),
            },
            projector_lease_expired_for: expired_for("projector"),
        }
    }
}

/// Shows the figures as metrics. What is not known keeps its last value.
#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge is a float; positions stay exact up to 2^53"
)]
fn measure(figures: &Figures, checks: &[Check]) {
    if let Ok(store) = &figures.store {
        let Lag { events, late } = store.relay.lag;
        gauge!("orders_store_position").set(store.newest.get() as f64);
        gauge!("orders_relay_lag_events").set(events as f64);
        gauge!("orders_relay_lag_seconds").set(late.as_secs_f64());
    }
    if let Ok(model) = &figures.read_model {
        let Lag { events, late } = model.lag;
        gauge!("orders_parked").set(model.parked as f64);
        gauge!("orders_projection_lag_events").set(events as f64);
        gauge!("orders_projection_lag_seconds").set(late.as_secs_f64());
    }
    for check in checks {
        let state = match check.status {
            PartState::Ok => 0.0,
            PartState::Degraded => 1.0,
            PartState::Unavailable => 2.0,
        };
        gauge!("orders_part_state", "part" => check.name).set(state);
    }
}
