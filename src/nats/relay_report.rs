//! The relay's report: up to which position the stream is filled, and why the relay gets no further. It
//! is kept where every process can read it, because only one relays.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::time::Instant;
use tracing::debug;

use crate::event_sourcing::{Position, StoreError};

/// The shortest time between two reports.
const INTERVAL: Duration = Duration::from_secs(1);

/// What the relay reports of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayReport {
    /// The position up to which the stream is filled, if the step has found out.
    pub position: Option<Position>,
    /// Why the step failed.
    pub failure: Option<String>,
}

/// Writes a report, and how long the steps have failed. False if another process holds the lease: then its
/// report counts.
pub type WriteReport = Arc<
    dyn Fn(RelayReport, Duration) -> BoxFuture<'static, Result<bool, StoreError>> + Send + Sync,
>;

/// Writes a report when it differs from the last one, once a second at most.
pub(super) struct Reporter {
    write: WriteReport,
    written: Option<RelayReport>,
    tried_at: Option<Instant>,
    failing_since: Option<Instant>,
}

impl Reporter {
    pub(super) fn new(write: WriteReport) -> Self {
        Self {
            write,
            written: None,
            tried_at: None,
            failing_since: None,
        }
    }

    /// Writes the next report even if it is like the last one: that may have been overwritten.
    pub(super) fn forget(&mut self) {
        self.written = None;
    }

    /// Takes the report of a step; `None` if there is nothing to say, because another process holds the
    /// lease or the database fails. A change that comes too early is written after a later step.
    pub(super) async fn report(&mut self, report: Option<RelayReport>) {
        let Some(report) = report else {
            // The next holder overwrites what was written.
            self.forget();
            return;
        };
        let now = Instant::now();
        self.failing_since = report
            .failure
            .as_ref()
            .map(|_| self.failing_since.unwrap_or(now));
        let is_early = self
            .tried_at
            .is_some_and(|tried_at| tried_at.elapsed() < INTERVAL);
        if is_early || self.written.as_ref() == Some(&report) {
            return;
        }
        self.tried_at = Some(now);
        let failing_for = self.failing_since.map(|since| now.duration_since(since));
        match (self.write)(report.clone(), failing_for.unwrap_or_default()).await {
            Ok(is_holder) => self.written = is_holder.then_some(report),
            // It is tried again; readiness says what is wrong with the database.
            Err(error) => debug!(%error, "the relay's report was not written"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::advance;

    use super::*;

    fn at(position: i64) -> RelayReport {
        RelayReport {
            position: Some(Position::new(position)),
            failure: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_is_written_when_it_changes_and_once_a_second_at_most() {
        let written = Arc::new(Mutex::new(vec![]));
        let log = Arc::clone(&written);
        let mut reporter = Reporter::new(Arc::new(move |report: RelayReport, _| {
            log.lock().unwrap().push(report.position.unwrap().get());
            Box::pin(async { Ok(true) })
        }));

        for position in [1, 2, 3] {
            reporter.report(Some(at(position))).await;
        }
        advance(INTERVAL).await;
        for position in [3, 3, 4] {
            reporter.report(Some(at(position))).await;
        }
        advance(INTERVAL).await;
        reporter.report(Some(at(3))).await;
        assert_eq!(*written.lock().unwrap(), [1, 3]);

        // Another process has held the lease in between.
        reporter.report(None).await;
        reporter.report(Some(at(3))).await;
        assert_eq!(*written.lock().unwrap(), [1, 3, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_counts_from_the_first_one_however_late_it_is_written() {
        let written = Arc::new(Mutex::new(vec![]));
        let log = Arc::clone(&written);
        let mut reporter = Reporter::new(Arc::new(move |_, failing_for: Duration| {
            log.lock().unwrap().push(failing_for);
            Box::pin(async { Ok(true) })
        }));
        let failed = RelayReport {
            position: None,
            failure: Some("full".to_owned()),
        };

        reporter.report(Some(at(1))).await;
        reporter.report(Some(failed.clone())).await;
        advance(INTERVAL).await;
        reporter.report(Some(failed)).await;
        advance(INTERVAL).await;
        reporter.report(Some(at(1))).await;

        let [none, late] = [Duration::ZERO, INTERVAL];
        assert_eq!(*written.lock().unwrap(), [none, late, none]);
    }
}
