//! Checks all the time whether PostgreSQL answers, on a connection of its own.
//!
//! A server that is stopped, cut off or overloaded keeps its connections open and does not answer.
//! Each query would wait until its own deadline. The heartbeat pings all the time, so that all
//! queries can fail at once after 1.4 seconds without an answer.
//!
//! The connection also carries the advisory lock of this process. It frees the process's leases when it
//! ends (see [`super::lease`]).

use std::time::Duration;

use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::{
    select,
    time::{sleep, timeout},
};
use tracing::{info, warn};
use uuid::Uuid;

use crate::event_sourcing::pulse::PulseSender;

/// The pause between two pings.
const PAUSE: Duration = Duration::from_millis(200);
/// The pause while the server does not answer. It is short, so that its return is noticed soon.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// After this time without an answer a second ping is sent on a new connection: the old one may be
/// cut.
const SECOND_PING_AFTER: Duration = Duration::from_millis(700);
/// After this time without any answer the server counts as dead.
const DEADLINE: Duration = Duration::from_millis(1400);

/// A server, and what its heartbeat keeps there.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    /// How to connect.
    pub connect: PgConnectOptions,
    /// The process whose advisory lock the connection carries; `None` on a server without leases.
    pub holder: Option<Uuid>,
}

/// Updates `pulse` until the task is dropped.
pub async fn run(heartbeat: Heartbeat, pulse: PulseSender) {
    let (mut connection, mut was_alive) = (None, true);
    loop {
        let answer = timeout(DEADLINE, ping(connection.take(), &heartbeat)).await;
        let is_alive = match answer {
            Ok(PingResult::Answered(kept)) => {
                connection = kept;
                true
            }
            Ok(PingResult::NoAnswer) | Err(_) => false,
        };
        pulse.set(is_alive);
        if is_alive != was_alive {
            was_alive = is_alive;
            metrics::counter!("orders_database_pulse_changes_total").increment(1);
            if is_alive {
                info!("PostgreSQL answers again");
            } else {
                warn!("PostgreSQL does not answer");
            }
        }
        sleep(if is_alive { PAUSE } else { RETRY_PAUSE }).await;
    }
}

/// The result of a ping.
enum PingResult {
    /// The server answered, perhaps only with an error; then there is no connection to keep.
    Answered(Option<PgConnection>),
    /// There was no answer, or an answer of a server that is starting or stopping.
    NoAnswer,
}

async fn ping(connection: Option<PgConnection>, heartbeat: &Heartbeat) -> PingResult {
    let Some(mut connection) = connection else {
        return ping_anew(heartbeat).await;
    };
    let first = async move {
        let answered = connection.ping().await;
        answered.map(|()| connection)
    };
    let second = async {
        sleep(SECOND_PING_AFTER).await;
        ping_anew(heartbeat).await
    };
    select! {
        answered = first => match answered {
            Ok(connection) => PingResult::Answered(Some(connection)),
            Err(_) => ping_anew(heartbeat).await,
        },
        answer = second => answer,
    }
}

async fn ping_anew(heartbeat: &Heartbeat) -> PingResult {
    match connect(heartbeat).await {
        Ok(connection) => PingResult::Answered(Some(connection)),
        // A server that starts (57P03) or stops (57P01) cannot serve queries.
        Err(sqlx::Error::Database(error))
            if !error.code().is_some_and(|code| code.starts_with("57")) =>
        {
            PingResult::Answered(None)
        }
        Err(_) => PingResult::NoAnswer,
    }
}

async fn connect(heartbeat: &Heartbeat) -> Result<PgConnection, sqlx::Error> {
    let mut connection = PgConnection::connect_with(&heartbeat.connect).await?;
    if let Some(holder) = heartbeat.holder {
        sqlx::query!("select pg_advisory_lock_shared(holder_lock($1))", holder)
            .execute(&mut connection)
            .await?;
    }
    Ok(connection)
}
