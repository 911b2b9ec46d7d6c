//! An event store in memory, for unit tests.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

use crate::event_sourcing::{
    Append, AppendError, Appended, EventStore, IdempotencyKey, Position, RecordedEvent,
    SnapshotStore, StoreError, StoredSnapshot, StoredStream, StreamId, UsedKey, Version,
    store::Until,
};

/// An event store and snapshot store in memory. Clones share their contents.
#[derive(Debug, Clone, Default)]
pub struct InMemoryEventStore(Arc<Mutex<Tables>>);

#[derive(Debug, Default)]
struct Tables {
    events: Vec<RecordedEvent>,
    /// By scope and key: the id of the command that used the key, and what it did.
    keys: HashMap<(String, String), (Uuid, UsedKey)>,
    /// By aggregate: version, state schema and state.
    snapshots: HashMap<Uuid, (Version, i32, String)>,
}

impl Tables {
    fn stream(&self, stream: StreamId) -> impl Iterator<Item = &RecordedEvent> {
        self.events.iter().filter(move |event| {
            event.aggregate_id == stream.aggregate_id
                && event.aggregate_type == stream.aggregate_type
        })
    }
}

impl InMemoryEventStore {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_within(event: &RecordedEvent, until: Until) -> bool {
    match until {
        Until::Now => true,
        Until::Version(version) => event.version <= version,
        Until::Timestamp(instant) => event.occurred_at <= instant,
    }
}

impl EventStore for InMemoryEventStore {
    async fn load(
        &self,
        stream: StreamId,
        until: Until,
        snapshot: Option<i32>,
    ) -> Result<StoredStream, StoreError> {
        let tables = self.tables();
        let mut events: Vec<_> = tables
            .stream(stream)
            .filter(|event| is_within(event, until))
            .cloned()
            .collect();
        let usable =
            tables
                .snapshots
                .get(&stream.aggregate_id)
                .and_then(|(version, schema, state)| {
                    let event = events.iter().find(|event| event.version == *version)?;
                    (snapshot == Some(*schema)).then(|| StoredSnapshot {
                        version: *version,
                        position: event.position,
                        occurred_at: event.occurred_at,
                        state: state.clone(),
                    })
                });
        if let Some(snapshot) = &usable {
            events.retain(|event| event.version > snapshot.version);
        }
        Ok(StoredStream {
            snapshot: usable,
            events,
        })
    }

    async fn read_stream(
        &self,
        stream: StreamId,
        from: Version,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let tables = self.tables();
        let events = tables.stream(stream).filter(|event| event.version >= from);
        Ok(events.take(limit as usize).cloned().collect())
    }

    async fn read_stream_after(
        &self,
        stream: StreamId,
        after: Position,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let tables = self.tables();
        let events = tables.stream(stream).filter(|event| event.position > after);
        Ok(events.take(limit as usize).cloned().collect())
    }

    async fn read_all(
        &self,
        after: Position,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let tables = self.tables();
        let events = tables.events.iter().filter(|event| event.position > after);
        Ok(events.take(limit as usize).cloned().collect())
    }

    async fn newest(&self) -> Result<Position, StoreError> {
        let newest = self.tables().events.last().map(|event| event.position);
        Ok(newest.unwrap_or(Position::ZERO))
    }

    async fn append(&self, mut append: Append) -> Result<Appended, AppendError> {
        let mut tables = self.tables();
        if let Some(key) = &append.key
            && let Some((command, used)) = tables.keys.get(&(key.scope.clone(), key.key.clone()))
        {
            return if *command == append.command_id {
                Ok(Appended {
                    position: used.position,
                })
            } else {
                Err(AppendError::DuplicateCommand(Box::new(used.clone())))
            };
        }
        let tail = tables
            .stream(append.stream)
            .last()
            .map(|event| (event.version, event.position));
        let (version, mut position) = tail.unwrap_or_default();
        if version != append.expected {
            return Err(AppendError::VersionConflict);
        }
        let (key, command_id) = (append.key.take(), append.command_id);
        let aggregate_id = append.stream.aggregate_id;
        let (version, has_changed) = (append.last_version(), !append.events.is_empty());
        if has_changed {
            let count = tables.events.len() + append.events.len();
            position = Position::new(i64::try_from(count).unwrap());
            tables.events.extend(append.into_recorded(position));
        }
        if let Some(key) = key {
            let used = UsedKey {
                fingerprint: key.fingerprint,
                aggregate_id: (position > Position::ZERO).then_some(aggregate_id),
                version,
                has_changed,
                position,
            };
            tables.keys.insert((key.scope, key.key), (command_id, used));
        }
        Ok(Appended { position })
    }

    async fn find_key(&self, key: &IdempotencyKey) -> Result<Option<UsedKey>, StoreError> {
        let tables = self.tables();
        let found = tables.keys.get(&(key.scope.clone(), key.key.clone()));
        Ok(found.map(|(_, used)| used.clone()))
    }
}

impl SnapshotStore for InMemoryEventStore {
    async fn save(
        &self,
        stream: StreamId,
        version: Version,
        schema: i32,
        state: String,
    ) -> Result<(), StoreError> {
        let mut tables = self.tables();
        let stored = tables.snapshots.get(&stream.aggregate_id);
        if stored.is_none_or(|(at, of, _)| (*at, *of) < (version, schema)) {
            tables
                .snapshots
                .insert(stream.aggregate_id, (version, schema, state));
        }
        Ok(())
    }
}
