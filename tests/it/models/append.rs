//! Appends to PostgreSQL, many at once, against a model of a map of lists.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use futures::future::join_all;
use orders::{
    event_sourcing::{
        Append, AppendError, EventStore, IdempotencyKey, Metadata, NewEvent, Position, StreamId,
        Version,
    },
    live::FreshEvents,
    postgres::{self, PgEventStore, Writer, writer::WriterOptions},
};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use crate::support::servers::fresh_database;

/// One append: which stream, how far beside its version, how many events, under which key.
#[derive(Debug, Clone)]
struct Ask {
    stream: u8,
    beside: i32,
    events: usize,
    key: Option<u8>,
}

fn asks() -> impl Strategy<Value = Vec<Vec<Ask>>> {
    // Most of them are right, so that streams grow.
    let beside = prop_oneof![6 => Just(0), 1 => Just(-1), 1 => Just(1)];
    let ask = (0..6_u8, beside, 0..4_usize, option::of(0..8_u8)).prop_map(
        |(stream, beside, events, key)| Ask {
            stream,
            beside,
            // Nothing at all is only stored for its key.
            events: events.max(usize::from(key.is_none())),
            key,
        },
    );
    vec(vec(ask, 1..8), 1..20)
}

/// What a store is, without its difficulties.
#[derive(Default)]
struct Model {
    streams: HashMap<u8, Vec<Uuid>>,
    keys: HashMap<u8, Used>,
    /// In which round each event was stored.
    rounds: HashMap<Uuid, usize>,
}

/// What the first command under a key did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Used {
    /// The command's fingerprint is made of its id.
    fingerprint: [u8; 32],
    aggregate_id: Option<Uuid>,
    version: Version,
    has_changed: bool,
}

/// What an append came to.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Appended,
    Conflict,
    /// With what the first command under the key did.
    Duplicate(Used),
}

impl Model {
    fn version(&self, stream: u8) -> i32 {
        let events = self.streams.get(&stream).map_or(0, Vec::len);
        i32::try_from(events).unwrap()
    }

    fn append(&mut self, round: usize, ask: &Ask, append: &Append) -> Outcome {
        if let Some(used) = ask.key.and_then(|key| self.keys.get(&key)) {
            return Outcome::Duplicate(*used);
        }
        if append.expected.get() != self.version(ask.stream) {
            return Outcome::Conflict;
        }
        let ids = append.events.iter().map(|event| event.event_id);
        self.rounds.extend(ids.clone().map(|id| (id, round)));
        self.streams.entry(ask.stream).or_default().extend(ids);
        if let (Some(number), Some(key)) = (ask.key, &append.key) {
            let version = Version::new(self.version(ask.stream));
            let used = Used {
                fingerprint: key.fingerprint,
                aggregate_id: (version > Version::ZERO).then_some(append.stream.aggregate_id),
                version,
                has_changed: !append.events.is_empty(),
            };
            self.keys.insert(number, used);
        }
        Outcome::Appended
    }
}

/// The names of one history: all of them share a database.
struct World {
    store: PgEventStore,
    scope: Uuid,
}

impl World {
    fn stream(&self, number: u8) -> StreamId {
        StreamId {
            aggregate_type: "Modelled",
            aggregate_id: Uuid::new_v5(&self.scope, &[number]),
        }
    }

    fn append(&self, ask: &Ask, version: i32) -> Append {
        let event = |_| NewEvent {
            event_id: Uuid::now_v7(),
            event_type: "Counted",
            schema_version: 1,
            data: RawValue::from_string("{}".to_owned()).unwrap(),
        };
        let expected = Version::new((version + ask.beside).max(0));
        let command_id = Uuid::now_v7();
        let key = ask.key.map(|key| {
            let mut fingerprint = [key; 32];
            fingerprint[..16].copy_from_slice(command_id.as_bytes());
            IdempotencyKey {
                scope: self.scope.to_string(),
                key: key.to_string(),
                fingerprint,
            }
        });
        Append {
            command_id,
            stream: self.stream(ask.stream),
            expected,
            events: (0..ask.events).map(event).collect(),
            occurred_at: chrono::DateTime::UNIX_EPOCH,
            metadata: to_raw_value(&Metadata::default()).unwrap(),
            key,
        }
    }

    async fn send(&self, append: Append) -> Outcome {
        match self.store.append(append).await {
            Ok(_) => Outcome::Appended,
            Err(AppendError::VersionConflict) => Outcome::Conflict,
            Err(AppendError::DuplicateCommand(used)) => Outcome::Duplicate(Used {
                fingerprint: used.fingerprint,
                aggregate_id: used.aggregate_id,
                version: used.version,
                has_changed: used.has_changed,
            }),
            Err(AppendError::Store(error)) => panic!("{error:?}"),
        }
    }

    /// Versions have no hole, each event is stored once, and positions rise from round to round.
    async fn assert_is(&self, model: &Model) {
        let mut stored = vec![];
        for (number, ids) in &model.streams {
            let stream = self.stream(*number);
            let events = self.store.read_stream(stream, Version::new(1), 1000).await;
            let events = events.unwrap();
            let versions: Vec<_> = events.iter().map(|event| event.version.get()).collect();
            assert!(versions.iter().copied().eq(1..=model.version(*number)));
            assert!(events.iter().map(|event| &event.event_id).eq(ids));
            stored.extend(events.iter().map(|event| (event.position, event.event_id)));
        }
        stored.sort_unstable();
        let positions: HashSet<Position> = stored.iter().map(|(position, _)| *position).collect();
        assert_eq!(positions.len(), model.rounds.len());
        let rounds = stored.iter().map(|(_, id)| model.rounds[id]);
        assert!(rounds.is_sorted(), "positions do not follow commits");
    }
}

#[test]
fn appends_come_to_what_the_model_says() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let store = runtime.block_on(async {
        let (options, _) = fresh_database().await;
        let (writer, handle) = Writer::new(
            options.clone(),
            WriterOptions::default(),
            FreshEvents::default(),
        );
        tokio::spawn(writer.run());
        PgEventStore::new(postgres::pool(options, 4), handle, Duration::from_hours(1))
    });
    let config = Config {
        cases: 40,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);

    let held = runner.run(&asks(), |rounds| {
        let world = World {
            store: store.clone(),
            scope: Uuid::now_v7(),
        };
        let mut model = Model::default();
        runtime.block_on(async {
            for (round, asks) in rounds.iter().enumerate() {
                // Those of a round go at once, so none may depend on another.
                let (mut streams, mut keys) = (HashSet::new(), HashSet::new());
                let apart = asks.iter().filter(|ask| {
                    streams.insert(ask.stream) && ask.key.is_none_or(|key| keys.insert(key))
                });
                let (mut expected, mut sent) = (vec![], vec![]);
                for ask in apart {
                    let append = world.append(ask, model.version(ask.stream));
                    expected.push(model.append(round, ask, &append));
                    sent.push(world.send(append));
                }
                assert_eq!(join_all(sent).await, expected);
            }
            world.assert_is(&model).await;
        });
        Ok(())
    });

    held.unwrap();
}
