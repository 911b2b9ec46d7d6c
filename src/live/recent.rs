//! The buffer of a feed: the most recent events of the store.

use std::collections::VecDeque;

use uuid::Uuid;

use super::source::Entry;
use crate::event_sourcing::Position;

/// The largest number of buffered events.
const MAX_EVENTS: usize = 2048;

/// The largest number of buffered bytes. The last event stays even if it is larger.
const MAX_BYTES: usize = 8 << 20;

/// A follower receives at most this many bytes at once, plus one event. It bounds the memory for a
/// client that does not read its stream.
pub(super) const CHUNK_BYTES: usize = 256 << 10;

/// All events after one position, up to another.
pub(super) struct RecentEvents<T> {
    /// Whether the feed knows where the store ends. Otherwise the buffer is not used.
    is_started: bool,
    /// The buffer has all events after this position.
    after: Position,
    /// The position up to which the feed has read the store.
    newest: Position,
    entries: VecDeque<Entry<T>>,
    bytes: usize,
    /// How often the store was rewound: restored to an earlier point.
    rewinds: u64,
    /// Where the store ended after the last rewind.
    rewound_to: Position,
}

/// What the buffer has for a follower.
pub(super) enum Lookup<T> {
    /// The next events, and the position up to which they are complete.
    Buffered(Vec<T>, Position),
    /// The next events are only in the store. The buffer begins after this position.
    InStore(Position),
    /// No event follows yet.
    UpToDate,
}

impl<T> Default for RecentEvents<T> {
    fn default() -> Self {
        Self {
            is_started: false,
            after: Position::ZERO,
            newest: Position::ZERO,
            entries: VecDeque::new(),
            bytes: 0,
            rewinds: 0,
            rewound_to: Position::ZERO,
        }
    }
}

impl<T: Clone> RecentEvents<T> {
    /// The position up to which the feed has read the store, and the number of rewinds.
    pub(super) fn end(&self) -> (Position, u64) {
        (self.newest, self.rewinds)
    }

    /// The number of rewinds, and where the store ended after the last one.
    pub(super) fn last_rewind(&self) -> (u64, Position) {
        (self.rewinds, self.rewound_to)
    }

    /// Whether the feed knows where the store ends.
    pub(super) fn is_started(&self) -> bool {
        self.is_started
    }

    /// Starts with an empty buffer at the end of the store.
    pub(super) fn start(&mut self, at: Position) {
        self.clear();
        self.is_started = true;
        if at < self.newest {
            self.rewinds += 1;
            self.rewound_to = at;
        }
        (self.after, self.newest) = (at, at);
    }

    /// Clears the buffer when nobody follows: the store may be rewound before the next follower joins.
    pub(super) fn clear(&mut self) {
        self.is_started = false;
        self.entries.clear();
        self.bytes = 0;
    }

    /// Appends the next events of the store, which are complete up to `end`.
    pub(super) fn extend(
        &mut self,
        events: Vec<Entry<T>>,
        end: Position,
        size: impl Fn(&T) -> usize,
    ) {
        self.bytes += events.iter().map(|entry| size(&entry.item)).sum::<usize>();
        self.entries.extend(events);
        self.newest = end;
        while self.entries.len() > MAX_EVENTS || (self.bytes > MAX_BYTES && self.entries.len() > 1)
        {
            if let Some(oldest) = self.entries.pop_front() {
                self.bytes = self.bytes.saturating_sub(size(&oldest.item));
                self.after = oldest.position;
            }
        }
    }

    /// Looks up the events after a position, of all aggregates or of one.
    pub(super) fn look_up(
        &self,
        after: Position,
        aggregate: Option<Uuid>,
        size: impl Fn(&T) -> usize,
    ) -> Lookup<T> {
        // A new follower starts at the end of the store, which may be ahead of the feed.
        if !self.is_started || after >= self.newest {
            return Lookup::UpToDate;
        }
        if after < self.after {
            return Lookup::InStore(self.after);
        }
        let start = self
            .entries
            .partition_point(|entry| entry.position <= after);
        let (mut items, mut bytes) = (vec![], 0);
        for entry in self.entries.range(start..) {
            if aggregate.is_some_and(|id| entry.aggregate_id != id) {
                continue;
            }
            bytes += size(&entry.item);
            items.push(entry.item.clone());
            if bytes >= CHUNK_BYTES {
                return Lookup::Buffered(items, entry.position);
            }
        }
        Lookup::Buffered(items, self.newest)
    }
}
