//! The pulse of a store: whether it answers at all.
//!
//! A deadline alone cannot tell a slow answer from one that never comes. So a query is given up as soon
//! as the store is known to be dead. Its own deadline ends queries that take too long on a live store.

use std::{future::pending, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::store::StoreError;

/// How long to wait for a dead store, counted from its last answer: it may be restarting.
const RESTART_WAIT: Duration = Duration::from_millis(1900);

/// The store does not answer.
#[derive(Debug, thiserror::Error)]
#[error("the store does not answer")]
pub struct NoAnswer;

#[derive(Debug, Clone, Copy)]
struct State {
    is_alive: bool,
    /// When the store was last reported as alive.
    last_alive: Instant,
}

/// Reports the pulse of a store.
#[derive(Debug)]
pub struct PulseSender(watch::Sender<State>);

impl PulseSender {
    /// Reports whether the store is alive.
    pub fn set(&self, is_alive: bool) {
        self.0.send_modify(|state| {
            state.is_alive = is_alive;
            if is_alive {
                state.last_alive = Instant::now();
            }
        });
    }
}

/// The last reported pulse of a store.
#[derive(Debug, Clone)]
pub struct Pulse(watch::Receiver<State>);

impl Pulse {
    /// Makes a pulse and its sender. The store counts as alive until the sender reports otherwise.
    #[must_use]
    pub fn new() -> (PulseSender, Self) {
        let (sender, receiver) = watch::channel(State {
            is_alive: true,
            last_alive: Instant::now(),
        });
        (PulseSender(sender), Self(receiver))
    }

    /// The pulse of a store that is not checked: it always counts as alive.
    #[must_use]
    pub fn unwatched() -> Self {
        Self::new().1
    }

    /// Returns when the store is alive. Waits only shortly after its last answer: commands on one order
    /// run one after another, so longer waits would add up.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the store is still dead then.
    pub async fn wait_until_alive(&self) -> Result<(), StoreError> {
        if self.0.borrow().is_alive {
            return Ok(());
        }
        let mut pulse = self.0.clone();
        let deadline = pulse.borrow().last_alive + RESTART_WAIT;
        match timeout_at(deadline, pulse.wait_for(|state| state.is_alive)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(StoreError::unavailable(NoAnswer)),
        }
    }

    /// Returns when the store is dead.
    pub async fn wait_until_dead(&self) {
        let mut pulse = self.0.clone();
        if pulse.wait_for(|state| !state.is_alive).await.is_err() {
            // The sender was dropped, so no report will come.
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
    async fn a_dead_store_is_waited_for_shortly() {
        let (sender, pulse) = Pulse::new();
        assert_eq!(pulse.wait_until_dead().now_or_never(), None);

        sender.set(false);

        pulse.wait_until_dead().await;
        assert!(matches!(
            pulse.wait_until_alive().await,
            Err(StoreError::Unavailable(_))
        ));
        let at_once = pulse.wait_until_alive().now_or_never();
        assert!(matches!(at_once, Some(Err(StoreError::Unavailable(_)))));
        sender.set(true);
        sender.set(false);
        let (waited, ()) = tokio::join!(pulse.wait_until_alive(), async {
            sender.set(true);
        });
        assert!(waited.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_not_checked_counts_as_alive() {
        let pulse = Pulse::unwatched();

        assert!(pulse.wait_until_alive().await.is_ok());
        let dead = timeout(Duration::from_hours(1), pulse.wait_until_dead()).await;
        assert!(dead.is_err());
    }
}
