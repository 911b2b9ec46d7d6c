//! Giving way: background work rests while commands come in.
//!
//! Commands, relay and projector share processors and a database. Left alone, the two that follow
//! take each event as soon as it is there, in small steps that cost more than the command itself.
//! So while commands come in they rest after each step: for as long as it took, and for the longer
//! the fuller the writer's batches are. Their next step is larger then and costs less an event, and
//! what they would have taken goes to the commands. The first event after a pause is followed at
//! once, and nobody rests when the commands have ceased.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};

/// Each so many commands in a batch make background work rest once more for as long as it worked.
const STEP: u32 = 8;

/// The longest rest: what a read model may fall behind for one step.
const LONGEST: Duration = Duration::from_millis(8);

/// How long after the last batch commands count as coming in.
const RECENT: u64 = 10;

/// How hard the command path is pressed: how many commands the writer's last batch had, and when.
#[derive(Debug, Clone)]
pub struct Pressure {
    since: Instant,
    /// Milliseconds since then, and in the lowest 16 bits the number of commands; zero for none yet.
    last: Arc<AtomicU64>,
}

impl Default for Pressure {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            last: Arc::default(),
        }
    }
}

impl Pressure {
    /// Says how many commands the batch has that is being written.
    pub fn report(&self, commands: usize) {
        let commands = u64::try_from(commands).unwrap_or(u64::MAX).min(0xffff);
        self.last
            .store(self.now() << 16 | commands, Ordering::Relaxed);
    }

    /// How long to rest after a step of background work that took `worked`.
    #[must_use]
    pub fn rest_after(&self, worked: Duration) -> Duration {
        let last = self.last.load(Ordering::Relaxed);
        let age = self.now().saturating_sub(last >> 16);
        rest(u32::try_from(last & 0xffff).unwrap_or(0), age, worked)
    }

    /// Rests after a step of background work that took `worked`.
    pub async fn give_way(&self, worked: Duration) {
        let rest = self.rest_after(worked);
        if !rest.is_zero() {
            sleep(rest).await;
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// How long to rest where the last batch had so many commands, so many milliseconds ago.
fn rest(commands: u32, age: u64, worked: Duration) -> Duration {
    if commands == 0 || age > RECENT {
        return Duration::ZERO;
    }
    (worked.saturating_mul(STEP.saturating_add(commands)) / STEP).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKED: Duration = Duration::from_millis(2);

    #[test]
    fn the_fuller_the_batches_the_longer_the_rest() {
        let rests = [1, 8, 16, 256].map(|commands| rest(commands, 0, WORKED).as_micros());

        assert_eq!(rests, [2_250, 4_000, 6_000, 8_000]);
    }

    #[test]
    fn nobody_rests_while_no_commands_come() {
        assert!(Pressure::default().rest_after(WORKED).is_zero());
        assert!(rest(256, RECENT + 1, WORKED).is_zero());
    }

    #[test]
    fn what_is_reported_is_what_counts() {
        let pressure = Pressure::default();

        pressure.report(70_000);

        assert_eq!(pressure.last.load(Ordering::Relaxed) & 0xffff, 0xffff);
    }
}
