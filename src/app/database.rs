//! Waits for PostgreSQL at the start.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::postgres::{self, PrepareError};

/// How long the start waits for PostgreSQL.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// The pause between two attempts.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Waits until PostgreSQL answers, and brings its schema up to date. `allow_unsafe` accepts a
/// database that may lose acknowledged data.
///
/// # Errors
/// PostgreSQL does not answer within 30 seconds, or cannot be used.
pub async fn wait_for_database(
    connect: &PgConnectOptions,
    allow_unsafe: bool,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + START_DEADLINE;
    let mut has_warned = false;
    loop {
        match postgres::prepare(connect, allow_unsafe).await {
            Ok(()) => return Ok(()),
            Err(PrepareError::Unavailable(error)) if Instant::now() < deadline => {
                if !has_warned {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "waiting for PostgreSQL"
                    );
                    has_warned = true;
                }
                sleep(RETRY_PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
