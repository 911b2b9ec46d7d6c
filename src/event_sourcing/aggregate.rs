//! What an aggregate is: a consistency boundary whose state is the fold of its events.

use serde::{Serialize, de::DeserializeOwned};

use super::event::{DomainEvent, Timestamp};

/// A consistency boundary: `decide` turns a command into events, `evolve` folds events into state.
///
/// The value of `Default` is the *first state*, before any event; it must refuse every command
/// but the one that creates. Identity and version stand outside the state, so that neither can be
/// forgotten or counted twice (the shape follows Emmett's decider and the synchronous trait of
/// `esrs`).
pub trait Aggregate:
    Default + Clone + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The stored name of this kind of aggregate (`Order`): a promise, never renamed.
    const TYPE: &'static str;

    /// The schema of the serialised state. Raise it whenever the state's shape or meaning changes:
    /// snapshots of any other schema are then ignored.
    const STATE_SCHEMA: i32;

    /// What may be asked of the aggregate.
    type Command: Send + Sync;

    /// What may happen to the aggregate.
    type Event: DomainEvent;

    /// Why a command may be refused.
    type Refusal: std::error::Error + Clone + Send + Sync + 'static;

    /// Decides what happens when `command` meets this state: no events mean that it holds already.
    ///
    /// # Errors
    /// The refusal, when the command breaks a rule. A refusal changes nothing.
    fn decide(&self, command: &Self::Command) -> Result<Vec<Self::Event>, Self::Refusal>;

    /// Folds one event that happened `at` into the state. It has no rules: what was stored
    /// happened.
    fn evolve(&mut self, event: &Self::Event, at: Timestamp);

    /// The number of bytes that the state holds, roughly: what a cache budgets by.
    fn weight(&self) -> usize {
        size_of::<Self>()
    }
}
