//! A NATS server of one's own, and the simplest store, lease and projection there can be.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_nats::jetstream::message::StreamMessage;
use chrono::{TimeZone, Utc};
use futures::future::BoxFuture;
use orders::{
    event_sourcing::{
        Append, AppendError, Appended, Epoch, EventStore, IdempotencyKey, Lease, Position,
        RecordedEvent, StoreError, StoreIdentity, StoredStream, StreamId, UsedKey, Version,
        projection::{Delivery, Projection},
        store::Until,
    },
    live::FreshEvents,
    nats::{
        Alarm, EventStream, NatsOptions, Relay, RelayPorts, Subscriber, SubscriberError, connect,
        message::identify,
        provenance::{Provenance, StreamCheck},
    },
};
use serde_json::value::RawValue;
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long a lease lasts in these tests.
pub const TTL: Duration = Duration::from_millis(900);

/// Polls `condition` until it holds.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A private `nats-server`.
pub struct NatsServer {
    port: u16,
    store: TempDir,
    process: Child,
}

impl NatsServer {
    /// Starts a server on a free port with an empty store.
    pub fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let store = tempfile::tempdir().unwrap();
        let process = spawn(port, &store);
        Self {
            port,
            store,
            process,
        }
    }

    pub fn options(&self) -> NatsOptions {
        NatsOptions::new(format!("nats://127.0.0.1:{}", self.port))
    }

    /// A connection and the stream of the defaults on it.
    pub async fn stream(&self) -> EventStream {
        let options = self.options();
        EventStream::new(connect(&options).await.unwrap(), options)
    }

    /// As `kill -9` does.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts the killed server again, with what it had stored.
    pub fn restart(&mut self) {
        self.process = spawn(self.port, &self.store);
    }

    /// Starts the killed server again with nothing.
    pub fn restart_empty(&mut self) {
        self.store = tempfile::tempdir().unwrap();
        self.restart();
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(port: u16, store: &TempDir) -> Child {
    let program = std::env::var("NATS_SERVER").unwrap_or_else(|_| "nats-server".to_owned());
    Command::new(program)
        .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"])
        .arg(store.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A store in memory, with holes between the positions as PostgreSQL has them.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<RecordedEvent>>>);

impl Log {
    /// Appends `count` events of `bytes` bytes each.
    pub fn append(&self, count: usize, bytes: usize) {
        let mut events = self.0.lock().unwrap();
        for _ in 0..count {
            let number = i64::try_from(events.len()).unwrap();
            let data = format!(r#"{{"note": "{}"}}"#, "x".repeat(bytes));
            events.push(RecordedEvent {
                position: Position::new(10 + number * 3),
                event_id: Uuid::now_v7(),
                aggregate_type: "Order".to_owned(),
                aggregate_id: Uuid::from_u128(7),
                version: Version::new(i32::try_from(number).unwrap() + 1),
                event_type: "OrderNoted".to_owned(),
                schema_version: 1,
                data: RawValue::from_string(data).unwrap(),
                metadata: RawValue::from_string(r#"{"actor":"me"}"#.to_owned()).unwrap(),
                occurred_at: Utc.timestamp_opt(1_795_425_302 + number, 0).unwrap(),
            });
        }
    }

    /// The store as it was after its first `count` events, restored beside this one.
    pub fn restored_at(&self, count: usize) -> Self {
        Self(Arc::new(Mutex::new(self.events()[..count].to_vec())))
    }

    pub fn events(&self) -> Vec<RecordedEvent> {
        self.0.lock().unwrap().clone()
    }

    pub fn positions(&self) -> Vec<i64> {
        self.events().iter().map(|e| e.position.get()).collect()
    }
}

impl EventStore for Log {
    async fn load(
        &self,
        _: StreamId,
        _: Until,
        _: Option<i32>,
    ) -> Result<StoredStream, StoreError> {
        Ok(StoredStream::default())
    }

    async fn read_stream(
        &self,
        _: StreamId,
        _: Version,
        _: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        Ok(Vec::new())
    }

    async fn read_stream_after(
        &self,
        _: StreamId,
        _: Position,
        _: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        Ok(Vec::new())
    }

    async fn read_all(
        &self,
        after: Position,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let events = self.0.lock().unwrap();
        let later = events.iter().filter(|event| event.position > after);
        Ok(later.take(limit as usize).cloned().collect())
    }

    async fn newest(&self) -> Result<Position, StoreError> {
        let events = self.0.lock().unwrap();
        let newest = events.last().map(|event| event.position);
        Ok(newest.unwrap_or(Position::ZERO))
    }

    async fn append(&self, _: Append) -> Result<Appended, AppendError> {
        Err(AppendError::VersionConflict)
    }

    async fn find_key(&self, _: &IdempotencyKey) -> Result<Option<UsedKey>, StoreError> {
        Ok(None)
    }
}

/// An identity that counts incarnations, whoever holds the lease.
#[derive(Clone)]
pub struct Name(pub Uuid, pub Arc<AtomicI64>);

impl Name {
    /// The name of the store that all tests have that say nothing else.
    pub fn usual() -> Self {
        Self::of(1)
    }

    pub fn of(number: u128) -> Self {
        Self(Uuid::from_u128(number), Arc::default())
    }
}

impl StoreIdentity for Name {
    fn id(&self) -> BoxFuture<'_, Result<Uuid, StoreError>> {
        Box::pin(async { Ok(self.0) })
    }

    fn begin_incarnation(
        &self,
        after: i64,
        _: Epoch,
    ) -> BoxFuture<'_, Result<Option<i64>, StoreError>> {
        let last = self.1.load(Ordering::SeqCst).max(after);
        self.1.store(last + 1, Ordering::SeqCst);
        Box::pin(async move { Ok(Some(last + 1)) })
    }
}

/// Vouches for what comes from `log`.
pub fn vouch(stream: &EventStream, log: &Log) -> StreamCheck<SubscriberError> {
    let provenance = Provenance {
        stream: stream.clone(),
        store: log.clone(),
        identity: Arc::new(Name::usual()),
    };
    provenance.vouch()
}

/// A lease that tells everybody the same: its epoch, or nothing where that is zero.
#[derive(Clone)]
pub struct Gift(pub Arc<AtomicI64>);

impl Gift {
    pub fn held() -> Self {
        Self(Arc::new(AtomicI64::new(1)))
    }
}

impl Lease for Gift {
    async fn hold(&self) -> Result<Option<Epoch>, StoreError> {
        let epoch = self.0.load(Ordering::SeqCst);
        Ok((epoch > 0).then_some(Epoch(epoch)))
    }

    async fn release(&self) -> Result<(), StoreError> {
        self.0.store(0, Ordering::SeqCst);
        Ok(())
    }
}

/// A projection that notes the positions that it applies, and fills gaps from the log.
#[derive(Clone)]
pub struct Ledger {
    log: Log,
    applied: Arc<Mutex<Vec<i64>>>,
    /// How many events came over the stream (and not from the log).
    pub delivered: Arc<AtomicUsize>,
    /// So many of the next chunks fail.
    pub failures: Arc<AtomicU32>,
}

impl Ledger {
    pub fn new(log: &Log) -> Self {
        Self {
            log: log.clone(),
            applied: Arc::default(),
            delivered: Arc::default(),
            failures: Arc::default(),
        }
    }

    /// As if the first `count` events were applied already.
    pub fn having_applied(log: &Log, count: usize) -> Self {
        let ledger = Self::new(log);
        *ledger.applied.lock().unwrap() = log.positions()[..count].to_vec();
        ledger
    }

    pub fn applied(&self) -> Vec<i64> {
        self.applied.lock().unwrap().clone()
    }

    pub fn position(&self) -> Position {
        let applied = self.applied.lock().unwrap();
        Position::new(applied.last().copied().unwrap_or(0))
    }

    pub async fn caught_up(&self) {
        eventually("the projection has caught up", async || {
            self.applied().len() == self.log.positions().len()
        })
        .await;
        assert_eq!(self.applied(), self.log.positions());
    }
}

impl Projection for Ledger {
    async fn checkpoint(&self) -> Result<Position, StoreError> {
        Ok(self.position())
    }

    async fn apply(&self, deliveries: Vec<Delivery>, _: Epoch) -> Result<Position, StoreError> {
        let failing = self.failures.load(Ordering::SeqCst);
        if failing > 0 {
            self.failures.store(failing - 1, Ordering::SeqCst);
            return Err(StoreError::Overloaded);
        }
        let mut applied = self.applied.lock().unwrap();
        for delivery in deliveries {
            self.delivered.fetch_add(1, Ordering::SeqCst);
            let checkpoint = applied.last().copied().unwrap_or(0);
            let (previous, position) = (delivery.previous.get(), delivery.event.position.get());
            if position <= checkpoint {
                continue;
            }
            let missing = self.log.positions().into_iter();
            applied.extend(missing.filter(|missed| (checkpoint + 1..=previous).contains(missed)));
            applied.push(position);
        }
        Ok(Position::new(applied.last().copied().unwrap_or(0)))
    }
}

/// A task that is stopped with the test.
pub struct Running(CancellationToken, JoinHandle<()>);

impl Running {
    pub async fn stop(self) {
        self.0.cancel();
        self.1.await.unwrap();
    }
}

pub fn ports(checkpoint: Position) -> RelayPorts {
    RelayPorts {
        lift: Arc::new(|event| event),
        checkpoint: Arc::new(move || Box::pin(async move { Ok(checkpoint) })),
        identity: Arc::new(Name::usual()),
        alarm: Alarm::default(),
        fresh: FreshEvents::default(),
        awaited: Arc::default(),
        lease_ttl: TTL,
    }
}

pub fn relay(stream: EventStream, log: &Log, checkpoint: Position) -> Relay<Log, Gift> {
    let ports = ports(checkpoint);
    Relay::new(stream, log.clone(), Gift::held(), ports)
}

/// Runs a relay that asks `ledger` for the checkpoint.
pub fn run_relay(stream: EventStream, log: &Log, ledger: &Ledger) -> Running {
    let ledger = ledger.clone();
    let ports = RelayPorts {
        checkpoint: Arc::new(move || {
            let position = ledger.position();
            Box::pin(async move { Ok(position) })
        }),
        ..ports(Position::ZERO)
    };
    run(Relay::new(stream, log.clone(), Gift::held(), ports))
}

/// Runs a relay as a task.
pub fn run(relay: Relay<Log, Gift>) -> Running {
    let cancel = CancellationToken::new();
    Running(cancel.clone(), tokio::spawn(relay.run(cancel)))
}

pub fn run_subscriber(stream: EventStream, ledger: &Ledger) -> Running {
    let vouch = vouch(&stream, &ledger.log);
    let subscriber = Subscriber::new(stream, vouch, ledger.clone(), Gift::held(), TTL);
    let cancel = CancellationToken::new();
    Running(cancel.clone(), tokio::spawn(subscriber.run(cancel)))
}

/// Runs steps until one publishes nothing.
pub async fn drain(relay: &mut Relay<Log, Gift>) {
    eventually("the relay has published everything", async || {
        matches!(relay.run_once().await, Ok(0))
    })
    .await;
}

/// All messages of the stream, in order; none where the stream cannot be read.
pub async fn messages(stream: &EventStream) -> Vec<StreamMessage> {
    let mut messages = Vec::new();
    let mut next = 1;
    while let Ok(Some(message)) = stream.first_from(next).await {
        next = message.sequence + 1;
        messages.push(message);
    }
    messages
}

/// The positions in the stream, in order, of all messages that have one.
pub async fn published(stream: &EventStream) -> Vec<i64> {
    let messages = messages(stream).await;
    let events = messages.iter().filter_map(|m| identify(&m.headers).ok());
    events.map(|(position, _)| position.get()).collect()
}

/// Waits until the stream has as many events as the log, and checks that they are the same.
pub async fn filled(stream: &EventStream, log: &Log) {
    let last = log.positions().last().copied();
    eventually("the stream is filled", async || {
        let message = stream.last().await.ok().flatten();
        message
            .and_then(|message| identify(&message.headers).ok())
            .map(|(position, _)| position.get())
            == last
    })
    .await;
    assert_eq!(published(stream).await, log.positions());
}
