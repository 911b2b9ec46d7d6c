//! Whether the store answers at all, as somebody who asks it all the time knows.
//!
//! A slow answer is worth waiting for, one that will not come is not; a deadline alone cannot tell
//! them apart. So what asks the store is given up as soon as the store is known to be dead, and only
//! then, while its own deadline is for what never ends on a store that lives.

use std::{future::pending, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::store::StoreError;

/// How long after its last sign of life a dead store is waited for: it may only be restarted.
const REVIVAL: Duration = Duration::from_millis(1900);

/// The store does not answer anybody.
#[derive(Debug, thiserror::Error)]
#[error("the store answers nobody")]
pub struct Silent;

#[derive(Debug, Clone, Copy)]
struct Life {
    lives: bool,
    seen: Instant,
}

/// What keeps a pulse.
#[derive(Debug)]
pub struct Beat(watch::Sender<Life>);

impl Beat {
    /// Says whether the store lives.
    pub fn set(&self, lives: bool) {
        self.0.send_modify(|life| {
            life.lives = lives;
            if lives {
                life.seen = Instant::now();
            }
        });
    }
}

/// What is known of a store's life.
#[derive(Debug, Clone)]
pub struct Pulse(watch::Receiver<Life>);

impl Pulse {
    /// A pulse, and what keeps it. The store lives until that says otherwise.
    #[must_use]
    pub fn new() -> (Beat, Self) {
        let (sender, receiver) = watch::channel(Life {
            lives: true,
            seen: Instant::now(),
        });
        (Beat(sender), Self(receiver))
    }

    /// The pulse of a store that nobody watches: it counts as alive.
    #[must_use]
    pub fn unwatched() -> Self {
        Self::new().1
    }

    /// Waits a little where the store has died just now. A store that has been dead for longer is
    /// not waited for: commands on one order take turns, and their waits would add up.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where it stays so.
    pub async fn alive(&self) -> Result<(), StoreError> {
        if self.0.borrow().lives {
            return Ok(());
        }
        let mut pulse = self.0.clone();
        let given_up = pulse.borrow().seen + REVIVAL;
        match timeout_at(given_up, pulse.wait_for(|life| life.lives)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(StoreError::unavailable(Silent)),
        }
    }

    /// Ends when the store is dead.
    pub async fn dead(&self) {
        let mut pulse = self.0.clone();
        if pulse.wait_for(|life| !life.lives).await.is_err() {
            // Nobody watches it any more.
            pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_dead_store_is_waited_for_a_little() {
        let (beat, pulse) = Pulse::new();
        assert_eq!(pulse.dead().now_or_never(), None);

        beat.set(false);

        pulse.dead().await;
        assert!(matches!(
            pulse.alive().await,
            Err(StoreError::Unavailable(_))
        ));
        let at_once = pulse.alive().now_or_never();
        assert!(matches!(at_once, Some(Err(StoreError::Unavailable(_)))));
        beat.set(true);
        beat.set(false);
        let (waited, ()) = tokio::join!(pulse.alive(), async {
            beat.set(true);
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
