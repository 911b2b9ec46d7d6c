//! Whether appends succeed, for readiness: the writer says so after each batch.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::time::{Instant, timeout};
use tracing::warn;

use crate::sql::error::reason;

/// How long a trial may take.
const TRIAL_DEADLINE: Duration = Duration::from_millis(900);

/// An append that is taken back. It waits for other appends, but not for long.
const TRIAL: &str = "begin; set local lock_timeout = '500ms'; \
    select append_event(gen_random_uuid(), 0, gen_random_uuid(), 'Trial', 'Trial', 1::smallint, \
                        '{}', '{}', now()); \
    rollback";

/// The name of the session in which a process shows that its appends fail, and its usual name. Nothing
/// need be written for that, so it works on a full disk.
const FAILING: &str = "orders: appends fail";
const NOT_FAILING: &str = "orders";

/// Why appends fail, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendFailure {
    /// When the first one failed.
    pub since: Instant,
    /// Why the last one failed.
    pub reason: &'static str,
}

/// What became of the last append.
#[derive(Debug, Clone, Default)]
pub struct AppendWatch(Arc<Mutex<Option<AppendFailure>>>);

impl AppendWatch {
    /// Why the last append failed; `None` if it succeeded.
    #[must_use]
    pub fn failure(&self) -> Option<AppendFailure> {
        *self.lock()
    }

    /// Shows the other processes, in the name of this session, whether appends fail here. Returns whether
    /// one of them shows that.
    ///
    /// # Errors
    /// When PostgreSQL fails.
    pub async fn exchange(&self, session: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let name = if self.failure().is_some() {
            FAILING
        } else {
            NOT_FAILING
        };
        let row = sqlx::query!(
            r#"select set_config('application_name', $1, false),
                      exists (select from pg_stat_activity
                              where datname = current_database() and application_name = $2
                                and pid <> pg_backend_pid()) as "fail_elsewhere!""#,
            name,
            FAILING,
        )
        .fetch_one(session)
        .await?;
        Ok(row.fail_elsewhere)
    }

    /// Tries an append if the last one failed, here or in another process. Clients that are told of the failure send no more
    /// commands, so without the trial nobody would notice that appends work again. The connection is a
    /// new one: an old session may keep a setting that was the cause, such as `transaction_read_only`.
    pub async fn try_again(&self, connect: &PgConnectOptions, fail_elsewhere: bool) {
        if self.failure().is_none() && !fail_elsewhere {
            return;
        }
        let tried = timeout(TRIAL_DEADLINE, async {
            let mut connection = PgConnection::connect_with(connect).await?;
            sqlx::raw_sql(TRIAL).execute(&mut connection).await?;
            connection.close().await
        });
        match tried.await {
            Ok(Ok(())) => self.record_success(),
            Ok(Err(error)) => self.record_failure(&error),
            // The next trial is as soon as the next look at the store.
            Err(_) => {}
        }
    }

    /// Notes that an append succeeded.
    pub(super) fn record_success(&self) {
        *self.lock() = None;
    }

    /// Notes that an append failed, although it was tried for a while.
    pub(super) fn record_failure(&self, error: &sqlx::Error) {
        let mut failure = self.lock();
        if failure.is_none() {
            warn!(error = error as &dyn std::error::Error, "appends fail");
        }
        *failure = Some(AppendFailure {
            since: failure.map_or_else(Instant::now, |failure| failure.since),
            reason: reason(error),
        });
    }

    fn lock(&self) -> MutexGuard<'_, Option<AppendFailure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
