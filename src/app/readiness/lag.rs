//! How far something is behind the store.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    event_sourcing::Position,
    postgres::condition::{COUNTED, Missing},
};

/// How far something is behind the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lag {
    /// How many events are missing. If there are very many, the number is a little too high.
    pub(super) events: u64,
    /// How long events have been missing. Zero while they are only on their way.
    pub(super) late: Duration,
}

/// The end of the store at the last looks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StoreEnd([Position; 3]);

impl StoreEnd {
    /// Takes the newest end.
    pub(super) fn update(&mut self, newest: Position) {
        let Self([_, before, last]) = *self;
        *self = Self([before, last, newest]);
    }

    fn newest(self) -> Position {
        self.0[2]
    }

    /// Where the store ended two looks ago: what is missing up to here is late. The restored store may be
    /// shorter than it was.
    fn settled(self) -> Position {
        self.0[0].min(self.newest())
    }
}

/// Follows the lag from look to look.
#[derive(Debug, Default)]
pub(super) struct LagWatch {
    late_since: Option<Instant>,
}

impl LagWatch {
    /// The lag of what has reached this position. The age of the first missing event is known from the
    /// first look on, but by clocks that may differ. So the time since this process has noticed the lag
    /// counts if it is longer.
    pub(super) fn look(&mut self, reached: Position, end: StoreEnd, missing: Missing) -> Lag {
        let positions = end.newest().get().saturating_sub(reached.get());
        self.late_since = if reached >= end.settled() {
            None
        } else {
            self.late_since.or_else(|| Some(Instant::now()))
        };
        let late = self
            .late_since
            .map(|since| since.elapsed().max(missing.oldest.unwrap_or_default()));
        Lag {
            // Positions have gaps. So many that the events were not counted are only estimated.
            events: if missing.events < COUNTED {
                missing.events
            } else {
                u64::try_from(positions).unwrap_or(0)
            },
            late: late.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn end(positions: [i64; 3]) -> StoreEnd {
        StoreEnd(positions.map(Position::new))
    }

    fn look(watch: &mut LagWatch, reached: i64, end: StoreEnd, oldest: Duration) -> Lag {
        let missing = Missing {
            events: 7,
            oldest: Some(oldest),
        };
        watch.look(Position::new(reached), end, missing)
    }

    #[tokio::test(start_paused = true)]
    async fn events_on_their_way_are_not_late_whatever_the_clocks_say() {
        let mut watch = LagWatch::default();

        let lag = look(&mut watch, 20, end([20, 30, 40]), 100 * SECOND);

        assert_eq!((lag.events, lag.late), (7, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn late_events_are_late_by_their_age_or_since_they_were_noticed() {
        let mut watch = LagWatch::default();
        let stalled = end([20, 30, 40]);

        assert_eq!(look(&mut watch, 19, stalled, 7 * SECOND).late, 7 * SECOND);
        advance(9 * SECOND).await;
        assert_eq!(look(&mut watch, 19, stalled, 2 * SECOND).late, 9 * SECOND);
        assert_eq!(look(&mut watch, 25, stalled, SECOND).late, Duration::ZERO);
        advance(SECOND).await;
        assert_eq!(look(&mut watch, 19, stalled, SECOND).late, SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_was_restored_to_an_earlier_point_is_no_lag() {
        let lag = look(&mut LagWatch::default(), 12, end([40, 40, 10]), SECOND);

        assert_eq!(lag.late, Duration::ZERO);
    }

    #[test]
    fn events_that_are_too_many_to_count_are_estimated_by_their_positions() {
        let missing = Missing {
            events: COUNTED,
            oldest: None,
        };

        let lag = LagWatch::default().look(Position::new(5), end([0, 0, 50_000]), missing);

        assert_eq!(lag.events, 49_995);
    }
}
