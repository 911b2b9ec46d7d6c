//! What the repository promises, shown with an aggregate that is as small as one can be, on the
//! store in memory. Two repositories on one store are two processes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue, value::to_raw_value};
use tokio::sync::{Semaphore, mpsc};
use uuid::Uuid;

use super::{
    Aggregate, Answer, Append, AppendError, Appended, DecodeError, DomainEvent, EventStore,
    ExecuteError, Executed, IdempotencyKey, Metadata, NewEvent, Position, Receipt, RecordedEvent,
    Repository, Request, StoreError, StoredReceipt, StoredStream, StreamId, Timestamp,
    UpcasterChain, Version,
    repository::{RepositoryOptions, stream_of},
    store::Until,
    testing::{InMemoryEventStore, instant},
};

const ID: Uuid = Uuid::from_u128(7);
/// The most that a counter counts to.
const LIMIT: u32 = 10;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counter {
    is_open: bool,
    n: u32,
    last: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy)]
enum Command {
    Open,
    Set(u32),
    Add(u32),
    Close,
    ForgetToList,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Event {
    Opened,
    WasSet(u32),
    Added,
    Closed,
    /// Not in `SCHEMAS`.
    Unlisted,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("not open")]
    NotOpen,
    #[error("too many")]
    TooMany,
}

impl DomainEvent for Event {
    const SCHEMAS: &'static [(&'static str, i16)] =
        &[("Opened", 1), ("WasSet", 1), ("Added", 1), ("Closed", 1)];

    fn schema_version(&self) -> i16 {
        match self {
            Self::Opened | Self::WasSet(_) | Self::Added | Self::Closed | Self::Unlisted => 1,
        }
    }

    fn event_type(&self) -> &'static str {
        match self {
            Self::Opened => "Opened",
            Self::WasSet(_) => "WasSet",
            Self::Added => "Added",
            Self::Closed => "Closed",
            Self::Unlisted => "Unlisted",
        }
    }

    fn encode(&self) -> Result<Box<RawValue>, serde_json::Error> {
        to_raw_value(&json!({ "event": self }))
    }

    fn decode(event_type: &str, data: &RawValue) -> Result<Self, DecodeError> {
        #[derive(Deserialize)]
        struct Stored {
            event: Event,
        }
        let stored: Result<Stored, _> = serde_json::from_str(data.get());
        stored
            .map(|stored| stored.event)
            .map_err(|source| DecodeError::Malformed {
                event_type: event_type.to_owned(),
                source,
            })
    }
}

impl Aggregate for Counter {
    const TYPE: &'static str = "Counter";
    const STATE_SCHEMA: i32 = 3;
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: &Command) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Open => Ok(vec![Event::Opened]),
            _ if !self.is_open => Err(Refusal::NotOpen),
            Command::Set(n) if *n == self.n => Ok(vec![]),
            Command::Set(n) => Ok(vec![Event::WasSet(*n)]),
            Command::Add(count) if self.n + count > LIMIT => Err(Refusal::TooMany),
            Command::Add(count) => Ok((0..*count).map(|_| Event::Added).collect()),
            Command::Close => Ok(vec![Event::Closed]),
            Command::ForgetToList => Ok(vec![Event::Unlisted]),
        }
    }

    fn evolve(&mut self, event: &Event, at: Timestamp) {
        self.last = Some(at);
        match event {
            Event::Opened => self.is_open = true,
            Event::WasSet(n) => self.n = *n,
            Event::Added => self.n += 1,
            Event::Closed => self.is_open = false,
            Event::Unlisted => {}
        }
    }

    fn weight(&self) -> usize {
        512 * self.n as usize
    }
}

/// A store that counts loads, lets another process in before an append, and can be held up.
#[derive(Clone, Default)]
struct Observed {
    inner: InMemoryEventStore,
    loads: Arc<AtomicUsize>,
    appends: Arc<AtomicUsize>,
    /// Before how many of the next appends somebody else sets the counter.
    meddlings: Arc<AtomicUsize>,
    gate: Option<Arc<Gate>>,
}

/// An append announces itself and waits to be let through.
struct Gate {
    arrived: Semaphore,
    open: Semaphore,
}

impl Observed {
    async fn meddle(&self, stream: StreamId) {
        let stored = self.inner.load(stream, Until::Now, None).await.unwrap();
        let version = Version::new(stored.events.len().try_into().unwrap());
        let events = vec![new_event(&Event::WasSet(1))];
        let append = plain_append(stream, version, events);
        self.inner.append(append).await.unwrap();
    }
}

impl EventStore for Observed {
    async fn load(
        &self,
        stream: StreamId,
        until: Until,
        snapshot: Option<i32>,
    ) -> Result<StoredStream, StoreError> {
        self.loads.fetch_add(1, SeqCst);
        self.inner.load(stream, until, snapshot).await
    }

    async fn read_stream(
        &self,
        stream: StreamId,
        from: Version,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        self.inner.read_stream(stream, from, limit).await
    }

    async fn read_all(
        &self,
        after: Position,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        self.inner.read_all(after, limit).await
    }

    async fn newest(&self) -> Result<Position, StoreError> {
        self.inner.newest().await
    }

    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.appends.fetch_add(1, SeqCst);
        if let Some(gate) = &self.gate {
            gate.arrived.add_permits(1);
            gate.open.acquire().await.unwrap().forget();
        }
        let meddlings = self
            .meddlings
            .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        if meddlings.is_ok() {
            self.meddle(append.stream).await;
        }
        self.inner.append(append).await
    }

    async fn find_receipt(
        &self,
        key: &IdempotencyKey,
    ) -> Result<Option<StoredReceipt>, StoreError> {
        self.inner.find_receipt(key).await
    }
}

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

fn process(store: &Observed) -> Repository<Counter, Observed> {
    let upcasters = UpcasterChain::new::<Event>([]).unwrap();
    Repository::new(
        store.clone(),
        Arc::new(upcasters),
        RepositoryOptions::default(),
    )
}

fn ask(command: Command) -> Request<Command> {
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
        scope: "somebody".to_owned(),
        key: name.to_owned(),
        fingerprint: [fingerprint; 32],
    }
}

/// An answer that tells the state it was written from.
fn answer(state: &Counter, version: Version, has_changed: bool) -> Answer {
    Answer {
        receipt: Receipt {
            status: if has_changed { 201 } else { 200 },
            version,
            location: None,
        },
        body: state.n.to_string().into(),
    }
}

type Outcome = Result<Executed, ExecuteError<Counter>>;

async fn execute(process: &Repository<Counter, Observed>, request: Request<Command>) -> Outcome {
    process.execute(request, answer).await
}

/// What happened, in short: status, version and the counter's number.
fn told(outcome: Outcome) -> (u16, i32, String) {
    let Answer { receipt, body } = outcome.unwrap().answer;
    (receipt.status, receipt.version.get(), body.to_string())
}

async fn versions(store: &Observed) -> Vec<i32> {
    let stream = stream_of::<Counter>(ID);
    let stored = store.inner.load(stream, Until::Now, None).await.unwrap();
    stored
        .events
        .iter()
        .map(|event| event.version.get())
        .collect()
}

/// Two processes on one store: the first has cached the counter at version 2 and the number given,
/// the second has brought it to version 3.
async fn a_stale_process(
    cached: u32,
    meanwhile: Command,
) -> (Observed, Repository<Counter, Observed>) {
    let store = Observed::default();
    let stale = process(&store);
    execute(&stale, ask(Command::Open)).await.unwrap();
    execute(&stale, ask(Command::Set(cached))).await.unwrap();
    execute(&process(&store), ask(meanwhile)).await.unwrap();
    (store, stale)
}

#[tokio::test]
async fn a_cached_aggregate_is_not_loaded_again() {
    let store = Observed::default();
    let process = process(&store);
    execute(&process, ask(Command::Open)).await.unwrap();
    let loads = store.loads.load(SeqCst);

    execute(&process, ask(Command::Add(2))).await.unwrap();

    assert_eq!(store.loads.load(SeqCst), loads);
    assert_eq!(versions(&store).await, [1, 2, 3]);
}

/// Opens 300 counters and sets them to `n`, then adds to each of them: how many of them were loaded for
/// that, with a cache of 400?
async fn loaded_again(n: u32) -> usize {
    let store = Observed::default();
    let options = RepositoryOptions {
        cached_aggregates: 400,
    };
    let upcasters = UpcasterChain::new::<Event>([]).unwrap();
    let process = Repository::new(store.clone(), Arc::new(upcasters), options);
    let commands = |id, command| Request {
        id: Uuid::from_u128(id),
        is_new: matches!(command, Command::Open),
        ..ask(command)
    };
    for id in 0..300 {
        execute(&process, commands(id, Command::Open))
            .await
            .unwrap();
        execute(&process, commands(id, Command::Set(n)))
            .await
            .unwrap();
    }
    for id in 0..300 {
        execute(&process, commands(id, Command::Add(1)))
            .await
            .unwrap();
    }
    store.loads.load(SeqCst)
}

#[tokio::test]
async fn a_large_aggregate_takes_the_room_of_several() {
    assert_eq!(loaded_again(1).await, 0);
    // Four kilobytes each: 100 fit.
    assert!(loaded_again(8).await >= 150);
}

#[tokio::test]
async fn a_new_aggregate_is_not_looked_for() {
    let store = Observed::default();
    let request = Request {
        is_new: true,
        ..ask(Command::Open)
    };

    execute(&process(&store), request).await.unwrap();

    assert_eq!(store.loads.load(SeqCst), 0);
}

#[tokio::test]
async fn an_aggregate_that_was_called_new_but_exists_is_loaded() {
    let store = Observed::default();
    execute(&process(&store), ask(Command::Open)).await.unwrap();
    let request = Request {
        is_new: true,
        ..ask(Command::Set(4))
    };

    assert_eq!(
        told(execute(&process(&store), request).await),
        (201, 2, "4".to_owned())
    );
}

#[tokio::test]
async fn a_stale_cache_never_refuses() {
    let (_, stale) = a_stale_process(LIMIT, Command::Set(0)).await;

    let added = execute(&stale, ask(Command::Add(1))).await;

    assert_eq!(told(added), (201, 4, "1".to_owned()));
}

#[tokio::test]
async fn a_stale_cache_never_answers_that_all_is_as_asked() {
    let (store, stale) = a_stale_process(5, Command::Set(6)).await;

    let set = execute(&stale, ask(Command::Set(5))).await;

    assert_eq!(told(set), (201, 4, "5".to_owned()));
    assert_eq!(versions(&store).await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_stale_cache_never_accepts_either() {
    let (store, stale) = a_stale_process(5, Command::Close).await;

    let added = execute(&stale, ask(Command::Add(1))).await;

    assert!(matches!(
        added,
        Err(ExecuteError::Refused(Refusal::NotOpen))
    ));
    assert_eq!(versions(&store).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_stale_cache_never_denies_a_version_that_is_there() {
    let (_, stale) = a_stale_process(5, Command::Set(6)).await;
    let request = Request {
        expected: Some(Version::new(3)),
        ..ask(Command::Set(7))
    };

    assert_eq!(
        told(execute(&stale, request).await),
        (201, 4, "7".to_owned())
    );
}

#[tokio::test]
async fn a_lost_race_is_decided_anew() {
    let store = Observed::default();
    let process = process(&store);
    execute(&process, ask(Command::Open)).await.unwrap();
    store.meddlings.store(2, SeqCst);

    let added = execute(&process, ask(Command::Add(1))).await;

    assert_eq!(
        told(added),
        (201, 4, "2".to_owned()),
        "on top of the other's 1"
    );
}

#[tokio::test]
async fn a_lost_race_is_the_clients_to_settle_where_it_named_a_version() {
    let store = Observed::default();
    let process = process(&store);
    execute(&process, ask(Command::Open)).await.unwrap();
    store.meddlings.store(1, SeqCst);
    let request = Request {
        expected: Some(Version::new(1)),
        ..ask(Command::Add(1))
    };

    let conflict = execute(&process, request).await;

    let Err(ExecuteError::VersionConflict { expected, current }) = conflict else {
        panic!("{conflict:?}")
    };
    assert_eq!((expected.get(), current.version.get()), (1, 2));
    assert_eq!(current.state.n, 1, "the current state goes with the answer");
    assert_eq!(versions(&store).await, [1, 2]);
}

#[tokio::test]
async fn races_are_not_run_for_ever() {
    let store = Observed::default();
    let process = process(&store);
    execute(&process, ask(Command::Open)).await.unwrap();
    let before = store.appends.load(SeqCst);
    store.meddlings.store(100, SeqCst);

    let added = execute(&process, ask(Command::Add(1))).await;

    assert!(matches!(added, Err(ExecuteError::Contention)), "{added:?}");
    assert_eq!(store.appends.load(SeqCst) - before, 4);
    store.meddlings.store(0, SeqCst);
    let again = execute(&process, ask(Command::Add(1))).await;
    assert_eq!(told(again).2, "2");
}

#[tokio::test]
async fn commands_on_one_aggregate_take_turns() {
    let store = Observed::default();
    let process = process(&store);
    execute(&process, ask(Command::Open)).await.unwrap();
    let before = store.appends.load(SeqCst);

    let adds = (0..LIMIT).map(|_| execute(&process, ask(Command::Add(1))));
    let outcomes = futures::future::join_all(adds).await;

    assert!(outcomes.iter().all(Result::is_ok));
    let appends = store.appends.load(SeqCst) - before;
    assert_eq!(appends, LIMIT as usize, "none had to try twice");
}

#[tokio::test]
async fn a_used_key_is_answered_before_the_command_is_refused() {
    let store = Observed::default();
    execute(&process(&store), ask(Command::Open)).await.unwrap();
    let close = || Request {
        key: Some(key("k", 1)),
        ..ask(Command::Close)
    };
    let first = execute(&process(&store), close()).await.unwrap();

    let again = execute(&process(&store), close()).await.unwrap();

    assert!(again.replayed && !first.replayed);
    assert_eq!(
        (again.answer, again.position),
        (first.answer, first.position)
    );
    assert_eq!(versions(&store).await, [1, 2]);
}

#[tokio::test]
async fn a_used_key_is_answered_before_the_version_is_looked_at() {
    let store = Observed::default();
    let process = process(&store);
    execute(&process, ask(Command::Open)).await.unwrap();
    let add = || Request {
        key: Some(key("k", 1)),
        expected: Some(Version::new(1)),
        ..ask(Command::Add(1))
    };
    execute(&process, add()).await.unwrap();

    let again = execute(&process, add()).await.unwrap();

    assert!(again.replayed);
    assert_eq!(versions(&store).await, [1, 2]);
}

#[tokio::test]
async fn a_used_key_is_answered_though_the_command_would_succeed_again() {
    let store = Observed::default();
    let process = process(&store);
    execute(&process, ask(Command::Open)).await.unwrap();
    let add = || Request {
        key: Some(key("k", 1)),
        ..ask(Command::Add(1))
    };
    execute(&process, add()).await.unwrap();
    execute(&process, ask(Command::Set(9))).await.unwrap();

    let again = execute(&process, add()).await;

    assert_eq!(told(again), (201, 2, "1".to_owned()), "as it was then");
    assert_eq!(versions(&store).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_used_key_is_answered_from_the_aggregate_that_it_was_used_on() {
    let store = Observed::default();
    let process = process(&store);
    execute(&process, ask(Command::Open)).await.unwrap();
    let add = |id| Request {
        id,
        key: Some(key("k", 1)),
        ..ask(Command::Add(1))
    };
    let first = execute(&process, add(ID)).await.unwrap();

    let elsewhere = execute(&process, add(Uuid::max())).await.unwrap();

    assert!(elsewhere.replayed);
    assert_eq!(elsewhere.answer, first.answer);
}

#[tokio::test]
async fn a_command_that_changes_nothing_keeps_its_key() {
    let store = Observed::default();
    let process = process(&store);
    execute(&process, ask(Command::Open)).await.unwrap();
    let set = || Request {
        key: Some(key("k", 1)),
        ..ask(Command::Set(0))
    };
    assert_eq!(
        told(execute(&process, set()).await),
        (200, 1, "0".to_owned())
    );
    execute(&process, ask(Command::Set(3))).await.unwrap();

    let again = execute(&process, set()).await.unwrap();

    assert!(again.replayed);
    assert_eq!(versions(&store).await, [1, 2]);
}

#[tokio::test]
async fn a_key_that_was_used_for_another_request_is_refused() {
    let store = Observed::default();
    let process = process(&store);
    execute(&process, ask(Command::Open)).await.unwrap();
    let with = |command, fingerprint| Request {
        key: Some(key("k", fingerprint)),
        ..ask(command)
    };
    execute(&process, with(Command::Add(1), 1)).await.unwrap();

    let would_succeed = execute(&process, with(Command::Add(1), 2)).await;
    let would_be_refused = execute(&process, with(Command::Add(99), 3)).await;

    assert!(matches!(would_succeed, Err(ExecuteError::KeyReused)));
    assert!(matches!(would_be_refused, Err(ExecuteError::KeyReused)));
    assert_eq!(versions(&store).await, [1, 2]);
}

#[tokio::test]
async fn a_refused_command_leaves_its_key_free() {
    let store = Observed::default();
    let process = process(&store);
    execute(&process, ask(Command::Open)).await.unwrap();
    let with_key = |command| Request {
        key: Some(key("k", 1)),
        ..ask(command)
    };
    execute(&process, with_key(Command::Add(99)))
        .await
        .unwrap_err();

    let added = execute(&process, with_key(Command::Add(1))).await;

    assert!(!added.unwrap().replayed);
}

#[tokio::test]
async fn a_key_that_is_being_used_is_not_used_twice_at_once() {
    let gate = Arc::new(Gate {
        arrived: Semaphore::new(0),
        open: Semaphore::new(0),
    });
    let store = Observed {
        gate: Some(Arc::clone(&gate)),
        ..Observed::default()
    };
    let process = process(&store);
    let open = || Request {
        key: Some(key("k", 1)),
        ..ask(Command::Open)
    };

    let (first, second) = tokio::join!(execute(&process, open()), async {
        gate.arrived.acquire().await.unwrap().forget();
        let second = execute(&process, open()).await;
        gate.open.add_permits(1);
        second
    });

    assert!(!first.unwrap().replayed);
    assert!(
        matches!(second, Err(ExecuteError::KeyInProgress)),
        "{second:?}"
    );
    let third = execute(&process, open());
    gate.open.add_permits(1);
    assert!(
        third.await.unwrap().replayed,
        "the key is free when its command is done"
    );
}

#[tokio::test]
async fn a_dropped_command_frees_its_key() {
    let gate = Arc::new(Gate {
        arrived: Semaphore::new(0),
        open: Semaphore::new(0),
    });
    let store = Observed {
        gate: Some(Arc::clone(&gate)),
        ..Observed::default()
    };
    let process = process(&store);
    let open = || Request {
        key: Some(key("k", 1)),
        ..ask(Command::Open)
    };

    tokio::select! {
        _ = execute(&process, open()) => panic!("the gate is closed"),
        arrived = gate.arrived.acquire() => arrived.unwrap().forget(),
    }

    gate.open.add_permits(1);
    assert_eq!(
        told(execute(&process, open()).await),
        (201, 1, "0".to_owned())
    );
}

#[tokio::test]
async fn time_in_a_stream_never_goes_back() {
    let store = Observed::default();
    let at = |second, command| Request {
        now: instant(second),
        ..ask(command)
    };
    execute(&process(&store), at(50, Command::Open))
        .await
        .unwrap();
    let one = process(&store);
    execute(&one, at(20, Command::Set(1))).await.unwrap();
    execute(&one, at(40, Command::Set(2))).await.unwrap();
    execute(&process(&store), at(60, Command::Set(3)))
        .await
        .unwrap();

    let stored = store
        .inner
        .load(stream_of::<Counter>(ID), Until::Now, None)
        .await
        .unwrap();
    let times: Vec<_> = stored
        .events
        .iter()
        .map(|event| event.occurred_at)
        .collect();
    assert_eq!(times, [50, 50, 50, 60].map(instant));
    let then = one.load(ID, Until::Timestamp(instant(50))).await.unwrap();
    assert_eq!(then.unwrap().version, Version::new(3));
    let before = one.load(ID, Until::Timestamp(instant(49))).await.unwrap();
    assert!(before.is_none());
    let now = one.load(ID, Until::Now).await.unwrap().unwrap();
    assert_eq!(now.state.last, Some(instant(60)));
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_corruption_and_no_guess() {
    let unknown = NewEvent {
        event_type: "Melted",
        ..new_event(&Event::Added)
    };
    let from_the_future = NewEvent {
        schema_version: 2,
        ..new_event(&Event::Added)
    };
    let malformed = NewEvent {
        data: to_raw_value(&json!({"event": "Burnt"})).unwrap(),
        ..new_event(&Event::Added)
    };
    for bad in [unknown, from_the_future, malformed] {
        let store = Observed::default();
        let process = process(&store);
        execute(&process, ask(Command::Open)).await.unwrap();
        let stream = stream_of::<Counter>(ID);
        let append = plain_append(stream, Version::new(1), vec![bad.clone()]);
        store.inner.append(append).await.unwrap();

        let loaded = process.load(ID, Until::Now).await;
        let executed = execute(&process, ask(Command::Add(1))).await;
        let past = process.load(ID, Until::Version(Version::new(1))).await;

        let Err(ExecuteError::Store(error @ StoreError::Corrupt { .. })) = executed else {
            panic!("{executed:?}")
        };
        assert!(!error.is_transient());
        assert!(error.to_string().contains("event 2 of Counter"), "{error}");
        assert!(matches!(loaded, Err(StoreError::Corrupt { .. })));
        assert!(
            past.unwrap().is_some(),
            "what came before it can still be read"
        );
        assert_eq!(versions(&store).await, [1, 2]);
    }
}

#[tokio::test]
async fn an_event_without_a_listed_schema_is_not_stored() {
    let store = Observed::default();
    let process = process(&store);
    execute(&process, ask(Command::Open)).await.unwrap();

    let executed = execute(&process, ask(Command::ForgetToList)).await;

    let Err(ExecuteError::Store(error @ StoreError::Corrupt { .. })) = executed else {
        panic!("{executed:?}")
    };
    assert_eq!(error.to_string(), "event type Unlisted is corrupt");
    assert_eq!(versions(&store).await, [1]);
}

#[tokio::test]
async fn a_used_key_is_answered_though_the_aggregate_cannot_be_read_any_more() {
    let store = Observed::default();
    let open = |fingerprint| Request {
        key: Some(key("k", fingerprint)),
        ..ask(Command::Open)
    };
    execute(&process(&store), open(1)).await.unwrap();
    let unknown = NewEvent {
        event_type: "Melted",
        ..new_event(&Event::Added)
    };
    let stream = stream_of::<Counter>(ID);
    let append = plain_append(stream, Version::new(1), vec![unknown]);
    store.inner.append(append).await.unwrap();

    let again = execute(&process(&store), open(1)).await.unwrap();
    let other = execute(&process(&store), open(2)).await;

    assert!(again.replayed);
    assert!(matches!(other, Err(ExecuteError::KeyReused)), "{other:?}");
}

#[tokio::test]
async fn a_command_of_many_events_leaves_one_snapshot_of_its_end() {
    let store = Observed::default();
    let (queue, mut snapshots) = mpsc::channel(8);
    let process = process(&store).with_snapshots(3, queue);
    execute(&process, ask(Command::Open)).await.unwrap();

    execute(&process, ask(Command::Add(7))).await.unwrap();
    execute(&process, ask(Command::Set(8))).await.unwrap();

    let versions: Vec<_> = std::iter::from_fn(|| snapshots.try_recv().ok())
        .map(|snapshot| (snapshot.version.get(), snapshot.state.n))
        .collect();
    assert_eq!(versions, [(8, 7), (9, 8)]);
}

#[tokio::test]
async fn snapshots_that_nobody_takes_do_not_hold_up_commands() {
    let store = Observed::default();
    let (queue, snapshots) = mpsc::channel(1);
    let full = process(&store).with_snapshots(1, queue);
    execute(&full, ask(Command::Open)).await.unwrap();

    execute(&full, ask(Command::Add(1))).await.unwrap();
    drop(snapshots);
    execute(&full, ask(Command::Add(1))).await.unwrap();

    assert_eq!(versions(&store).await, [1, 2, 3]);
}
