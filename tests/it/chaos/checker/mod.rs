//! The checker: from everything that was observed to a list of what must not be.
//!
//! It is a plain function, so that hand-made histories can check it (see `specs`), and it trusts
//! nothing that the service says: effects are recognised by what commands asked for.

mod commands;
mod reads;
mod specs;
mod store;
mod stream;
mod views;

use std::fmt;

use super::observe::Observed;

/// What was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// An acknowledged command has no effect, or less than was answered.
    Lost,
    /// A command has its effect twice.
    Doubled,
    /// A refused command, or one that nobody sent, has an effect.
    Phantom,
    /// A command has another effect than it asked for or was told.
    OtherEffect,
    /// A key does not give its first answer again.
    Key,
    /// Versions of an order have a hole.
    Versions,
    /// Positions are not in the order of commits.
    Positions,
    /// The domain would not have decided so.
    Illegal,
    /// The stream is not the store, in order.
    Stream,
    /// A view is not the fold of its events.
    View,
    /// An order is parked.
    Parked,
    /// A read went back behind what it promised, or shows what never was.
    Read,
    /// The checkpoint went back, or moved under an epoch that had passed.
    Checkpoint,
    /// A process ended by itself, or the fleet does not catch up.
    Trouble,
}

/// One thing that must not be.
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

/// Everything that must not be in what was observed.
pub fn check(observed: &Observed) -> Vec<Violation> {
    let mut found = Found::default();
    commands::check(observed, &mut found);
    let folds = store::check(observed, &mut found);
    stream::check(observed, &mut found);
    views::check(observed, &folds, &mut found);
    reads::check(observed, &folds, &mut found);
    for trouble in &observed.troubles {
        found.add(Rule::Trouble, trouble);
    }
    found.0
}
