//! The state that a feed shares with its followers.

use std::sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicUsize};

use tokio::sync::Notify;

use super::{recent::RecentEvents, source::FeedSource};

/// The source, the recent events and the number of followers.
pub(super) struct Shared<S: FeedSource> {
    pub(super) source: S,
    recent: Mutex<RecentEvents<S::Item>>,
    /// Notifies the followers when the recent events change.
    pub(super) changed: Notify,
    pub(super) followers: AtomicUsize,
    /// Notifies the feed when a follower joins.
    pub(super) joined: Notify,
}

impl<S: FeedSource> Shared<S> {
    pub(super) fn new(source: S) -> Self {
        Self {
            source,
            recent: Mutex::default(),
            changed: Notify::new(),
            followers: AtomicUsize::new(0),
            joined: Notify::new(),
        }
    }

    pub(super) fn recent(&self) -> MutexGuard<'_, RecentEvents<S::Item>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
