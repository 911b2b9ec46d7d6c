//! Shows the progress of a long command: a bar with rate and remaining time on a terminal,
//! otherwise plain lines.

use std::{
    io::IsTerminal,
    sync::Mutex,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The time between two plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// The progress of a command.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    unit: &'static str,
    /// When the next plain line is due; `None` on a terminal.
    next_line: Option<Mutex<Instant>>,
}

impl Progress {
    /// Starts to show progress, counted in `unit` (for example "orders").
    #[must_use]
    pub fn start(unit: &'static str) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let target = if is_terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let template = "{msg:>10} [{bar:40}] {human_pos}/{human_len} {per_sec:>14} {eta:>5} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(unit);
        let next_line = (!is_terminal).then(|| Mutex::new(Instant::now() + LINE_INTERVAL));
        Self {
            bar,
            unit,
            next_line,
        }
    }

    /// Shows the name of the present phase.
    pub fn phase(&self, name: impl Into<std::borrow::Cow<'static, str>>) {
        self.bar.set_message(name);
    }

    /// Shows that `done` of `total` units are done.
    pub fn set(&self, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
        let Some(next_line) = &self.next_line else {
            return;
        };
        let Ok(mut next_line) = next_line.lock() else {
            return;
        };
        if Instant::now() >= *next_line {
            *next_line = Instant::now() + LINE_INTERVAL;
            let rate = self.bar.per_sec();
            eprintln!(
                "{}: {done} of {total} {} ({rate:.0}/s)",
                self.bar.message(),
                self.unit
            );
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// The time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.bar.elapsed()
    }
}
