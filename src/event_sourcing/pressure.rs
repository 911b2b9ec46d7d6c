//! Giving way: background work rests while commands queue for the store.
//!
//! Commands, relay and projector share processors and a database. Left alone, the two that follow
//! take each event as soon as it is there, in small steps that cost more than the command itself.
//! So after each step they rest, for the longer the fuller the writer's batches are: their next step
//! is larger then and costs less an event, and what they would have taken goes to the commands.
//! While commands come one by one nobody rests, and the read model follows at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// A batch of so many commands makes background work rest for as long as it has worked.
const EVEN: u32 = 8;

/// The longest rest: what a read model may fall behind for one step.
const LONGEST: Duration = Duration::from_millis(20);

/// How hard the command path is pressed: how many commands went into the writer's last batch.
#[derive(Debug, Clone, Default)]
pub struct Pressure(Arc<AtomicU32>);

impl Pressure {
    /// Says how many commands the batch has that is being written; zero when none waits any more.
    pub fn report(&self, commands: usize) {
        let commands = u32::try_from(commands).unwrap_or(u32::MAX);
        self.0.store(commands, Ordering::Relaxed);
    }

    /// How long to rest after a step of background work that took `worked`.
    #[must_use]
    pub fn rest_after(&self, worked: Duration) -> Duration {
        let commands = self.0.load(Ordering::Relaxed);
        (worked.saturating_mul(commands) / EVEN).min(LONGEST)
    }

    /// Rests after a step of background work that took `worked`.
    pub async fn give_way(&self, worked: Duration) {
        let rest = self.rest_after(worked);
        // Tokio's timer counts in milliseconds: a shorter rest is none.
        if rest >= Duration::from_millis(1) {
            tokio::time::sleep(rest).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fuller_the_batches_the_longer_the_rest() {
        let pressure = Pressure::default();
        let worked = Duration::from_millis(4);

        let rests = [0, 4, 8, 16, 256].map(|commands| {
            pressure.report(commands);
            pressure.rest_after(worked).as_millis()
        });

        assert_eq!(rests, [0, 2, 4, 8, 20]);
    }
}
