//! What a feed keeps for its followers: the newest events.

use std::collections::VecDeque;

use uuid::Uuid;

use super::source::Entry;
use crate::event_sourcing::Position;

/// How many events are kept for followers, and how many bytes of them, one event apart.
const MOST_EVENTS: usize = 2048;
const MOST_BYTES: usize = 8 << 20;

/// How many bytes are handed out at once, one event apart: so much a client may have that does not
/// read what it is sent.
pub(super) const CHUNK_BYTES: usize = 256 << 10;

/// The newest events: all that follow one position, up to another.
pub(super) struct RecentEvents<T> {
    /// Whether it is known where the store ends.
    is_begun: bool,
    begins_after: Position,
    newest: Position,
    kept: VecDeque<Entry<T>>,
    bytes: usize,
    setbacks: u64,
    /// Where it was after the last time.
    set_back_to: Position,
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

impl<T> Default for RecentEvents<T> {
    fn default() -> Self {
        Self {
            is_begun: false,
            begins_after: Position::ZERO,
            newest: Position::ZERO,
            kept: VecDeque::new(),
            bytes: 0,
            setbacks: 0,
            set_back_to: Position::ZERO,
        }
    }
}

impl<T: Clone> RecentEvents<T> {
    /// Up to where the store was read, and how often it has gone back.
    pub(super) fn end(&self) -> (Position, u64) {
        (self.newest, self.setbacks)
    }

    /// How often the store has gone back, and to where the last time.
    pub(super) fn setback(&self) -> (u64, Position) {
        (self.setbacks, self.set_back_to)
    }

    /// Whether it is known where the store ends, and where it ended last.
    pub(super) fn begun(&self) -> (bool, Position) {
        (self.is_begun, self.newest)
    }

    /// Begins anew at the store's end.
    pub(super) fn begin(&mut self, at: Position) {
        self.is_begun = true;
        if at < self.newest {
            self.setbacks += 1;
            self.set_back_to = at;
        }
        (self.begins_after, self.newest) = (at, at);
        self.kept.clear();
        self.bytes = 0;
    }

    /// Keeps nothing for nobody: whoever comes later may find another store.
    pub(super) fn forget(&mut self) {
        self.is_begun = false;
        self.kept.clear();
        self.bytes = 0;
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
    pub(super) fn look(
        &self,
        after: Position,
        of: Option<Uuid>,
        size: impl Fn(&T) -> usize,
    ) -> Look<T> {
        // A follower may be ahead of the feed for a moment: it began at the store's very end.
        if !self.is_begun || after >= self.newest {
            return Look::Nothing;
        }
        if after < self.begins_after {
            return Look::Store(self.begins_after);
        }
        let start = self.kept.partition_point(|entry| entry.position <= after);
        let (mut items, mut bytes) = (vec![], 0);
        for entry in self.kept.range(start..) {
            if of.is_some_and(|id| entry.aggregate_id != id) {
                continue;
            }
            bytes += size(&entry.item);
            items.push(entry.item.clone());
            if bytes >= CHUNK_BYTES {
                return Look::Kept(items, entry.position);
            }
        }
        Look::Kept(items, self.newest)
    }
}
