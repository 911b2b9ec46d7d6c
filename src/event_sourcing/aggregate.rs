//! The aggregate: a consistency boundary. Its state is the fold of its events.

use serde::{Serialize, de::DeserializeOwned};

use super::event::{DomainEvent, Timestamp};

/// A consistency boundary: `decide` turns a command into events, `evolve` folds events into the state.
///
/// The default value is the *first state*, before any event. It must refuse every command except the
/// one that creates. The id and the version are outside the state: the repository counts them, so no
/// aggregate can count them wrong.
pub trait Aggregate:
    Default + Clone + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The stored name of this kind of aggregate, such as `Order`. It must never change.
    const TYPE: &'static str;

    /// The schema version of the serialised state. Raise it when the shape or the meaning of the state
    /// changes: snapshots of other versions are ignored.
    const STATE_SCHEMA: i32;

    /// The commands on the aggregate.
    type Command: Send + Sync;

    /// The events of the aggregate.
    type Event: DomainEvent;

    /// Why the aggregate refuses a command.
    type Refusal: std::error::Error + Clone + Send + Sync + 'static;

    /// Decides which events follow from `command` in this state. No events mean that the command changes
    /// nothing.
    ///
    /// # Errors
    /// The refusal, if the command breaks a rule.
    fn decide(&self, command: &Self::Command) -> Result<Vec<Self::Event>, Self::Refusal>;

    /// Folds an event that occurred `at` this time into the state. It has no rules: stored events are
    /// facts.
    fn evolve(&mut self, event: &Self::Event, at: Timestamp);

    /// The approximate size of the state in bytes, for the memory limit of the cache.
    fn weight(&self) -> usize {
        size_of::<Self>()
    }
}
