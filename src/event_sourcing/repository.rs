//! The repository: load → decide → append, with a cache that saves the load and a retry that
//! settles lost races.
//!
//! Commands on one aggregate take turns in one process. The cached state is a *baseline*: the
//! expected version is checked by the store all the same, so a stale entry costs a retry. And a
//! stale entry never refuses: a refusal, or a decision that nothing needs to change, counts only
//! when it was made on freshly loaded state.

use std::{sync::Arc, time::Duration};

use moka::{policy::EvictionPolicy, sync::Cache};
use serde_json::value::to_raw_value;
use tokio::sync::{Mutex, mpsc};
use tracing::debug;
use uuid::Uuid;

use super::{
    aggregate::Aggregate,
    event::{DomainEvent, Instant, Metadata, NewEvent, Position, StreamId, Version, to_micros},
    snapshot::{NewSnapshot, crosses},
    store::{
        Answer, Append, AppendError, EventStore, IdempotencyKey, StoreError, StoredReceipt,
        StoredStream, Until,
    },
    turn::KeysInFlight,
    upcast::{UpcastError, UpcasterChain},
};

/// How often a command is decided anew after lost races before the client is told.
const MAX_ATTEMPTS: u32 = 4;

/// A command with all that it brings along.
#[derive(Debug)]
pub struct Request<C> {
    /// Which aggregate.
    pub id: Uuid,
    /// What is asked.
    pub command: C,
    /// The version that the client saw, where it named one.
    pub expected: Option<Version>,
    /// Whether `id` was made just now, so that there is nothing to load.
    pub is_new: bool,
    /// The client's idempotency key.
    pub key: Option<IdempotencyKey>,
    /// The context for the audit trail.
    pub metadata: Arc<Metadata>,
    /// When it is asked.
    pub now: Instant,
}

/// An aggregate as of one version.
#[derive(Debug, Clone, Default)]
pub struct Loaded<A> {
    /// The folded state.
    pub state: A,
    /// The version that it is of; zero where the stream is empty.
    pub version: Version,
    /// The position of the last event.
    pub position: Position,
    /// When the last event happened.
    pub occurred_at: Instant,
}

/// A successful command.
#[derive(Debug, Clone)]
pub struct Executed {
    /// The answer: the same again where the key was used before.
    pub answer: Answer,
    /// The position of the command's last event.
    pub position: Position,
    /// Whether the key was used before.
    pub replayed: bool,
}

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError<A: Aggregate> {
    /// The aggregate refuses.
    #[error(transparent)]
    Refused(A::Refusal),
    /// The client named a version that the aggregate is no longer at.
    #[error("expected version {expected}, found {}", current.version)]
    VersionConflict {
        /// What the client named.
        expected: Version,
        /// What is there.
        current: Box<Loaded<A>>,
    },
    /// Too many races were lost in a row.
    #[error("others changed the aggregate {MAX_ATTEMPTS} times meanwhile")]
    Contention,
    /// A command with the same key is running.
    #[error("a command with the same idempotency key is running")]
    KeyInProgress,
    /// The key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How many bytes of state count for one aggregate in the cache: a larger state counts for several. The
/// place in the cache takes half as much again.
const ORDINARY_WEIGHT: usize = 1024;

/// One turn at an aggregate: holds its cached state, where there is one.
#[derive(Debug)]
struct Entry<A> {
    turn: Arc<Mutex<Option<Loaded<A>>>>,
    /// For how many aggregates this one counts.
    share: u32,
}

impl<A> Clone for Entry<A> {
    fn clone(&self) -> Self {
        Self {
            turn: Arc::clone(&self.turn),
            share: self.share,
        }
    }
}

impl<A> Default for Entry<A> {
    fn default() -> Self {
        Self {
            turn: Arc::default(),
            share: 1,
        }
    }
}

/// Loads, decides and appends for one kind of aggregate.
pub struct Repository<A: Aggregate, S: EventStore> {
    store: S,
    upcasters: Arc<UpcasterChain>,
    cache: Cache<Uuid, Entry<A>>,
    keys: KeysInFlight,
    snapshots: Option<(u32, mpsc::Sender<NewSnapshot<A>>)>,
}

/// Settings of a repository.
#[derive(Debug, Clone, Copy)]
pub struct RepositoryOptions {
    /// How many aggregates of up to 1 KiB the cache holds; a larger one counts for several.
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
    /// Makes a repository over `store` that reads old events through `upcasters`.
    pub fn new(store: S, upcasters: Arc<UpcasterChain>, options: RepositoryOptions) -> Self {
        let cache = Cache::builder()
            .max_capacity(options.cached_aggregates)
            .weigher(|_, entry: &Entry<A>| entry.share)
            // Whatever is new is what the next commands are about, however often others were used.
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(Duration::from_hours(1))
            .build();
        Self {
            store,
            upcasters,
            cache,
            keys: KeysInFlight::default(),
            snapshots: None,
        }
    }

    /// Sends a snapshot to `queue` whenever an append crosses a multiple of `every` events.
    #[must_use]
    pub fn with_snapshots(mut self, every: u32, queue: mpsc::Sender<NewSnapshot<A>>) -> Self {
        self.snapshots = Some((every, queue));
        self
    }

    /// The store beneath.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The upcasters that events are read through.
    pub fn upcasters(&self) -> &UpcasterChain {
        &self.upcasters
    }

    /// Loads the aggregate as it was at `until`, from its snapshot and the events after it; `None`
    /// where it did not exist then.
    ///
    /// # Errors
    /// Where the store fails, or an event cannot be read ([`StoreError::Corrupt`]).
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
                return Err(StoreError::corrupt(
                    stream_name::<A>(event.aggregate_id),
                    gap,
                ));
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

    /// Executes a command. `answer` writes the answer from the state that the command leads to,
    /// that state's version, and whether anything changed. Its text must follow from state and version
    /// alone: where the key was used before, it is written again from the state of then.
    ///
    /// # Errors
    /// See [`ExecuteError`]; after any but [`StoreError::Unknown`] nothing has changed.
    pub async fn execute<F>(
        &self,
        request: Request<A::Command>,
        answer: F,
    ) -> Result<Executed, ExecuteError<A>>
    where
        F: Fn(&A, Version, bool) -> Answer + Send + Sync,
    {
        let _claimed = match &request.key {
            Some(key) => Some(self.keys.claim(key).ok_or(ExecuteError::KeyInProgress)?),
            None => None,
        };
        // What is seldom awaited below stands in boxes: it would treble the size of this future, which
        // every command moves.
        let entry = self.cache.get_with(request.id, Entry::default);
        let mut turn = entry.turn.lock().await;
        for attempt in 0..MAX_ATTEMPTS {
            let (baseline, is_fresh) = match turn.take() {
                Some(cached) => (cached, false),
                None if request.is_new && attempt == 0 => (Loaded::default(), false),
                None => match Box::pin(self.load(request.id, Until::Now)).await {
                    Ok(loaded) => (loaded.unwrap_or_default(), true),
                    Err(error) if error.is_transient() => return Err(error.into()),
                    // Unreadable now, but the command may have succeeded when it still was.
                    Err(error) => {
                        return Box::pin(self.replay_or(&request, error.into(), &answer)).await;
                    }
                },
            };
            match decide(&request, &baseline) {
                Err(_) if !is_fresh => {}
                Ok(events) if events.is_empty() && !is_fresh => {}
                Err(refusal) => {
                    self.weigh(request.id, &entry, &baseline.state);
                    *turn = Some(baseline);
                    return Box::pin(self.replay_or(&request, refusal, &answer)).await;
                }
                Ok(events) if events.is_empty() && request.key.is_none() => {
                    let answer = answer(&baseline.state, baseline.version, false);
                    let position = baseline.position;
                    self.weigh(request.id, &entry, &baseline.state);
                    *turn = Some(baseline);
                    return Ok(Executed {
                        answer,
                        position,
                        replayed: false,
                    });
                }
                Ok(events) => match self.append(&request, baseline, &events, &answer).await {
                    Ok((loaded, executed)) => {
                        self.weigh(request.id, &entry, &loaded.state);
                        *turn = Some(loaded);
                        return Ok(executed);
                    }
                    Err(AppendError::VersionConflict) => {}
                    Err(AppendError::DuplicateCommand(stored)) => {
                        return Box::pin(self.replay(&request, *stored, &answer)).await;
                    }
                    Err(AppendError::Store(error)) => return Err(error.into()),
                },
            }
        }
        Err(ExecuteError::Contention)
    }

    /// Tells the cache where an aggregate has come to count for more, or fewer, than it did.
    fn weigh(&self, id: Uuid, entry: &Entry<A>, state: &A) {
        let share = state.weight().div_ceil(ORDINARY_WEIGHT).max(1);
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        if share != entry.share {
            let turn = Arc::clone(&entry.turn);
            self.cache.insert(id, Entry { turn, share });
        }
    }

    /// Evolves the baseline (in place: it is loaded anew should the append fail), appends, and
    /// leaves a snapshot where one is due.
    async fn append<F>(
        &self,
        request: &Request<A::Command>,
        baseline: Loaded<A>,
        events: &[A::Event],
        answer: &F,
    ) -> Result<(Loaded<A>, Executed), AppendError>
    where
        F: Fn(&A, Version, bool) -> Answer + Send + Sync,
    {
        let stream = stream_of::<A>(request.id);
        let before = baseline.version;
        let mut after = baseline;
        // Clocks step back, a stream's time does not: "as of" relies on it.
        after.occurred_at = to_micros(request.now).max(after.occurred_at);
        for event in events {
            after.state.evolve(event, after.occurred_at);
        }
        after.version = before.plus(events.len());
        let answer = answer(&after.state, after.version, !events.is_empty());
        let append = Append {
            command_id: new_id(),
            stream,
            expected: before,
            events: events.iter().map(new_event).collect::<Result<_, _>>()?,
            occurred_at: after.occurred_at,
            metadata: to_raw_value(&*request.metadata)
                .map_err(|error| StoreError::corrupt("metadata", error))?,
            key: request.key.clone().map(|key| (key, answer.receipt.clone())),
        };
        after.position = self.store.append(append).await?.position;
        if let Some((every, queue)) = &self.snapshots
            && crosses(before, after.version, *every)
        {
            let (version, state) = (after.version, after.state.clone());
            if queue
                .try_send(NewSnapshot {
                    stream,
                    version,
                    state,
                })
                .is_err()
            {
                debug!(%stream, "snapshot skipped, too many are waiting");
            }
        }
        let position = after.position;
        Ok((
            after,
            Executed {
                answer,
                position,
                replayed: false,
            },
        ))
    }

    /// Before a refusal counts: was the key used already? Then the answer of then does.
    async fn replay_or<F>(
        &self,
        request: &Request<A::Command>,
        refusal: ExecuteError<A>,
        answer: &F,
    ) -> Result<Executed, ExecuteError<A>>
    where
        F: Fn(&A, Version, bool) -> Answer + Send + Sync,
    {
        let Some(key) = &request.key else {
            return Err(refusal);
        };
        match self.store.find_receipt(key).await? {
            Some(stored) => self.replay(request, stored, answer).await,
            None => Err(refusal),
        }
    }

    /// The answer that was given when the key was used first, written again from the state of then.
    async fn replay<F>(
        &self,
        request: &Request<A::Command>,
        stored: StoredReceipt,
        answer: &F,
    ) -> Result<Executed, ExecuteError<A>>
    where
        F: Fn(&A, Version, bool) -> Answer + Send + Sync,
    {
        let is_same = request
            .key
            .as_ref()
            .is_some_and(|key| key.fingerprint == stored.fingerprint);
        if !is_same {
            return Err(ExecuteError::KeyReused);
        }
        let then = self.state_behind(&stored).await?;
        Ok(Executed {
            answer: Answer {
                body: answer(&then.state, then.version, true).body,
                receipt: stored.receipt,
            },
            position: stored.position,
            replayed: true,
        })
    }

    /// The aggregate as it was when a key was used first. Its id is not the request's: where the
    /// service chose it, the repeated request has another.
    async fn state_behind(&self, stored: &StoredReceipt) -> Result<Loaded<A>, StoreError> {
        let expected = stored.receipt.version;
        let then = match stored.aggregate_id {
            Some(id) => self.load(id, Until::Version(expected)).await?,
            None => None,
        };
        let then = then.unwrap_or_default();
        if then.version == expected {
            return Ok(then);
        }
        let what = match stored.aggregate_id {
            Some(id) => stream_name::<A>(id),
            None => format!("the event at position {}", stored.position.get()),
        };
        let found = then.version;
        Err(StoreError::corrupt(what, StreamGap { expected, found }))
    }
}

/// Looks at the version first, then at the state: a client that is behind should learn so.
fn decide<A: Aggregate>(
    request: &Request<A::Command>,
    baseline: &Loaded<A>,
) -> Result<Vec<A::Event>, ExecuteError<A>> {
    let exists = baseline.version > Version::ZERO;
    match request.expected {
        Some(expected) if exists && expected != baseline.version => {
            let current = Box::new(baseline.clone());
            Err(ExecuteError::VersionConflict { expected, current })
        }
        Some(_) | None => baseline
            .state
            .decide(&request.command)
            .map_err(ExecuteError::Refused),
    }
}

/// The snapshot's state, where it decodes.
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

fn new_event<E: DomainEvent>(event: &E) -> Result<NewEvent, StoreError> {
    let event_type = event.event_type();
    let schema_version = E::SCHEMAS
        .iter()
        .find(|(name, _)| *name == event_type)
        .map_or(1, |s| s.1);
    let data = event
        .encode()
        .map_err(|error| StoreError::corrupt(event_type, error))?;
    Ok(NewEvent {
        event_id: new_id(),
        event_type,
        schema_version,
        data,
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the repository is where event ids are made"
)]
fn new_id() -> Uuid {
    Uuid::now_v7()
}

/// The stream of the aggregate with this id.
#[must_use]
pub fn stream_of<A: Aggregate>(id: Uuid) -> StreamId {
    StreamId {
        aggregate_type: A::TYPE,
        aggregate_id: id,
    }
}

fn stream_name<A: Aggregate>(id: Uuid) -> String {
    stream_of::<A>(id).to_string()
}

fn unreadable<A: Aggregate>(id: Uuid, version: Version, error: UpcastError) -> StoreError {
    StoreError::corrupt(format!("event {version} of {}", stream_of::<A>(id)), error)
}

/// A stream's versions do not follow one another.
#[derive(Debug, thiserror::Error)]
#[error("expected version {expected}, found {found}")]
struct StreamGap {
    expected: Version,
    found: Version,
}
