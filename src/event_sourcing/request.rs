//! A command with its context, and what becomes of it.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    aggregate::Aggregate,
    event::{Metadata, Position, Timestamp, Version},
    repository::Loaded,
    store::{IdempotencyKey, StoreError},
};

/// How often a command is decided, at most: each lost race costs one attempt.
pub(super) const MAX_ATTEMPTS: u32 = 4;

/// A command with its context.
#[derive(Debug)]
pub struct Request<C> {
    /// The aggregate's id.
    pub id: Uuid,
    /// The command.
    pub command: C,
    /// The version that the client requires, if it named one.
    pub expected: Option<Version>,
    /// Whether `id` was generated for this command, so that there is nothing to load.
    pub is_new: bool,
    /// The client's idempotency key.
    pub key: Option<IdempotencyKey>,
    /// The context for the audit trail.
    pub metadata: Arc<Metadata>,
    /// The time of the command.
    pub now: Timestamp,
}

/// What a successful command did. For a used key, what its first command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed<T> {
    /// What the caller made from the aggregate at `version`.
    pub output: T,
    /// The aggregate's version after the command.
    pub version: Version,
    /// The position of the aggregate's last event after the command.
    pub position: Position,
    /// Whether the command had events.
    pub has_changed: bool,
    /// Whether the key was used before, so that nothing was executed now.
    pub is_replayed: bool,
}

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError<A: Aggregate> {
    /// The aggregate refuses the command.
    #[error(transparent)]
    Refused(A::Refusal),
    /// The aggregate is not at the version that the client requires.
    #[error("expected version {expected}, found {}", current.version)]
    VersionConflict {
        /// The version that the client requires.
        expected: Version,
        /// The aggregate as it is now.
        current: Box<Loaded<A>>,
    },
    /// Every attempt lost a race.
    #[error("other commands changed the aggregate {MAX_ATTEMPTS} times meanwhile")]
    Contention,
    /// A command with the same key is running.
    #[error("a command with the same idempotency key is running")]
    KeyInProgress,
    /// The key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
