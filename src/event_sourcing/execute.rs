//! Executing a command: load → decide → append, with a retry that settles lost races.
//!
//! Commands on one aggregate take turns in one process. The cached state is a *baseline*: the
//! expected version is checked by the store all the same, so a stale entry costs a retry. And a
//! stale entry never refuses: a refusal, or a decision that nothing needs to change, counts only
//! when it was made on freshly loaded state.

use std::sync::Arc;

use serde_json::value::to_raw_value;
use tracing::debug;
use uuid::Uuid;

use super::{
    aggregate::Aggregate,
    event::{DomainEvent, Metadata, NewEvent, Position, Timestamp, Version, to_micros},
    repository::{Loaded, Repository, StreamGap, stream_name, stream_of},
    snapshot::{NewSnapshot, crosses},
    store::{
        Answer, Append, AppendError, EventStore, IdempotencyKey, StoreError, StoredReceipt, Until,
    },
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
    pub now: Timestamp,
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

impl<A: Aggregate, S: EventStore> Repository<A, S> {
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
        // every command moves. And whoever only asks for the past gives the turn up first.
        let turn = self.turns.of(request.id);
        let mut held = turn.lock().await;
        for attempt in 0..MAX_ATTEMPTS {
            let (baseline, is_fresh) = match held.take() {
                Some(cached) => (cached, false),
                None if request.is_new && attempt == 0 => (Loaded::default(), false),
                None => match Box::pin(self.load(request.id, Until::Now)).await {
                    Ok(loaded) => (loaded.unwrap_or_default(), true),
                    Err(error) if error.is_transient() => return Err(error.into()),
                    // Unreadable now, but the command may have succeeded when it still was.
                    Err(error) => {
                        drop(held);
                        return Box::pin(self.replay_or(&request, error.into(), &answer)).await;
                    }
                },
            };
            match decide(&request, &baseline) {
                Err(_) if !is_fresh => {}
                Ok(events) if events.is_empty() && !is_fresh => {}
                Err(refusal) => {
                    self.turns.weigh(request.id, &turn, baseline.state.weight());
                    *held = Some(baseline);
                    drop(held);
                    return Box::pin(self.replay_or(&request, refusal, &answer)).await;
                }
                Ok(events) if events.is_empty() && request.key.is_none() => {
                    let answer = answer(&baseline.state, baseline.version, false);
                    let position = baseline.position;
                    self.turns.weigh(request.id, &turn, baseline.state.weight());
                    *held = Some(baseline);
                    return Ok(Executed {
                        answer,
                        position,
                        replayed: false,
                    });
                }
                Ok(events) => match self.append(&request, baseline, &events, &answer).await {
                    Ok((loaded, executed)) => {
                        self.turns.weigh(request.id, &turn, loaded.state.weight());
                        *held = Some(loaded);
                        return Ok(executed);
                    }
                    Err(AppendError::VersionConflict) => {}
                    Err(AppendError::DuplicateCommand(stored)) => {
                        drop(held);
                        return Box::pin(self.replay(&request, *stored, &answer)).await;
                    }
                    Err(AppendError::Store(error)) => return Err(error.into()),
                },
            }
        }
        Err(ExecuteError::Contention)
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
    reason = "the repository is where event ids are made"
)]
fn new_id() -> Uuid {
    Uuid::now_v7()
}
