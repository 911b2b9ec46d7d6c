//! The background tasks as a set: started by name, watched for an unexpected end, stopped together.
//! What a task does belongs to its own module.

use std::future::Future;

use anyhow::anyhow;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{event_sourcing::Lease, postgres::PgLease};

/// The running background tasks.
#[derive(Default)]
pub(super) struct BackgroundTasks {
    tasks: JoinSet<&'static str>,
    cancel: CancellationToken,
    leases: Vec<PgLease>,
}

impl BackgroundTasks {
    /// Starts a task that ends by itself when nothing uses it any more.
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.tasks.spawn(async move {
            task.await;
            name
        });
    }

    /// Starts a task that ends when its token is cancelled.
    pub(super) fn spawn_until_cancelled<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        name: &'static str,
        task: impl FnOnce(CancellationToken) -> F,
    ) {
        self.spawn(name, task(self.cancel.clone()));
    }

    /// Starts a task that is dropped when the tasks are cancelled.
    pub(super) fn spawn_and_drop(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.spawn_until_cancelled(name, |cancel| async move {
            cancel.run_until_cancelled(task).await;
        });
    }

    /// Gives this lease back when the tasks are stopped.
    pub(super) fn release_at_stop(&mut self, lease: PgLease) {
        self.leases.push(lease);
    }

    /// Waits until a task ends. No task ends before the service stops, so this is an error.
    pub(super) async fn first_end(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Ok(name)) => anyhow!("the {name} task ended unexpectedly"),
            Some(Err(error)) => anyhow!(error).context("a background task panicked"),
            None => anyhow!("there is no background task"),
        }
    }

    /// Cancels the tasks, gives their leases back so that other processes can take them at once,
    /// and waits until all tasks have ended.
    pub(super) async fn stop(mut self) {
        self.cancel.cancel();
        for lease in &self.leases {
            if let Err(error) = lease.release().await {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot give a lease back; it will run out"
                );
            }
        }
        while let Some(task) = self.tasks.join_next().await {
            if let Err(error) = task {
                error!(
                    error = &error as &dyn std::error::Error,
                    "a background task panicked"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_background_task_that_panics_or_ends_is_named() {
        let mut tasks = BackgroundTasks::default();
        tasks.spawn("writer", async { panic!("on purpose") });
        let panicked = tasks.first_end().await;
        tasks.spawn("relay", async {});
        let ended = tasks.first_end().await;

        assert!(format!("{panicked:#}").contains("a background task panicked"));
        assert_eq!(ended.to_string(), "the relay task ended unexpectedly");
    }
}
