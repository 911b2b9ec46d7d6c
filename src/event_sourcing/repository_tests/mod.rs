//! Tests of the repository, with a counter as the aggregate and the event store in memory. Two
//! repositories on one store stand for two processes. Tests of a store belong into its contract
//! ([`super::testing::contract`]).

mod caching;
mod counter;
mod events;
mod idempotency;
mod observed_store;
mod races;
mod snapshots;

use std::sync::Arc;

use serde_json::value::to_raw_value;
use uuid::Uuid;

use super::{
    Append, DomainEvent, EventStore, ExecuteError, Executed, IdempotencyKey, Metadata, NewEvent,
    Repository, Request, StreamId, UpcasterChain, Version,
    repository::{RepositoryOptions, stream_of},
    store::Until,
    testing::instant,
};
use counter::{Command, Counter, Event};
use observed_store::ObservedStore;

const ID: Uuid = Uuid::from_u128(7);

fn new_event(event: &Event) -> NewEvent {
    NewEvent {
        event_id: Uuid::nil(),
        event_type: event.event_type(),
        schema_version: 1,
        data: event.encode().unwrap(),
    }
}

fn plain_append(stream: StreamId, expected: Version, events: Vec<NewEvent>) -> Append {
    Append {
        command_id: Uuid::nil(),
        stream,
        expected,
        events,
        occurred_at: instant(1),
        metadata: to_raw_value(&Metadata::default()).unwrap(),
        key: None,
    }
}

fn process(store: &ObservedStore) -> Repository<Counter, ObservedStore> {
    process_with(store, RepositoryOptions::default())
}

fn process_with(
    store: &ObservedStore,
    options: RepositoryOptions,
) -> Repository<Counter, ObservedStore> {
    let upcasters = UpcasterChain::new::<Event>([]).unwrap();
    Repository::new(store.clone(), Arc::new(upcasters), options)
}

fn request(command: Command) -> Request<Command> {
    Request {
        id: ID,
        command,
        expected: None,
        is_new: false,
        key: None,
        metadata: Arc::new(Metadata::default()),
        now: instant(1),
    }
}

fn key(name: &str, fingerprint: u8) -> IdempotencyKey {
    IdempotencyKey {
        scope: "client-1".to_owned(),
        key: name.to_owned(),
        fingerprint: [fingerprint; 32],
    }
}

/// The result of a command, with the counter's number as the output.
type Outcome = Result<Executed<u32>, ExecuteError<Counter>>;

async fn execute(
    process: &Repository<Counter, ObservedStore>,
    request: Request<Command>,
) -> Outcome {
    process.execute(request, |counter, _| counter.n).await
}

/// A successful result in short: whether anything changed, the version, and the counter's number.
fn summary(outcome: Outcome) -> (bool, i32, u32) {
    let executed = outcome.unwrap();
    (
        executed.has_changed,
        executed.version.get(),
        executed.output,
    )
}

/// The versions of the stored events.
async fn versions(store: &ObservedStore) -> Vec<i32> {
    let stream = stream_of::<Counter>(ID);
    let stored = store.inner.load(stream, Until::Now, None).await.unwrap();
    stored
        .events
        .iter()
        .map(|event| event.version.get())
        .collect()
}
