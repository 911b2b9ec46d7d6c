//! The feed: the store as it goes on, for any number of followers at once.
//!
//! While anybody follows, one task reads what is appended (by this process, which wakes it, or by
//! another, which it finds by looking) and keeps the newest of it. A [`Follower`] has a position and
//! takes what comes after it: from what is kept where that reaches back so far, else from the store
//! itself. So a slow follower holds nobody up and is sent little at a time, one that comes back after an hour
//! reads the same way as one that never left, and as positions are in the order of commits, none
//! misses or repeats an event.

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
    pace::Pace,
    shared::Shared,
    source::{FeedSource, Page},
};
use crate::event_sourcing::{Position, StoreError};

/// How long the feed waits before it looks for what other processes have appended.
const POLL: Duration = Duration::from_millis(50);

/// How long it rests after it has read all there was: under load it reads many events at once.
const REST: Duration = Duration::from_millis(5);

/// How often an idle feed looks whether the store has gone back, as one that was restored has.
const LOOK: Duration = Duration::from_secs(1);

/// How long it waits for a store that does not answer.
const RETRY: Duration = Duration::from_millis(200);

/// What a step of the feed came to.
enum Step {
    Nothing,
    Moved,
    /// There was more than was read.
    Full,
}

/// The store as it goes on. Clones are the same feed.
pub struct Feed<S: FeedSource>(Arc<Shared<S>>);

impl<S: FeedSource> Clone for Feed<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: FeedSource> Feed<S> {
    /// A feed that [`Self::run`] keeps going.
    #[must_use]
    pub fn new(source: S) -> Self {
        Self(Arc::new(Shared::new(source)))
    }

    /// How many follow.
    #[must_use]
    pub fn followers(&self) -> usize {
        self.0.followers.load(Ordering::Acquire)
    }

    /// Follows all aggregates, or one, from the event after `after` on; from the next one that is
    /// appended where that is `None`.
    ///
    /// # Errors
    /// Where the store does not say where it ends.
    pub async fn follow(
        &self,
        after: Option<Position>,
        of: Option<Uuid>,
    ) -> Result<Follower<S>, StoreError> {
        let (known, _) = self.0.tail().end();
        let newest = self.0.source.newest().await?;
        if newest < known {
            self.begin(known, newest);
        }
        let after = after.unwrap_or(newest);
        Ok(Follower::new(Arc::clone(&self.0), after, newest, of))
    }

    /// Keeps the feed going until `cancel`; idle while nobody follows.
    pub async fn run(self, fresh: FreshEvents, cancel: CancellationToken) {
        let following = async {
            let mut pace = Pace::default();
            let mut looked = Instant::now();
            let mut has_failed = false;
            loop {
                if self.followers() == 0 {
                    self.0.tail().forget();
                    self.0.joined.notified().await;
                    continue;
                }
                let woken = fresh.appended();
                tokio::pin!(woken);
                // Armed before we look, so that an append in between is not missed.
                woken.as_mut().enable();
                // Whoever restores a store takes it away first.
                let is_due = has_failed || looked.elapsed() >= LOOK;
                match self.step(is_due, &mut pace).await {
                    Ok(step) => {
                        if is_due {
                            looked = Instant::now();
                        }
                        if std::mem::take(&mut has_failed) {
                            info!("the feed goes on");
                        }
                        match step {
                            Step::Full => {}
                            Step::Moved => sleep(REST).await,
                            Step::Nothing => {
                                select! { () = woken => {} () = sleep(POLL) => {} }
                            }
                        }
                    }
                    Err(error) => {
                        if !std::mem::replace(&mut has_failed, true) {
                            let error = &error as &dyn std::error::Error;
                            warn!(error, "the feed waits for the store");
                        }
                        sleep(RETRY).await;
                    }
                }
            }
        };
        cancel.run_until_cancelled(following).await;
    }

    /// Begins at the store's end, looks whether it is where it was, or reads what follows.
    async fn step(&self, is_due: bool, pace: &mut Pace) -> Result<Step, StoreError> {
        let (is_begun, known) = self.0.tail().begun();
        if !is_begun || is_due {
            let newest = self.0.source.newest().await?;
            if !is_begun || newest < known {
                self.begin(known, newest);
                return Ok(Step::Moved);
            }
        }
        let (after, setbacks) = self.0.tail().end();
        let read = self.0.source.read(after, None, pace.limit()).await;
        pace.adapt::<S>(&read);
        let Page {
            events,
            end,
            is_last,
        } = read?;
        let Some(end) = end else {
            return Ok(Step::Nothing);
        };
        let mut tail = self.0.tail();
        // A new follower may have found out meanwhile that the store has gone back.
        if tail.end() == (after, setbacks) {
            tail.extend(events, end, S::size);
        }
        drop(tail);
        self.0.moved.notify_waiters();
        Ok(if is_last { Step::Moved } else { Step::Full })
    }

    /// Begins anew at the store's end, unless somebody else has done so since it was at `known`.
    fn begin(&self, known: Position, at: Position) {
        let mut tail = self.0.tail();
        if tail.end().0 == known {
            tail.begin(at);
            drop(tail);
            self.0.moved.notify_waiters();
        }
    }
}
