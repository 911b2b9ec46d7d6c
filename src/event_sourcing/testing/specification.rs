//! Specifications of an aggregate: given these events, when this command comes, then these events
//! happen. The form is Emmett's.

use std::fmt::Debug;

use chrono::{DateTime, TimeDelta};

use crate::event_sourcing::{Aggregate, Timestamp};

/// The time of the `n`-th event of a specification: `n` seconds after the Unix epoch.
#[must_use]
pub fn instant(n: usize) -> Timestamp {
    let seconds = TimeDelta::seconds(i64::try_from(n).unwrap());
    DateTime::UNIX_EPOCH + seconds
}

/// The events before the command.
#[derive(Debug)]
pub struct Given<A: Aggregate> {
    events: Vec<A::Event>,
}

/// The events before the command, and the decision.
#[derive(Debug)]
pub struct When<A: Aggregate> {
    given: Vec<A::Event>,
    decided: Result<Vec<A::Event>, A::Refusal>,
}

/// Starts a specification with the events before the command.
pub fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    Given {
        events: events.into_iter().collect(),
    }
}

/// Folds events at intervals of one second.
fn fold<A: Aggregate>(events: &[A::Event]) -> A {
    let mut state = A::default();
    for (n, event) in events.iter().enumerate() {
        state.evolve(event, instant(n));
    }
    state
}

impl<A: Aggregate> Given<A> {
    /// Decides the command.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a specification reads better with the command by value"
    )]
    pub fn when(self, command: A::Command) -> When<A> {
        let decided = fold::<A>(&self.events).decide(&command);
        When {
            given: self.events,
            decided,
        }
    }

    /// The state that the events lead to.
    #[must_use]
    pub fn state(self) -> A {
        fold(&self.events)
    }
}

impl<A> When<A>
where
    A: Aggregate + Debug + PartialEq,
    A::Event: Debug + PartialEq,
    A::Refusal: PartialEq,
{
    /// Asserts that exactly these events happen. Also asserts that the state after them is the same
    /// after it was written as a snapshot and read back.
    pub fn then(self, expected: impl IntoIterator<Item = A::Event>) {
        let expected: Vec<_> = expected.into_iter().collect();
        assert_eq!(self.decided.as_ref().unwrap(), &expected);
        let all: Vec<_> = self.given.into_iter().chain(expected).collect();
        let state = fold::<A>(&all);
        let stored = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<A>(&stored).unwrap(), state);
    }

    /// Asserts that the command is accepted without events.
    pub fn then_nothing(self) {
        self.then([]);
    }

    /// Asserts that the command is refused.
    pub fn then_refused(self, refusal: &A::Refusal) {
        assert_eq!(self.decided.as_ref().unwrap_err(), refusal);
    }
}
