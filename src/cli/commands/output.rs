//! What a command prints and how it ends.

use std::io::Write;

use anyhow::Context;

/// How a command ended that has run to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandOutcome {
    /// Exit status 0.
    Success,
    /// Exit status 1: the command ran, but found or left a problem.
    Problem,
}

impl CommandOutcome {
    /// [`Self::Success`] if `is_success`, else [`Self::Problem`].
    pub(super) fn from_success(is_success: bool) -> Self {
        if is_success {
            Self::Success
        } else {
            Self::Problem
        }
    }
}

/// Prints one line to standard output.
///
/// # Errors
/// Standard output is closed.
pub(super) fn print_line(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("cannot write to standard output")
}
