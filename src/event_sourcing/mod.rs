//! The generic core of event sourcing. Orders, SQL, NATS and HTTP belong elsewhere.
//!
//! Reading order: [`aggregate`] → [`event`] → [`store`] (what an event store guarantees) →
//! [`repository`] (load) → [`execute`] (decide and append, under one of the [`locks`]) →
//! [`snapshot`] (loads long streams fast) → [`upcast`] (reads old events) → [`projection`] (what a read
//! model guarantees) → [`testing`] (given/when/then, and the contract of every store).

pub mod aggregate;
pub mod error_chain;
pub mod event;
pub mod execute;
pub mod identity;
pub mod lease;
pub mod locks;
pub mod projection;
pub mod pulse;
pub mod repository;
pub mod request;
pub mod snapshot;
pub mod store;
pub mod testing;
pub mod upcast;

#[cfg(test)]
mod repository_tests;

pub use aggregate::Aggregate;
pub use error_chain::error_chain;
pub use event::{
    DecodeError, DomainEvent, Metadata, NewEvent, Position, RecordedEvent, StreamId, Timestamp,
    Version,
};
pub use execute::Claimed;
pub use identity::StoreIdentity;
pub use lease::{Epoch, Lease};
pub use pulse::Pulse;
pub use repository::Repository;
pub use request::{ExecuteError, Executed, Request};
pub use snapshot::{NewSnapshot, SnapshotStore};
pub use store::{
    Append, AppendError, Appended, EventStore, IdempotencyKey, StoreError, StoredSnapshot,
    StoredStream, UsedKey,
};
pub use upcast::{UpcastError, UpcasterChain};
