//! The repository of one type of aggregate: loads aggregates as they are now or were in the past,
//! and executes commands on them (see [`super::execute`]).

use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::debug;
use uuid::Uuid;

use super::{
    aggregate::Aggregate,
    event::{Position, StreamId, Timestamp, Version},
    locks::{AggregateLocks, KeysInFlight},
    snapshot::NewSnapshot,
    store::{EventStore, StoreError, StoredStream, Until},
    upcast::{UpcastError, UpcasterChain},
};

/// An aggregate at one version.
#[derive(Debug, Clone, Default)]
pub struct Loaded<A> {
    /// The folded state.
    pub state: A,
    /// The version of the state; zero for an empty stream.
    pub version: Version,
    /// The position of the last event.
    pub position: Position,
    /// When the last event happened.
    pub occurred_at: Timestamp,
}

/// Loads aggregates of one type and executes commands on them.
pub struct Repository<A: Aggregate, S: EventStore> {
    pub(super) store: S,
    upcasters: Arc<UpcasterChain>,
    /// Each lock holds the state after the last command: the baseline of the next one.
    pub(super) locks: AggregateLocks<Loaded<A>>,
    pub(super) keys: KeysInFlight,
    /// The interval of snapshots, in events, and the queue that they go to.
    pub(super) snapshots: Option<(u32, mpsc::Sender<NewSnapshot<A>>)>,
}

/// Settings of a repository.
#[derive(Debug, Clone, Copy)]
pub struct RepositoryOptions {
    /// How many aggregates of up to 1 KiB the cache holds. A larger aggregate counts as several.
    pub cached_aggregates: u64,
}

impl Default for RepositoryOptions {
    fn default() -> Self {
        Self {
            cached_aggregates: 50_000,
        }
    }
}

impl<A: Aggregate, S: EventStore> Repository<A, S> {
    /// Creates a repository over `store` that reads old events through `upcasters`.
    pub fn new(store: S, upcasters: Arc<UpcasterChain>, options: RepositoryOptions) -> Self {
        Self {
            store,
            upcasters,
            locks: AggregateLocks::new(options.cached_aggregates),
            keys: KeysInFlight::default(),
            snapshots: None,
        }
    }

    /// Sends a snapshot to `queue` when an append crosses a multiple of `every` events.
    #[must_use]
    pub fn with_snapshots(mut self, every: u32, queue: mpsc::Sender<NewSnapshot<A>>) -> Self {
        self.snapshots = Some((every, queue));
        self
    }

    /// The event store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The upcasters of old events.
    pub fn upcasters(&self) -> &UpcasterChain {
        &self.upcasters
    }

    /// Loads the aggregate as it was at `until`, from a snapshot and the events after it. `None` if
    /// it did not exist then.
    ///
    /// # Errors
    /// If the store fails, or an event cannot be read ([`StoreError::Corrupt`]).
    pub async fn load(&self, id: Uuid, until: Until) -> Result<Option<Loaded<A>>, StoreError> {
        let stream = stream_of::<A>(id);
        let stored = self
            .store
            .load(stream, until, Some(A::STATE_SCHEMA))
            .await?;
        let loaded = match start_from_snapshot::<A>(&stored) {
            Some(start) => self.fold(start, stored)?,
            None if stored.snapshot.is_none() => self.fold(Loaded::default(), stored)?,
            None => {
                debug!(%stream, "snapshot does not decode, replaying from the first event");
                let stored = self.store.load(stream, until, None).await?;
                self.fold(Loaded::default(), stored)?
            }
        };
        Ok((loaded.version > Version::ZERO).then_some(loaded))
    }

    fn fold(&self, mut to: Loaded<A>, stored: StoredStream) -> Result<Loaded<A>, StoreError> {
        for event in stored.events {
            let (version, position, at) = (event.version, event.position, event.occurred_at);
            if version != to.version.plus(1) {
                let gap = StreamGap {
                    expected: to.version.plus(1),
                    found: version,
                };
                let stream = stream_of::<A>(event.aggregate_id);
                return Err(StoreError::corrupt(stream.to_string(), gap));
            }
            let id = event.aggregate_id;
            let event: A::Event = self
                .upcasters
                .decode(event)
                .map_err(|error: UpcastError| unreadable::<A>(id, version, error))?;
            to.state.evolve(&event, at);
            (to.version, to.position, to.occurred_at) = (version, position, at);
        }
        Ok(to)
    }
}

/// The state of the snapshot; `None` if there is no snapshot or it does not decode.
fn start_from_snapshot<A: Aggregate>(stored: &StoredStream) -> Option<Loaded<A>> {
    let snapshot = stored.snapshot.as_ref()?;
    let state = serde_json::from_str(&snapshot.state).ok()?;
    Some(Loaded {
        state,
        version: snapshot.version,
        position: snapshot.position,
        occurred_at: snapshot.occurred_at,
    })
}

/// The stream of the aggregate with this id.
#[must_use]
pub fn stream_of<A: Aggregate>(id: Uuid) -> StreamId {
    StreamId {
        aggregate_type: A::TYPE,
        aggregate_id: id,
    }
}

fn unreadable<A: Aggregate>(id: Uuid, version: Version, error: UpcastError) -> StoreError {
    StoreError::corrupt(format!("event {version} of {}", stream_of::<A>(id)), error)
}

/// The versions of a stream are not consecutive.
#[derive(Debug, thiserror::Error)]
#[error("expected version {expected}, found {found}")]
pub(super) struct StreamGap {
    pub(super) expected: Version,
    pub(super) found: Version,
}
