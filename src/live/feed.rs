//! The feed: newly appended events, for any number of followers.
//!
//! While there are followers, one task reads the newly appended events and buffers the most recent
//! ones. This process wakes the task when it appends; events of other processes are found by polling.
//! A [`Follower`] has a position and receives the events after it: from the buffer if that reaches
//! back far enough, otherwise from the store. So a slow follower does not hold up the others and
//! receives few events at a time, and a follower that comes back after an hour reads in the same way
//! as one that never left. Positions are in commit order, so no follower misses or repeats an event.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    select,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use super::{
    follower::Follower,
    fresh::FreshEvents,
    read_limit::ReadLimit,
    shared::Shared,
    source::{FeedSource, Page},
};
use crate::event_sourcing::{Position, StoreError};

/// The time between two reads if no event follows: finds what other processes appended.
const POLL: Duration = Duration::from_millis(50);

/// The pause after the last page: under load, the next read then returns many events at once.
const PAUSE: Duration = Duration::from_millis(5);

/// The time between two checks whether the store was rewound: restored to an earlier point.
const CHECK: Duration = Duration::from_secs(1);

/// The pause after the store did not answer.
const RETRY: Duration = Duration::from_millis(200);

/// The result of one read of the store.
enum Advance {
    /// No event follows.
    UpToDate,
    /// The feed has changed, and no more events follow.
    CaughtUp,
    /// More events follow.
    MoreToRead,
}

/// A feed of newly appended events. Clones are the same feed.
pub struct Feed<S: FeedSource>(Arc<Shared<S>>);

impl<S: FeedSource> Clone for Feed<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: FeedSource> Feed<S> {
    /// Makes a feed that reads `source`, while followers that are behind read `of_followers`: however
    /// many these are, they do not hold up the feed. It works while [`Self::run`] runs.
    #[must_use]
    pub fn new(source: S, of_followers: S) -> Self {
        Self(Arc::new(Shared::new(source, of_followers)))
    }

    /// The number of followers.
    #[must_use]
    pub fn followers(&self) -> usize {
        self.0.followers.load(Ordering::Acquire)
    }

    /// Follows all aggregates, or one, from the first event after `after`. If `after` is `None`, from
    /// the next event that is appended.
    ///
    /// # Errors
    /// [`StoreError`] if the store does not answer.
    pub async fn follow(
        &self,
        after: Option<Position>,
        aggregate: Option<Uuid>,
    ) -> Result<Follower<S>, StoreError> {
        let (known, _) = self.0.recent().end();
        let newest = self.0.of_followers.newest().await?;
        if newest < known {
            self.start(known, newest);
        }
        let after = after.unwrap_or(newest);
        Ok(Follower::new(Arc::clone(&self.0), after, newest, aggregate))
    }

    /// Runs the feed until `cancel`. It is idle while there are no followers.
    pub async fn run(self, fresh: FreshEvents, cancel: CancellationToken) {
        cancel.run_until_cancelled(self.read_forever(fresh)).await;
    }

    async fn read_forever(&self, fresh: FreshEvents) {
        let mut read_limit = ReadLimit::default();
        let mut checked = Instant::now();
        let mut has_failed = false;
        loop {
            if self.followers() == 0 {
                self.0.recent().clear();
                self.0.joined.notified().await;
                continue;
            }
            let appended = fresh.appended();
            tokio::pin!(appended);
            // Enabled before the read, so that no append in between is missed.
            appended.as_mut().enable();
            // A store is down while it is restored, so it is checked after each failure.
            let is_check_due = has_failed || checked.elapsed() >= CHECK;
            match self.advance(is_check_due, &mut read_limit).await {
                Ok(advance) => {
                    if is_check_due {
                        checked = Instant::now();
                    }
                    if std::mem::take(&mut has_failed) {
                        info!("the feed reads the store again");
                    }
                    match advance {
                        Advance::MoreToRead => {}
                        Advance::CaughtUp => sleep(PAUSE).await,
                        Advance::UpToDate => {
                            select! { () = appended => {} () = sleep(POLL) => {} }
                        }
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut has_failed, true) {
                        let error = &error as &dyn std::error::Error;
                        warn!(error, "the feed cannot read the store and tries again");
                    }
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// Starts at the end of the store if the feed has not started or the store was rewound; otherwise
    /// reads the next page.
    async fn advance(
        &self,
        is_check_due: bool,
        read_limit: &mut ReadLimit,
    ) -> Result<Advance, StoreError> {
        let (is_started, (after, rewinds)) = {
            let recent = self.0.recent();
            (recent.is_started(), recent.end())
        };
        if !is_started || is_check_due {
            let newest = self.0.source.newest().await?;
            if !is_started || newest < after {
                self.start(after, newest);
                return Ok(Advance::CaughtUp);
            }
        }
        let read = self.0.source.read(after, None, read_limit.get()).await;
        read_limit.adapt::<S>(&read);
        let Page {
            events,
            end,
            is_last,
        } = read?;
        let Some(end) = end else {
            return Ok(Advance::UpToDate);
        };
        let mut recent = self.0.recent();
        // A new follower may have noticed a rewind during the read.
        if recent.end() == (after, rewinds) {
            recent.extend(events, end, S::size);
        }
        drop(recent);
        self.0.changed.notify_waiters();
        Ok(if is_last {
            Advance::CaughtUp
        } else {
            Advance::MoreToRead
        })
    }

    /// Starts again at `at`, unless the feed has moved from `known` in the meantime.
    fn start(&self, known: Position, at: Position) {
        let mut recent = self.0.recent();
        if recent.end().0 == known {
            recent.start(at);
            drop(recent);
            self.0.changed.notify_waiters();
        }
    }
}
