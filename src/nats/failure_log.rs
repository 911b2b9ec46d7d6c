//! Log lines and pauses for a loop whose steps may fail many times in a row.

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tracing::{debug, error, info, warn};

use crate::event_sourcing::error_chain;

/// How serious an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It usually passes without help.
    Warning,
    /// An operator has to act.
    Alarm,
}

/// The problems of this process that an operator has to solve now, one per task.
#[derive(Debug, Clone, Default)]
pub struct Alarm(Arc<Mutex<BTreeMap<&'static str, String>>>);

impl Alarm {
    /// The problem of a task, if it has one.
    #[must_use]
    pub fn of(&self, task: &str) -> Option<String> {
        let problems = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        problems.get(task).cloned()
    }

    pub(super) fn set(&self, task: &'static str, text: Option<String>) {
        metrics::gauge!("orders_alarm", "task" => task).set(f64::from(text.is_some()));
        let mut problems = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match text {
            Some(text) => problems.insert(task, text),
            None => problems.remove(task),
        };
    }
}

/// Logs an error when it differs from the last one, and lengthens the pause after each failure.
///
/// The first failures in a row are only logged for debugging: many errors pass at once, for example
/// a connection that is still being made at the start.
#[derive(Debug)]
pub struct FailureLog {
    task: &'static str,
    last_logged: Option<String>,
    failures_in_a_row: u32,
    pause: Duration,
    alarm: Alarm,
}

impl FailureLog {
    const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
    const LONGEST_PAUSE: Duration = Duration::from_secs(2);
    /// How many steps in a row must fail before a warning is logged.
    const WARN_AFTER: u32 = 3;

    /// The log of `task`, which has not failed yet.
    #[must_use]
    pub fn new(task: &'static str) -> Self {
        Self {
            task,
            last_logged: None,
            failures_in_a_row: 0,
            pause: Self::SHORTEST_PAUSE,
            alarm: Alarm::default(),
        }
    }

    /// Sets `alarm` while an operator has to act.
    #[must_use]
    pub fn with_alarm(mut self, alarm: Alarm) -> Self {
        self.alarm = alarm;
        self
    }

    /// Logs a failed step, and returns how long to wait before the next one.
    pub fn record_failure(&mut self, error: &dyn Error, severity: Severity) -> Duration {
        let text = error_chain(error);
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        let may_pass = severity == Severity::Warning && self.failures_in_a_row < Self::WARN_AFTER;
        if may_pass {
            debug!(task = self.task, error = text, "a step failed");
        } else if self.last_logged.as_ref() != Some(&text) {
            match severity {
                Severity::Warning => warn!(task = self.task, error = text, "steps keep failing"),
                Severity::Alarm => error!(
                    task = self.task,
                    error = text,
                    "a step failed and an operator has to act"
                ),
            }
            self.last_logged = Some(text);
            if severity == Severity::Alarm {
                self.alarm.set(self.task, Some(error.to_string()));
            }
        }
        let pause = self.pause;
        self.pause = pause.saturating_mul(2).min(Self::LONGEST_PAUSE);
        pause
    }

    /// Resets the pause after a good step; the next failure is logged again.
    pub fn record_success(&mut self) {
        self.pause = Self::SHORTEST_PAUSE;
        self.failures_in_a_row = 0;
        if self.last_logged.take().is_some() {
            self.alarm.set(self.task, None);
            info!(task = self.task, "steps succeed again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_sourcing::StoreError;

    #[test]
    fn the_pause_grows_with_each_failure_and_a_success_resets_it() {
        let mut failures = FailureLog::new("test");
        let error = StoreError::Overloaded;

        let first = failures.record_failure(&error, Severity::Warning);
        for _ in 0..20 {
            failures.record_failure(&error, Severity::Warning);
        }

        assert_eq!(
            failures.record_failure(&error, Severity::Warning),
            FailureLog::LONGEST_PAUSE
        );
        failures.record_success();
        assert_eq!(failures.record_failure(&error, Severity::Alarm), first);
    }
}
