//! What a feed keeps for its followers: the newest events.

use std::collections::VecDeque;

use uuid::Uuid;

use crate::event_sourcing::Position;

/// How many events are kept for followers, and how many bytes of them, one event apart.
const MOST_EVENTS: usize = 2048;
const MOST_BYTES: usize = 8 << 20;

/// An event with what the feed has to know of it.
#[derive(Debug, Clone)]
pub struct Entry<T> {
    /// Its place in the store.
    pub position: Position,
    /// Whose event it is.
    pub aggregate_id: Uuid,
    /// The event.
    pub item: T,
}

/// The newest events: all that follow one position, up to another.
pub(super) struct Tail<T> {
    begins_after: Position,
    newest: Position,
    kept: VecDeque<Entry<T>>,
    bytes: usize,
    setbacks: u64,
}

/// What there is for a follower.
pub(super) enum Look<T> {
    /// What comes next, and up to where.
    Kept(Vec<T>, Position),
    /// What comes next is not kept, but the store has it: all that is kept comes after this position.
    Store(Position),
    /// Nothing yet.
    Nothing,
}

impl<T> Default for Tail<T> {
    fn default() -> Self {
        Self {
            begins_after: Position::ZERO,
            newest: Position::ZERO,
            kept: VecDeque::new(),
            bytes: 0,
            setbacks: 0,
        }
    }
}

impl<T: Clone> Tail<T> {
    /// Up to where the store was read.
    pub(super) fn newest(&self) -> Position {
        self.newest
    }

    /// How often the store has gone back.
    pub(super) fn setbacks(&self) -> u64 {
        self.setbacks
    }

    /// Begins anew at the store's end.
    pub(super) fn begin(&mut self, at: Position) {
        self.setbacks += u64::from(at < self.newest);
        (self.begins_after, self.newest) = (at, at);
        self.kept.clear();
        self.bytes = 0;
    }

    /// Keeps nothing for nobody: who comes later asks the store, which may be another one by then.
    pub(super) fn forget(&mut self) {
        self.begin(self.newest);
    }

    /// Adds what was read next, up to `end`.
    pub(super) fn extend(
        &mut self,
        events: Vec<Entry<T>>,
        end: Position,
        size: impl Fn(&T) -> usize,
    ) {
        self.bytes += events.iter().map(|entry| size(&entry.item)).sum::<usize>();
        self.kept.extend(events);
        self.newest = end;
        while self.kept.len() > MOST_EVENTS || (self.bytes > MOST_BYTES && self.kept.len() > 1) {
            if let Some(oldest) = self.kept.pop_front() {
                self.bytes = self.bytes.saturating_sub(size(&oldest.item));
                self.begins_after = oldest.position;
            }
        }
    }

    /// What comes after a position, of all aggregates or of one.
    pub(super) fn look(&self, after: Position, of: Option<Uuid>) -> Look<T> {
        if after < self.begins_after {
            return Look::Store(self.begins_after);
        }
        // A follower may be ahead of the feed for a moment: it began at the store's very end.
        if after >= self.newest {
            return Look::Nothing;
        }
        let start = self.kept.partition_point(|entry| entry.position <= after);
        let is_wanted = |entry: &&Entry<T>| of.is_none_or(|id| entry.aggregate_id == id);
        let wanted = self.kept.range(start..).filter(is_wanted);
        let items = wanted.map(|entry| entry.item.clone());
        Look::Kept(items.collect(), self.newest)
    }
}
