//! A buffer of the events that this process appended last, so that its one consumer need not read them
//! back from the store.
//!
//! The consumer takes events only if they follow its position without a hole: then no event of another
//! process can be between them. It reads all other events from the store.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, futures::Notified};

use crate::event_sourcing::event::{Position, RecordedEvent};

/// The largest number of buffered events.
const MAX_EVENTS: usize = 2048;

/// The largest number of buffered bytes of event data. The last event stays even if it is larger.
const MAX_BYTES: usize = 4 << 20;

/// The events that this process appended last. There is one consumer: a read removes what it returns.
#[derive(Debug, Clone, Default)]
pub struct FreshEvents {
    buffer: Arc<Mutex<Buffer>>,
    appended: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Buffer {
    events: VecDeque<RecordedEvent>,
    bytes: usize,
    newest: Position,
}

impl Buffer {
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
    /// Adds stored events in position order, and wakes the consumer.
    pub fn push(&self, events: impl IntoIterator<Item = RecordedEvent>) {
        let mut buffer = self.lock();
        for event in events {
            buffer.newest = event.position;
            buffer.bytes = buffer.bytes.saturating_add(size(&event));
            buffer.events.push_back(event);
            while buffer.events.len() > MAX_EVENTS
                || (buffer.bytes > MAX_BYTES && buffer.events.len() > 1)
            {
                buffer.pop();
            }
        }
        drop(buffer);
        self.appended.notify_waiters();
    }

    /// Returns at most `limit` events that follow `position` without a hole, and removes them. Returns
    /// none if the next events have to be read from the store.
    #[must_use]
    pub fn take_after(&self, position: Position, limit: u32) -> Vec<RecordedEvent> {
        let mut buffer = self.lock();
        let (mut run, mut last) = (Vec::new(), position);
        while let Some(next) = buffer.events.front().map(|event| event.position) {
            if next <= last {
                buffer.pop();
            } else if next == last.next() && run.len() < limit as usize {
                run.extend(buffer.pop());
                last = next;
            } else {
                break;
            }
        }
        run
    }

    /// Whether the event at `position` is the last one that this process appended.
    #[must_use]
    pub fn ends_at(&self, position: Position) -> bool {
        self.lock().newest == position && position > Position::ZERO
    }

    /// Clears the buffer when the connection to the store was lost: the store may have been restored to
    /// an earlier point, without these events.
    pub fn forget(&self) {
        *self.lock() = Buffer::default();
    }

    /// Completes when events are pushed after this call, or after the future was enabled.
    pub fn appended(&self) -> Notified<'_> {
        self.appended.notified()
    }

    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn a_run_begins_directly_after_the_position() {
        let fresh = FreshEvents::default();
        fresh.push([3, 4, 5].map(event));

        assert_eq!(taken(&fresh, 1, 10), [0_i64; 0]);
        assert_eq!(taken(&fresh, 2, 2), [3, 4]);
        assert_eq!(taken(&fresh, 4, 10), [5]);
        assert_eq!(taken(&fresh, 5, 10), [0_i64; 0]);
    }

    #[test]
    fn a_run_ends_before_a_hole_and_older_events_are_dropped() {
        let fresh = FreshEvents::default();
        fresh.push([1, 2, 3, 5, 6].map(event));

        assert_eq!(taken(&fresh, 2, 10), [3]);
        assert_eq!(taken(&fresh, 3, 10), [0_i64; 0]);
        assert_eq!(taken(&fresh, 4, 10), [5, 6]);
    }

    #[test]
    fn events_out_of_order_are_not_a_run() {
        let fresh = FreshEvents::default();
        fresh.push([2, 1].map(event));

        assert_eq!(taken(&fresh, 0, 10), [0_i64; 0]);
        assert_eq!(taken(&fresh, 1, 10), [2]);
    }

    #[test]
    fn only_the_newest_events_are_buffered() {
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
    fn the_last_appended_event_is_known_after_it_was_taken() {
        let fresh = FreshEvents::default();
        assert!(!fresh.ends_at(Position::ZERO));

        fresh.push([event(7)]);

        assert!(!fresh.ends_at(Position::new(6)));
        assert!(fresh.ends_at(Position::new(7)));
        assert_eq!(taken(&fresh, 6, 10), [7]);
        assert!(fresh.ends_at(Position::new(7)));
    }

    #[test]
    fn a_cleared_buffer_returns_nothing() {
        let fresh = FreshEvents::default();
        fresh.push([1, 2].map(event));

        fresh.forget();

        assert_eq!(taken(&fresh, 0, 10), [0_i64; 0]);
        assert!(!fresh.ends_at(Position::new(2)));
    }

    #[tokio::test]
    async fn a_push_wakes_the_consumer() {
        let fresh = FreshEvents::default();
        let appended = fresh.appended();
        tokio::pin!(appended);
        appended.as_mut().enable();

        fresh.push([event(1)]);

        appended.await;
    }
}
