//! The checker: finds all violations in what was observed.
//!
//! It is a plain function, so that it can be tested with hand-made histories (see `specs`). It
//! recognises the effect of a command by its data, not by what the service answers.

mod commands;
mod order_of_reads;
mod reads;
mod specs;
mod store;
mod stream;
mod views;

use std::fmt;

use super::observe::Observed;

/// The rule that a violation breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// An acknowledged command has no effect, or less than was answered.
    Lost,
    /// A command has its effect twice.
    Doubled,
    /// A refused command, or one that no client sent, has an effect.
    Phantom,
    /// A command has another effect than it should, or than was answered.
    OtherEffect,
    /// A repeated key is not answered with the first answer.
    Key,
    /// Versions of an order have a hole.
    Versions,
    /// Positions are not in the order of commits.
    Positions,
    /// The domain would not have decided this event.
    Illegal,
    /// The stream differs from the store.
    Stream,
    /// A view is not the fold of its events.
    View,
    /// An order is parked.
    Parked,
    /// A read is older than it may be, or shows a state that never existed.
    Read,
    /// A read shows less than an earlier read of the same process.
    WentBack,
    /// The checkpoint went back, or moved under an old epoch.
    Checkpoint,
    /// A process ended by itself, or the fleet does not catch up.
    Failure,
}

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub rule: Rule,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

/// The violations found so far.
#[derive(Debug, Default)]
struct Found(Vec<Violation>);

impl Found {
    fn add(&mut self, rule: Rule, what: impl Into<String>) {
        let what = what.into();
        self.0.push(Violation { rule, what });
    }

    fn add_unless(&mut self, holds: bool, rule: Rule, what: impl FnOnce() -> String) {
        if !holds {
            self.add(rule, what());
        }
    }
}

/// Finds all violations in what was observed.
pub fn check(observed: &Observed) -> Vec<Violation> {
    let mut found = Found::default();
    commands::check(observed, &mut found);
    let folds = store::check(observed, &mut found);
    stream::check(observed, &mut found);
    views::check(observed, &folds, &mut found);
    reads::check(observed, &folds, &mut found);
    order_of_reads::check(&observed.reads, &mut found);
    for failure in &observed.failures {
        found.add(Rule::Failure, failure);
    }
    found.0
}
