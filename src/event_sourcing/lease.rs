//! The right to be the only one who does a thing, for a while.

use std::future::Future;

use super::store::StoreError;

/// How often a lease has changed hands. Writes that carry an older epoch are refused, so that a
/// holder that slept through its lease cannot do harm when it wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub i64);

/// A named lease on a clock that all contenders share.
pub trait Lease: Send + Sync + 'static {
    /// Takes or renews the lease; `None` while somebody else holds it.
    fn hold(&self) -> impl Future<Output = Result<Option<Epoch>, StoreError>> + Send;

    /// Gives the lease back, so that the next holder need not wait for it to run out.
    fn release(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}
