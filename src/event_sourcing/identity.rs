//! Which store this is: what a stream filled from it carries, to tell it from those of others.

use futures::future::BoxFuture;
use uuid::Uuid;

use super::{lease::Epoch, store::StoreError};

/// The name of a store that a restored backup keeps, and the count of its stream's lives.
pub trait StoreIdentity: Send + Sync + 'static {
    /// The store's id. Asked for anew each time: the store may be replaced under a running service.
    fn id(&self) -> BoxFuture<'_, Result<Uuid, StoreError>>;

    /// Begins the next incarnation of the stream, one greater than any before it and than `after`;
    /// `None` where the lease has passed on from `epoch`, so that nothing is to be begun.
    fn begin_incarnation(
        &self,
        after: i64,
        epoch: Epoch,
    ) -> BoxFuture<'_, Result<Option<i64>, StoreError>>;
}
