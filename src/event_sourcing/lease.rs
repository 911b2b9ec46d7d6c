//! Leases: the right to be the only process that does something, for some seconds.

use std::future::Future;

use super::store::StoreError;

/// How often a lease has changed its holder. A write with an old epoch is refused: a process that was
/// paused for longer than its lease cannot overwrite the work of the next holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub i64);

/// A named lease. All processes measure its time with the same clock.
pub trait Lease: Send + Sync + 'static {
    /// Takes or renews the lease. `None` while another process holds it.
    fn hold(&self) -> impl Future<Output = Result<Option<Epoch>, StoreError>> + Send;

    /// Gives the lease back, so that the next holder need not wait until it expires.
    fn release(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}
