//! How far a rebuild is, what it led to, and why it failed.

use crate::{
    event_sourcing::{Position, StoreError},
    order::OrderId,
};

/// A phase of a rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The events are folded into the new tables.
    Fill,
    /// The indexes of the new tables are made.
    Index,
    /// The new rows are compared with the live ones.
    Compare,
    /// The new tables replace the live ones.
    Switch,
}

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RebuildProgress {
    /// The phase.
    pub phase: Phase,
    /// The events up to this position are folded.
    pub position: Position,
    /// The events up to this position will be folded: the end of the store, which moves meanwhile.
    pub target: Position,
    /// How many events were folded.
    pub events: u64,
}

/// A difference between a live order and the rebuilt one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebuildDifference {
    /// The order's id.
    pub order_id: OrderId,
    /// A column, the id of a line, or `parked`.
    pub field: String,
    /// The value in the live tables.
    pub live: Option<String>,
    /// The value in the rebuilt tables.
    pub rebuilt: Option<String>,
}

/// The result of a rebuild.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// How many events were folded.
    pub events: u64,
    /// The events up to this position were folded.
    pub position: Position,
    /// How many live orders differed from the rebuilt ones.
    pub differing: u64,
    /// The differences of the first ten of them.
    pub examples: Vec<RebuildDifference>,
    /// Whether the rebuilt tables have replaced the live ones.
    pub is_switched: bool,
}

/// Why a rebuild failed. The live tables are unchanged.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// Another rebuild is running.
    #[error("another rebuild is running")]
    Running,
    /// The database fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}
