//! Fresh events: what this process has just appended, kept in memory, so that those who follow the store
//! in this process (the relay and the projector) need not read it back.
//!
//! A reader gets a run of events only if it begins directly after the reader's position and has no gap.
//! Everything else (events of other processes, older events, events that found no room here) is read
//! from the store.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, futures::Notified};

use crate::event_sourcing::{Position, RecordedEvent};

/// How many events are kept.
const MAX_EVENTS: usize = 2048;

/// How many bytes of event data are kept; a single larger event is kept all the same.
const MAX_BYTES: usize = 4 << 20;

/// The events that this process appended last. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct FreshEvents {
    kept: Arc<Mutex<Kept>>,
    appended: Arc<Notify>,
}

/// The events, with rising positions.
#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Arc<RecordedEvent>>,
    bytes: usize,
}

impl Kept {
    fn push(&mut self, event: Arc<RecordedEvent>) {
        // A position that does not rise: the store went back. What was kept may be gone from it.
        if event.position <= self.newest() {
            *self = Self::default();
        }
        self.bytes = self.bytes.saturating_add(size(&event));
        self.events.push_back(event);
        while self.events.len() > MAX_EVENTS || (self.bytes > MAX_BYTES && self.events.len() > 1) {
            if let Some(oldest) = self.events.pop_front() {
                self.bytes = self.bytes.saturating_sub(size(&oldest));
            }
        }
    }

    fn newest(&self) -> Position {
        self.events
            .back()
            .map_or(Position::ZERO, |event| event.position)
    }
}

fn size(event: &RecordedEvent) -> usize {
    event.data.get().len()
}

impl FreshEvents {
    /// Keeps stored events, in position order, and wakes those who wait in [`Self::appended`].
    pub fn push(&self, events: impl IntoIterator<Item = RecordedEvent>) {
        let mut kept = self.lock();
        for event in events {
            kept.push(Arc::new(event));
        }
        drop(kept);
        self.appended.notify_waiters();
    }

    /// Returns at most `limit` events that follow `position` one after another without a gap; none if
    /// the store must be asked.
    #[must_use]
    pub fn run_after(&self, position: Position, limit: usize) -> Vec<Arc<RecordedEvent>> {
        let kept = self.lock();
        let start = kept
            .events
            .partition_point(|event| event.position <= position);
        let follows =
            |(event, expected): &(&Arc<RecordedEvent>, Position)| event.position == *expected;
        let expected = std::iter::successors(Some(position.next()), |last| Some(last.next()));
        let run = kept
            .events
            .range(start..)
            .zip(expected)
            .take(limit)
            .take_while(follows);
        run.map(|(event, _)| Arc::clone(event)).collect()
    }

    /// Whether the event at `position` is the last one that this process has appended.
    #[must_use]
    pub fn ends_at(&self, position: Position) -> bool {
        position > Position::ZERO && self.lock().newest() == position
    }

    /// Forgets all events. Called when the store may have been replaced by an earlier state of itself:
    /// what was appended before must then be read from the store.
    pub fn forget(&self) {
        *self.lock() = Kept::default();
    }

    /// Completes when events are pushed after this call (or, for the future, after it was enabled).
    pub fn appended(&self) -> Notified<'_> {
        self.appended.notified()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;
    use uuid::Uuid;

    use super::*;
    use crate::event_sourcing::Version;

    fn event(position: i64) -> RecordedEvent {
        event_of(position, 2)
    }

    fn event_of(position: i64, bytes: usize) -> RecordedEvent {
        let text = format!("\"{}\"", "x".repeat(bytes.saturating_sub(2)));
        RecordedEvent {
            position: Position::new(position),
            event_id: Uuid::nil(),
            aggregate_type: "Order".to_owned(),
            aggregate_id: Uuid::nil(),
            version: Version::new(1),
            event_type: "OrderCreated".to_owned(),
            schema_version: 1,
            data: RawValue::from_string(text).unwrap(),
            metadata: RawValue::from_string("{}".to_owned()).unwrap(),
            occurred_at: crate::event_sourcing::testing::instant(0),
        }
    }

    fn run(fresh: &FreshEvents, after: i64, limit: usize) -> Vec<i64> {
        let run = fresh.run_after(Position::new(after), limit);
        run.iter().map(|event| event.position.get()).collect()
    }

    #[test]
    fn a_run_begins_directly_after_the_reader_and_stays_for_other_readers() {
        let fresh = FreshEvents::default();
        fresh.push([3, 4, 5].map(event));

        for _ in 0..2 {
            assert_eq!(run(&fresh, 1, 10), [0_i64; 0]);
            assert_eq!(run(&fresh, 2, 2), [3, 4]);
            assert_eq!(run(&fresh, 4, 10), [5]);
            assert_eq!(run(&fresh, 5, 10), [0_i64; 0]);
        }
    }

    #[test]
    fn a_run_ends_before_a_gap() {
        let fresh = FreshEvents::default();
        fresh.push([1, 2, 3, 5, 6].map(event));

        assert_eq!(run(&fresh, 2, 10), [3]);
        assert_eq!(run(&fresh, 3, 10), [0_i64; 0]);
        assert_eq!(run(&fresh, 4, 10), [5, 6]);
    }

    #[test]
    fn a_position_that_falls_shows_that_the_store_went_back() {
        let fresh = FreshEvents::default();
        fresh.push([1, 2, 3].map(event));

        fresh.push([2].map(event));

        assert_eq!(run(&fresh, 0, 10), [0_i64; 0]);
        assert_eq!(run(&fresh, 1, 10), [2]);
    }

    #[test]
    fn only_the_newest_are_kept() {
        let fresh = FreshEvents::default();
        fresh.push((1..=3000).map(event));
        assert_eq!(run(&fresh, 0, 10), [0_i64; 0]);
        assert_eq!(run(&fresh, 3000 - 2048, 1), [3000 - 2047]);

        let fresh = FreshEvents::default();
        fresh.push((1..=5).map(|position| event_of(position, 1 << 20)));
        assert_eq!(run(&fresh, 0, 10), [0_i64; 0]);
        assert_eq!(run(&fresh, 1, 10), [2, 3, 4, 5]);
    }

    #[test]
    fn the_end_is_the_newest_event() {
        let fresh = FreshEvents::default();
        assert!(!fresh.ends_at(Position::ZERO));

        fresh.push([event(7)]);

        assert!(!fresh.ends_at(Position::new(6)));
        assert!(fresh.ends_at(Position::new(7)));
    }

    #[test]
    fn forgotten_events_must_be_read_from_the_store() {
        let fresh = FreshEvents::default();
        fresh.push([1, 2].map(event));

        fresh.forget();

        assert_eq!(run(&fresh, 0, 10), [0_i64; 0]);
        assert!(!fresh.ends_at(Position::new(2)));
    }

    #[tokio::test]
    async fn a_push_wakes_those_who_wait() {
        let fresh = FreshEvents::default();
        let woken = fresh.appended();
        tokio::pin!(woken);
        woken.as_mut().enable();

        fresh.push([event(1)]);

        woken.await;
    }
}
