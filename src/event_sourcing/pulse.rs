//! Whether the store answers at all, as somebody who asks it all the time knows.
//!
//! A slow answer is worth waiting for, one that will not come is not; a deadline alone cannot tell
//! them apart. So what asks the store is given up as soon as the store is known to be dead, and only
//! then, while its own deadline is for what never ends on a store that lives.

use std::{future::pending, time::Duration};

use tokio::{sync::watch, time::timeout};

use super::store::StoreError;

/// How long a question waits for a dead store to come back before it is refused.
const REVIVAL: Duration = Duration::from_millis(1500);

/// The store does not answer anybody.
#[derive(Debug, thiserror::Error)]
#[error("the store answers nobody")]
pub struct Silent;

/// What is known of a store's life.
#[derive(Debug, Clone)]
pub struct Pulse(watch::Receiver<bool>);

impl Pulse {
    /// A pulse, and what keeps it: `true` while the store lives. It lives until somebody says
    /// otherwise.
    #[must_use]
    pub fn new() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(true);
        (sender, Self(receiver))
    }

    /// The pulse of a store that nobody watches: it counts as alive.
    #[must_use]
    pub fn unwatched() -> Self {
        Self::new().1
    }

    /// Waits a little where the store is dead.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where it stays so.
    pub async fn alive(&self) -> Result<(), StoreError> {
        let mut pulse = self.0.clone();
        match timeout(REVIVAL, pulse.wait_for(|lives| *lives)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(StoreError::unavailable(Silent)),
        }
    }

    /// Ends when the store is dead.
    pub async fn dead(&self) {
        let mut pulse = self.0.clone();
        if pulse.wait_for(|lives| !lives).await.is_err() {
            // Nobody watches it any more.
            pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_dead_store_is_waited_for_a_little() {
        let (beat, pulse) = Pulse::new();
        assert_eq!(pulse.dead().now_or_never(), None);

        beat.send_replace(false);

        pulse.dead().await;
        assert!(matches!(
            pulse.alive().await,
            Err(StoreError::Unavailable(_))
        ));
        let (waited, ()) = tokio::join!(pulse.alive(), async {
            beat.send_replace(true);
        });
        assert!(waited.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_nobody_watches_counts_as_alive() {
        let pulse = Pulse::unwatched();

        assert!(pulse.alive().await.is_ok());
        let given_up = timeout(Duration::from_hours(1), pulse.dead()).await;
        assert!(given_up.is_err());
    }
}
