//! The identity of an event store. A NATS stream carries it, so that no store uses the stream of another.

use futures::future::BoxFuture;
use uuid::Uuid;

use super::{lease::Epoch, store::StoreError};

/// The id of a store, and the incarnation of its NATS stream.
pub trait StoreIdentity: Send + Sync + 'static {
    /// The store's id; a restored backup keeps it. Read again each time, because the store of a running
    /// service may be replaced.
    fn id(&self) -> BoxFuture<'_, Result<Uuid, StoreError>>;

    /// Begins the next incarnation of the stream: greater than all earlier ones and than `after`. `None`,
    /// and no new incarnation, if another process has taken the lease since `epoch`.
    fn begin_incarnation(
        &self,
        after: i64,
        epoch: Epoch,
    ) -> BoxFuture<'_, Result<Option<i64>, StoreError>>;
}
