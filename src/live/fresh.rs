//! Fresh events: what this process has just appended, kept for whoever follows the store, so that it
//! need not be read back.
//!
//! A follower takes a run of events only where it begins directly after the follower's position and
//! has no hole, for positions without a hole hide nothing. Everything else (what other processes
//! appended, what was appended before, what found no room here) is read from the store.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, futures::Notified};

use crate::event_sourcing::event::{Position, RecordedEvent};

/// How many events are kept for a follower that is behind.
const MOST_EVENTS: usize = 2048;

/// How many bytes of event data are kept, one event apart.
const MOST_BYTES: usize = 4 << 20;

/// The events that were appended last. For one follower: what it has taken is gone.
#[derive(Debug, Clone, Default)]
pub struct FreshEvents {
    kept: Arc<Mutex<Kept>>,
    appended: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<RecordedEvent>,
    bytes: usize,
    newest: Position,
}

impl Kept {
    fn pop(&mut self) -> Option<RecordedEvent> {
        let event = self.events.pop_front()?;
        self.bytes = self.bytes.saturating_sub(size(&event));
        Some(event)
    }
}

fn size(event: &RecordedEvent) -> usize {
    event.data.get().len()
}

impl FreshEvents {
    /// Keeps events that are stored, in position order, and wakes the follower.
    pub fn push(&self, events: impl IntoIterator<Item = RecordedEvent>) {
        let mut kept = self.lock();
        for event in events {
            kept.newest = event.position;
            kept.bytes = kept.bytes.saturating_add(size(&event));
            kept.events.push_back(event);
            while kept.events.len() > MOST_EVENTS
                || (kept.bytes > MOST_BYTES && kept.events.len() > 1)
            {
                kept.pop();
            }
        }
        drop(kept);
        self.appended.notify_waiters();
    }

    /// Takes at most `limit` events that stand directly after `position`, one after the other
    /// without a hole; none where the store has to be asked for them.
    #[must_use]
    pub fn take_after(&self, position: Position, limit: u32) -> Vec<RecordedEvent> {
        let mut kept = self.lock();
        let (mut run, mut last) = (Vec::new(), position);
        while let Some(next) = kept.events.front().map(|event| event.position) {
            if next <= last {
                kept.pop();
            } else if next == last.next() && run.len() < limit as usize {
                run.extend(kept.pop());
                last = next;
            } else {
                break;
            }
        }
        run
    }

    /// Whether this process has appended nothing after `position`, but something up to it.
    #[must_use]
    pub fn ends_at(&self, position: Position) -> bool {
        self.lock().newest == position && position > Position::ZERO
    }

    /// Forgets everything: what was appended before a doubt about the store (it may have been restored
    /// to an earlier point since) is read from it.
    pub fn forget(&self) {
        *self.lock() = Kept::default();
    }

    /// Completes when events are pushed after this was called (or, for the future, enabled).
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

    fn taken(fresh: &FreshEvents, after: i64, limit: u32) -> Vec<i64> {
        let run = fresh.take_after(Position::new(after), limit);
        run.iter().map(|event| event.position.get()).collect()
    }

    #[test]
    fn a_run_begins_directly_after_the_follower() {
        let fresh = FreshEvents::default();
        fresh.push([3, 4, 5].map(event));

        assert_eq!(taken(&fresh, 1, 10), [0_i64; 0]);
        assert_eq!(taken(&fresh, 2, 2), [3, 4]);
        assert_eq!(taken(&fresh, 4, 10), [5]);
        assert_eq!(taken(&fresh, 5, 10), [0_i64; 0]);
    }

    #[test]
    fn a_run_ends_before_a_hole_and_what_is_behind_is_dropped() {
        let fresh = FreshEvents::default();
        fresh.push([1, 2, 3, 5, 6].map(event));

        assert_eq!(taken(&fresh, 2, 10), [3]);
        assert_eq!(taken(&fresh, 3, 10), [0_i64; 0]);
        assert_eq!(taken(&fresh, 4, 10), [5, 6]);
    }

    #[test]
    fn events_out_of_order_are_never_a_run() {
        let fresh = FreshEvents::default();
        fresh.push([2, 1].map(event));

        assert_eq!(taken(&fresh, 0, 10), [0_i64; 0]);
        assert_eq!(taken(&fresh, 1, 10), [2]);
    }

    #[test]
    fn only_the_newest_are_kept() {
        let fresh = FreshEvents::default();
        fresh.push((1..=3000).map(event));
        assert_eq!(taken(&fresh, 0, 10), [0_i64; 0]);
        assert_eq!(taken(&fresh, 3000 - 2048, 1), [3000 - 2047]);

        let fresh = FreshEvents::default();
        fresh.push((1..=5).map(|position| event_of(position, 1 << 20)));
        assert_eq!(taken(&fresh, 0, 10), [0_i64; 0]);
        assert_eq!(taken(&fresh, 1, 10), [2, 3, 4, 5]);
    }

    #[test]
    fn whether_anything_is_left_is_known_by_the_newest() {
        let fresh = FreshEvents::default();
        assert!(!fresh.ends_at(Position::ZERO));

        fresh.push([event(7)]);

        assert!(!fresh.ends_at(Position::new(6)));
        assert!(fresh.ends_at(Position::new(7)));
        assert_eq!(taken(&fresh, 6, 10), [7]);
        assert!(fresh.ends_at(Position::new(7)));
    }

    #[test]
    fn what_is_forgotten_is_asked_of_the_store() {
        let fresh = FreshEvents::default();
        fresh.push([1, 2].map(event));

        fresh.forget();

        assert_eq!(taken(&fresh, 0, 10), [0_i64; 0]);
        assert!(!fresh.ends_at(Position::new(2)));
    }

    #[tokio::test]
    async fn a_push_wakes_the_follower() {
        let fresh = FreshEvents::default();
        let woken = fresh.appended();
        tokio::pin!(woken);
        woken.as_mut().enable();

        fresh.push([event(1)]);

        woken.await;
    }
}
