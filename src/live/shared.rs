//! What a feed and its followers share.

use std::sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicUsize};

use tokio::sync::Notify;

use super::{source::FeedSource, tail::RecentEvents};

/// The source, the newest events, and how many follow them.
pub(super) struct Shared<S: FeedSource> {
    pub(super) source: S,
    tail: Mutex<RecentEvents<S::Item>>,
    pub(super) moved: Notify,
    pub(super) followers: AtomicUsize,
    pub(super) joined: Notify,
}

impl<S: FeedSource> Shared<S> {
    pub(super) fn new(source: S) -> Self {
        Self {
            source,
            tail: Mutex::default(),
            moved: Notify::new(),
            followers: AtomicUsize::new(0),
            joined: Notify::new(),
        }
    }

    pub(super) fn tail(&self) -> MutexGuard<'_, RecentEvents<S::Item>> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
