//! Many concurrent appends to PostgreSQL, compared with a model: a map of lists.

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

/// A random append: its stream, the offset of its expected version, its number of events, its key.
#[derive(Debug, Clone)]
struct RandomAppend {
    stream: u8,
    offset: i32,
    events: usize,
    key: Option<u8>,
}

fn random_appends() -> impl Strategy<Value = Vec<Vec<RandomAppend>>> {
    // Most expected versions are right, so that streams grow.
    let offset = prop_oneof![6 => Just(0), 1 => Just(-1), 1 => Just(1)];
    let random = (0..6_u8, offset, 0..4_usize, option::of(0..8_u8)).prop_map(
        |(stream, offset, events, key)| RandomAppend {
            stream,
            offset,
            // Without a key an append must have an event.
            events: events.max(usize::from(key.is_none())),
            key,
        },
    );
    vec(vec(random, 1..8), 1..20)
}

/// A model of the store.
#[derive(Default)]
struct Model {
    streams: HashMap<u8, Vec<Uuid>>,
    keys: HashMap<u8, FirstUse>,
    /// The round in which each event was stored.
    rounds: HashMap<Uuid, usize>,
}

/// What the first command under a key did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FirstUse {
    /// The fingerprint of the command, made of its id.
    fingerprint: [u8; 32],
    aggregate_id: Option<Uuid>,
    version: Version,
    has_changed: bool,
}

/// The outcome of an append.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Appended,
    Conflict,
    /// The key was used before. Holds what its first command did.
    Duplicate(FirstUse),
}

impl Model {
    fn version(&self, stream: u8) -> i32 {
        let events = self.streams.get(&stream).map_or(0, Vec::len);
        i32::try_from(events).unwrap()
    }

    fn append(&mut self, round: usize, random: &RandomAppend, append: &Append) -> Outcome {
        if let Some(used) = random.key.and_then(|key| self.keys.get(&key)) {
            return Outcome::Duplicate(*used);
        }
        if append.expected.get() != self.version(random.stream) {
            return Outcome::Conflict;
        }
        let ids = append.events.iter().map(|event| event.event_id);
        self.rounds.extend(ids.clone().map(|id| (id, round)));
        self.streams.entry(random.stream).or_default().extend(ids);
        if let (Some(number), Some(key)) = (random.key, &append.key) {
            let version = Version::new(self.version(random.stream));
            let used = FirstUse {
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

/// One history. All histories share a database, so each has its own streams and keys.
struct History {
    store: PgEventStore,
    scope: Uuid,
}

impl History {
    fn stream(&self, number: u8) -> StreamId {
        StreamId {
            aggregate_type: "Modelled",
            aggregate_id: Uuid::new_v5(&self.scope, &[number]),
        }
    }

    fn append(&self, random: &RandomAppend, version: i32) -> Append {
        let event = |_| NewEvent {
            event_id: Uuid::now_v7(),
            event_type: "Counted",
            schema_version: 1,
            data: RawValue::from_string("{}".to_owned()).unwrap(),
        };
        let expected = Version::new((version + random.offset).max(0));
        let command_id = Uuid::now_v7();
        let key = random.key.map(|key| {
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
            stream: self.stream(random.stream),
            expected,
            events: (0..random.events).map(event).collect(),
            occurred_at: chrono::DateTime::UNIX_EPOCH,
            metadata: to_raw_value(&Metadata::default()).unwrap(),
            key,
        }
    }

    async fn send(&self, append: Append) -> Outcome {
        match self.store.append(append).await {
            Ok(_) => Outcome::Appended,
            Err(AppendError::VersionConflict) => Outcome::Conflict,
            Err(AppendError::DuplicateCommand(used)) => Outcome::Duplicate(FirstUse {
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
        assert!(rounds.is_sorted(), "positions do not rise with the commits");
    }
}

#[test]
fn concurrent_appends_have_the_outcomes_of_the_model() {
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

    let held = runner.run(&random_appends(), |rounds| {
        let history = History {
            store: store.clone(),
            scope: Uuid::now_v7(),
        };
        let mut model = Model::default();
        runtime.block_on(async {
            for (round, appends) in rounds.iter().enumerate() {
                // The appends of a round are concurrent, so none may depend on another.
                let (mut streams, mut keys) = (HashSet::new(), HashSet::new());
                let independent = appends.iter().filter(|random| {
                    streams.insert(random.stream) && random.key.is_none_or(|key| keys.insert(key))
                });
                let (mut expected, mut sent) = (vec![], vec![]);
                for random in independent {
                    let append = history.append(random, model.version(random.stream));
                    expected.push(model.append(round, random, &append));
                    sent.push(history.send(append));
                }
                assert_eq!(join_all(sent).await, expected);
            }
            history.assert_is(&model).await;
        });
        Ok(())
    });

    held.unwrap();
}
