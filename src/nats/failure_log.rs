//! Pauses and log lines of a loop that meets the same error again and again.

use std::{
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tracing::{debug, error, info, warn};

use crate::event_sourcing::error_chain;

/// How loud a trouble is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loudness {
    /// It passes by itself.
    Warning,
    /// Somebody has to act.
    Alarm,
}

/// What somebody has to act on right now, for whoever asks.
#[derive(Debug, Clone, Default)]
pub struct Alarm(Arc<Mutex<Option<String>>>);

impl Alarm {
    /// What is wrong; nothing while all is well.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, task: &'static str, text: Option<String>) {
        metrics::gauge!("orders_alarm", "task" => task).set(f64::from(text.is_some()));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

/// Remembers what a loop complained of last, so that each change is logged once and the pause
/// between attempts grows while the trouble lasts. What passes at once, such as a connection that
/// is still being made at the start, is not worth a line.
#[derive(Debug)]
pub struct FailureLog {
    task: &'static str,
    last: Option<String>,
    met: u32,
    pause: Duration,
    alarm: Alarm,
}

impl FailureLog {
    const SHORTEST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(2);
    /// How many steps in a row must fail before a warning is given.
    const PATIENCE: u32 = 3;

    /// No trouble yet in `task`.
    #[must_use]
    pub fn new(task: &'static str) -> Self {
        Self {
            task,
            last: None,
            met: 0,
            pause: Self::SHORTEST,
            alarm: Alarm::default(),
        }
    }

    /// Raises this alarm while somebody has to act.
    #[must_use]
    pub fn raising(mut self, alarm: Alarm) -> Self {
        self.alarm = alarm;
        self
    }

    /// Logs the error where it differs from the last one, and says how long to wait now.
    pub fn met(&mut self, trouble: &dyn Error, loudness: Loudness) -> Duration {
        let text = error_chain(trouble);
        self.met = self.met.saturating_add(1);
        let is_passing = loudness == Loudness::Warning && self.met < Self::PATIENCE;
        if is_passing {
            debug!(task = self.task, error = text, "a step failed");
        } else if self.last.as_ref() != Some(&text) {
            match loudness {
                Loudness::Warning => warn!(task = self.task, error = text, "steps fail"),
                Loudness::Alarm => error!(task = self.task, error = text, "a step was refused"),
            }
            self.last = Some(text);
            if loudness == Loudness::Alarm {
                self.alarm.set(self.task, Some(trouble.to_string()));
            }
        }
        let pause = self.pause;
        self.pause = pause.saturating_mul(2).min(Self::LONGEST);
        pause
    }

    /// A step went well: the next trouble is news again.
    pub fn over(&mut self) {
        self.pause = Self::SHORTEST;
        self.met = 0;
        if self.last.take().is_some() {
            self.alarm.set(self.task, None);
            info!(task = self.task, "all is well again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_sourcing::StoreError;

    #[test]
    fn the_pause_grows_while_the_trouble_lasts_and_shrinks_when_it_is_over() {
        let mut trouble = FailureLog::new("test");
        let error = StoreError::Overloaded;

        let first = trouble.met(&error, Loudness::Warning);
        for _ in 0..20 {
            trouble.met(&error, Loudness::Warning);
        }

        assert_eq!(trouble.met(&error, Loudness::Warning), FailureLog::LONGEST);
        trouble.over();
        assert_eq!(trouble.met(&error, Loudness::Alarm), first);
    }
}
