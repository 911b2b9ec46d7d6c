//! The state that a feed shares with its followers.

use std::sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicUsize};

use tokio::sync::Notify;

use super::{recent::RecentEvents, source::FeedSource};

/// The sources, the recent events and the number of followers.
pub(super) struct Shared<S: FeedSource> {
    /// What the feed itself reads.
    pub(super) source: S,
    /// What the followers read that are behind the recent events.
    pub(super) of_followers: S,
    recent: Mutex<RecentEvents<S::Item>>,
    /// Notifies the followers when the recent events change.
    pub(super) changed: Notify,
    pub(super) followers: AtomicUsize,
    /// Notifies the feed when a follower joins.
    pub(super) joined: Notify,
}

impl<S: FeedSource> Shared<S> {
    pub(super) fn new(source: S, of_followers: S) -> Self {
        Self {
            source,
            of_followers,
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
