//! The generic core of event sourcing: it knows no order, no SQL, no NATS and no HTTP.
//!
//! Reading order: [`aggregate`] (what a consistency boundary is) → [`event`] (what is stored) →
//! [`store`] (what a store promises) → [`repository`] (load) → [`execute`] (decide → append,
//! taking [`locks`]) → [`snapshot`] and [`upcast`] (what keeps long and old streams cheap and readable) → [`projection`] (what a read
//! model promises) → [`testing`] (given/when/then and the contract every store passes).

pub mod aggregate;
pub mod error_chain;
pub mod event;
pub mod execute;
pub mod identity;
pub mod json;
pub mod lease;
pub mod locks;
pub mod projection;
pub mod pulse;
pub mod repository;
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
pub use execute::{ExecuteError, Executed, Request};
pub use identity::StoreIdentity;
pub use lease::{Epoch, Lease};
pub use pulse::Pulse;
pub use repository::Repository;
pub use snapshot::{NewSnapshot, SnapshotStore};
pub use store::{
    Append, AppendError, Appended, EventStore, IdempotencyKey, StoreError, StoredSnapshot,
    StoredStream, UsedKey,
};
pub use upcast::{UpcastError, UpcasterChain};
