//! Executes a command: load → decide → append, with retries after lost races.
//!
//! Commands on one aggregate run one after the other within a process. The cached state may be
//! stale: another process may have appended meanwhile. The store checks the expected version, so an
//! append on stale state costs a retry. A refusal, or a decision without events, appends nothing;
//! it counts only if the state was freshly loaded.

use serde_json::value::to_raw_value;
use tokio::sync::OwnedMutexGuard;
use tracing::debug;
use uuid::Uuid;

use super::{
    aggregate::Aggregate,
    event::{DomainEvent, NewEvent, Version, to_micros},
    locks::{AggregateLock, KeyGuard},
    repository::{Loaded, Repository, StreamGap, stream_of},
    request::{ExecuteError, Executed, MAX_ATTEMPTS, Request},
    snapshot::{NewSnapshot, crosses},
    store::{Append, AppendError, EventStore, StoreError, Until, UsedKey},
};

/// A command that may run now: no other runs on its aggregate, or with its key, in this process, until
/// this is dropped.
pub struct Claimed<A: Aggregate> {
    request: Request<A::Command>,
    lock: AggregateLock<Loaded<A>>,
    held: OwnedMutexGuard<Option<Loaded<A>>>,
    _key: Option<KeyGuard>,
}

impl<A: Aggregate, S: EventStore> Repository<A, S> {
    /// Executes a command. `output` makes the result from the aggregate after the command and its
    /// version. It must depend on these two only: for a used key it is called with the aggregate as
    /// it was after the first command.
    ///
    /// # Errors
    /// See [`ExecuteError`]. Nothing has changed, except perhaps after [`StoreError::Unknown`].
    pub async fn execute<T>(
        &self,
        request: Request<A::Command>,
        output: impl Fn(&A, Version) -> T + Send + Sync,
    ) -> Result<Executed<T>, ExecuteError<A>> {
        let claimed = self.claim(request).await?;
        self.run(claimed, output).await
    }

    /// Waits until no other command runs on the aggregate in this process. A command whose wait is
    /// dropped is certainly not applied.
    ///
    /// # Errors
    /// [`ExecuteError::KeyInProgress`], at once.
    pub async fn claim(&self, request: Request<A::Command>) -> Result<Claimed<A>, ExecuteError<A>> {
        let key = match &request.key {
            Some(key) => Some(self.keys.claim(key).ok_or(ExecuteError::KeyInProgress)?),
            None => None,
        };
        let lock = self.locks.of(request.id);
        let held = lock.lock().await;
        Ok(Claimed {
            request,
            lock,
            held,
            _key: key,
        })
    }

    /// Executes a claimed command; see [`Self::execute`]. If this is dropped, the command may have been
    /// applied.
    ///
    /// # Errors
    /// See [`ExecuteError`].
    pub async fn run<T>(
        &self,
        claimed: Claimed<A>,
        output: impl Fn(&A, Version) -> T + Send + Sync,
    ) -> Result<Executed<T>, ExecuteError<A>> {
        let Claimed {
            request,
            lock,
            mut held,
            _key,
        } = claimed;
        for attempt in 0..MAX_ATTEMPTS {
            // The rare branches await boxed futures: unboxed they would treble the size of this
            // future, and every command moves it. They release the lock before a replay, which only
            // reads.
            let (baseline, is_fresh) = match held.take() {
                Some(cached) => (cached, false),
                None if request.is_new && attempt == 0 => (Loaded::default(), false),
                None => match Box::pin(self.load(request.id, Until::Now)).await {
                    Ok(loaded) => (loaded.unwrap_or_default(), true),
                    Err(error) if error.is_transient() => return Err(error.into()),
                    // The stream is unreadable now, but the key may be from a time when it was not.
                    Err(error) => {
                        drop(held);
                        return Box::pin(self.replay_or(&request, error.into(), &output)).await;
                    }
                },
            };
            let events = match decide(&request, &baseline) {
                Err(_) if !is_fresh => continue,
                Ok(events) if events.is_empty() && !is_fresh => continue,
                Err(refusal) => {
                    self.release(request.id, &lock, held, baseline);
                    return Box::pin(self.replay_or(&request, refusal, &output)).await;
                }
                Ok(events) => events,
            };
            match self.append(&request, baseline, &events).await {
                Ok(after) => {
                    let executed = Executed {
                        output: output(&after.state, after.version),
                        version: after.version,
                        position: after.position,
                        has_changed: !events.is_empty(),
                        is_replayed: false,
                    };
                    self.release(request.id, &lock, held, after);
                    return Ok(executed);
                }
                Err(AppendError::VersionConflict) => {}
                Err(AppendError::DuplicateCommand(used)) => {
                    drop(held);
                    return Box::pin(self.replay(&request, *used, &output)).await;
                }
                Err(AppendError::Store(error)) => return Err(error.into()),
            }
        }
        Err(ExecuteError::Contention)
    }

    /// Caches the state for the next command on the aggregate and releases the lock.
    fn release(
        &self,
        id: Uuid,
        lock: &AggregateLock<Loaded<A>>,
        mut held: OwnedMutexGuard<Option<Loaded<A>>>,
        loaded: Loaded<A>,
    ) {
        self.locks.weigh(id, lock, loaded.state.weight());
        *held = Some(loaded);
    }

    /// Evolves the baseline, appends the events, and queues a snapshot if one is due. The baseline
    /// is evolved in place: after a failed append the caller loads anew.
    async fn append(
        &self,
        request: &Request<A::Command>,
        baseline: Loaded<A>,
        events: &[A::Event],
    ) -> Result<Loaded<A>, AppendError> {
        if events.is_empty() && request.key.is_none() {
            return Ok(baseline);
        }
        let before = baseline.version;
        let mut after = baseline;
        // A clock can step back. The time within a stream must not: reads as of a time rely on it.
        after.occurred_at = to_micros(request.now).max(after.occurred_at);
        for event in events {
            after.state.evolve(event, after.occurred_at);
        }
        after.version = before.plus(events.len());
        let append = Append {
            command_id: new_id(),
            stream: stream_of::<A>(request.id),
            expected: before,
            events: events.iter().map(new_event).collect::<Result<_, _>>()?,
            occurred_at: after.occurred_at,
            metadata: to_raw_value(&*request.metadata)
                .map_err(|error| StoreError::corrupt("metadata", error))?,
            key: request.key.clone(),
        };
        after.position = self.store.append(append).await?.position;
        self.queue_snapshot(request.id, before, &after);
        Ok(after)
    }

    /// Queues a snapshot if the append crossed a multiple of the interval.
    fn queue_snapshot(&self, id: Uuid, before: Version, after: &Loaded<A>) {
        let Some((every, queue)) = &self.snapshots else {
            return;
        };
        if !crosses(before, after.version, *every) {
            return;
        }
        let stream = stream_of::<A>(id);
        let snapshot = NewSnapshot {
            stream,
            version: after.version,
            state: after.state.clone(),
        };
        if queue.try_send(snapshot).is_err() {
            debug!(%stream, "snapshot skipped: its queue is full or closed");
        }
    }

    /// If the key was used before, replays its command; otherwise fails with `error`.
    async fn replay_or<T>(
        &self,
        request: &Request<A::Command>,
        error: ExecuteError<A>,
        output: &(impl Fn(&A, Version) -> T + Send + Sync),
    ) -> Result<Executed<T>, ExecuteError<A>> {
        let Some(key) = &request.key else {
            return Err(error);
        };
        match self.store.find_key(key).await? {
            Some(used) => self.replay(request, used, output).await,
            None => Err(error),
        }
    }

    /// Tells what the first command with this key did, from the aggregate as it was after it.
    async fn replay<T>(
        &self,
        request: &Request<A::Command>,
        used: UsedKey,
        output: &(impl Fn(&A, Version) -> T + Send + Sync),
    ) -> Result<Executed<T>, ExecuteError<A>> {
        let is_same = request
            .key
            .as_ref()
            .is_some_and(|key| key.fingerprint == used.fingerprint);
        if !is_same {
            return Err(ExecuteError::KeyReused);
        }
        let after = self.load_used(&used).await?;
        Ok(Executed {
            output: output(&after.state, after.version),
            version: after.version,
            position: used.position,
            has_changed: used.has_changed,
            is_replayed: true,
        })
    }

    /// Loads the aggregate as it was after a key's first command. Its id can differ from the
    /// request's: an id that was generated for the first request is generated anew for a repeated
    /// one.
    async fn load_used(&self, used: &UsedKey) -> Result<Loaded<A>, StoreError> {
        let expected = used.version;
        let loaded = match used.aggregate_id {
            Some(id) => self.load(id, Until::Version(expected)).await?,
            None => None,
        };
        let loaded = loaded.unwrap_or_default();
        if loaded.version == expected {
            return Ok(loaded);
        }
        let what = match used.aggregate_id {
            Some(id) => stream_of::<A>(id).to_string(),
            None => format!("the event at position {}", used.position),
        };
        let found = loaded.version;
        Err(StoreError::corrupt(what, StreamGap { expected, found }))
    }
}

/// Checks the required version, then decides. A client with an old version should learn that first.
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

fn new_event<E: DomainEvent>(event: &E) -> Result<NewEvent, StoreError> {
    let (event_type, schema_version) = (event.event_type(), event.schema_version());
    let corrupt = || format!("event type {event_type}");
    if !E::SCHEMAS.contains(&(event_type, schema_version)) {
        return Err(StoreError::corrupt(
            corrupt(),
            UnlistedSchema(schema_version),
        ));
    }
    let data = event
        .encode()
        .map_err(|error| StoreError::corrupt(corrupt(), error))?;
    Ok(NewEvent {
        event_id: new_id(),
        event_type,
        schema_version,
        data,
    })
}

/// An event that is not in its domain's list of schemas could not be read after a restart.
#[derive(Debug, thiserror::Error)]
#[error("schema version {0} is not in the list of schemas")]
struct UnlistedSchema(i16);

#[expect(
    clippy::disallowed_methods,
    reason = "the repository generates the ids of events and commands"
)]
fn new_id() -> Uuid {
    Uuid::now_v7()
}
