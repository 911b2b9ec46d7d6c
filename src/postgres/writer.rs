//! The writer: one task with one connection that appends all waiting commands in one statement
//! (group commit).
//!
//! The store's lock serialises appends, so they are fast only in batches. The writer takes all
//! commands that wait, without a timer, and appends them in one statement; meanwhile the next batch
//! queues up. A command that cannot be stored does not fail the others: the batch is halved until
//! that command is alone. After a lost connection the outcome is unknown: the batch is sent again,
//! and the store recognises what it has by the ids. A caller that disconnects cancels nothing.

use std::{collections::VecDeque, error::Error, sync::Arc, time::Duration};

use metrics::histogram;
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::mpsc,
    task::yield_now,
    time::{Instant, sleep, timeout},
};
use tracing::warn;

use super::{
    append_watch::AppendWatch,
    batch::{Outcome, append_commands},
    idempotency,
    queue::{MAX_COMMANDS, Pending, Reply, Stopped, WriterHandle, queue, take_batch},
};
use crate::{
    event_sourcing::{Append, AppendError, Appended, StoreError, StreamId},
    live::FreshEvents,
    sql::error::{broken_constraint, has_stored_nothing, is_about_data},
};

/// How long a batch is tried while the server does not answer, from the arrival of its oldest
/// command.
const BATCH_DEADLINE: Duration = Duration::from_millis(1800);
/// After this time without an answer the connection of a statement is closed.
const STATEMENT_DEADLINE: Duration = Duration::from_secs(10);
/// How long a connection attempt can take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(1);
/// The pause between two attempts.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// Keeps one plan per statement. The writer's statements look rows up by key, whatever the size of
/// the batch; planning one anew costs as much as running it with twenty commands.
const ONE_PLAN: (&str, &str) = ("plan_cache_mode", "force_generic_plan");

/// Settings of the writer.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// How many commands can wait. Further ones are refused at once.
    pub queue: usize,
    /// How long an idempotency key is kept.
    pub key_ttl: Duration,
}

impl WriterOptions {
    /// How many commands the writer holds at most: in its queue, taken from the queue, and in a batch.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.queue + self.most_waiting() + MAX_COMMANDS
    }

    fn most_waiting(&self) -> usize {
        self.queue.max(MAX_COMMANDS)
    }
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            queue: 1024,
            key_ttl: Duration::from_hours(24),
        }
    }
}

/// The writer task.
#[derive(Debug)]
pub struct Writer {
    options: WriterOptions,
    connect: PgConnectOptions,
    connection: Option<PgConnection>,
    queue: mpsc::Receiver<Pending>,
    waiting: VecDeque<Pending>,
    /// Whether the last batch was a single command.
    was_alone: bool,
    fresh: FreshEvents,
    appends: AppendWatch,
}

impl Writer {
    /// Creates a writer and the sender of its queue. The writer pushes stored events to `fresh`.
    #[must_use]
    pub fn new(
        connect: PgConnectOptions,
        options: WriterOptions,
        fresh: FreshEvents,
    ) -> (Self, WriterHandle) {
        let (handle, queue) = queue(options.queue);
        let connect = connect.options([ONE_PLAN]);
        let connection = None;
        let waiting = VecDeque::new();
        let writer = Self {
            options,
            connect,
            connection,
            queue,
            waiting,
            was_alone: true,
            fresh,
            appends: AppendWatch::default(),
        };
        (writer, handle)
    }

    /// Whether appends succeed, as long as this writer runs.
    #[must_use]
    pub fn appends(&self) -> AppendWatch {
        self.appends.clone()
    }

    /// Writes until every handle is dropped and every queued command has its outcome.
    pub async fn run(mut self) {
        loop {
            if self.waiting.is_empty() {
                match self.queue.recv().await {
                    Some(pending) => self.waiting.push_back(pending),
                    None => break,
                }
            }
            self.gather().await;
            self.was_alone = self.waiting.len() == 1;
            let batch = take_batch(&mut self.waiting);
            if !batch.is_empty() {
                self.write(batch).await;
            }
        }
        if let Some(connection) = self.connection {
            drop(connection.close().await);
        }
    }

    /// Takes all queued commands. The clients of the last batch often send their next command at
    /// once, so this yields to the other tasks as long as that brings more commands. There is no
    /// timer. A single command after a single command is written without yielding.
    async fn gather(&mut self) {
        let mut before = None;
        loop {
            while self.waiting.len() < self.options.most_waiting() {
                match self.queue.try_recv() {
                    Ok(pending) => self.waiting.push_back(pending),
                    Err(_) => break,
                }
            }
            let waiting = self.waiting.len();
            let is_alone = waiting == 1 && self.was_alone;
            if waiting >= MAX_COMMANDS || before == Some(waiting) || is_alone {
                return;
            }
            before = Some(waiting);
            yield_now().await;
        }
    }

    /// Writes a batch, in halves if the server rejects it, and replies to each command.
    async fn write(&mut self, batch: Vec<Pending>) {
        histogram!("orders_writer_batch_commands").record(u32::try_from(batch.len()).unwrap_or(0));
        let mut parts = vec![batch];
        while let Some(mut part) = parts.pop() {
            match self.append(&part).await {
                Ok(outcomes) => {
                    self.appends.record_success();
                    self.reply(part, outcomes).await;
                }
                Err(Failure::NotSent(cause)) => {
                    self.appends.record_failure(&cause);
                    for pending in part {
                        pending.answer(Err(StoreError::Unavailable(cause.clone()).into()));
                    }
                }
                Err(Failure::OutcomeUnknown(cause)) => {
                    self.appends.record_failure(&cause);
                    for pending in part {
                        pending.answer(Err(StoreError::Unknown(cause.clone()).into()));
                    }
                }
                Err(Failure::Rejected(_)) if part.len() > 1 => {
                    let half = part.split_off(part.len() / 2);
                    parts.extend([half, part]);
                }
                Err(Failure::Rejected(error)) => {
                    for pending in part {
                        let rejected = rejected(Arc::clone(&error), pending.append.stream);
                        pending.answer(Err(rejected));
                    }
                }
            }
        }
    }

    /// Replies to each command, then publishes the stored events within the process.
    async fn reply(&mut self, batch: Vec<Pending>, outcomes: Vec<Outcome>) {
        let mut stored = Vec::with_capacity(batch.len());
        for (pending, outcome) in batch.into_iter().zip(outcomes) {
            let Pending { append, reply, .. } = pending;
            let outcome = match outcome {
                Outcome::Appended(position) => {
                    stored.extend(append.into_recorded(position));
                    Ok(Appended { position })
                }
                Outcome::Conflict => Err(AppendError::VersionConflict),
                Outcome::Duplicate => self.duplicate(&append).await,
            };
            // The caller may be gone; the outcome of the command is the same.
            drop(reply.send(outcome));
        }
        self.fresh.push(stored);
    }

    /// Finds what the used key is stored with. If that fails, the command can be repeated: it was
    /// not applied.
    async fn duplicate(&mut self, append: &Append) -> Reply {
        let (Some(key), Some(connection)) = (&append.key, &mut self.connection) else {
            return Err(StoreError::unavailable(Stopped).into());
        };
        let found = idempotency::find(connection, key, self.options.key_ttl);
        match timeout(STATEMENT_DEADLINE, found).await {
            Ok(Ok(Some(used))) => Err(AppendError::DuplicateCommand(Box::new(used))),
            // The key expired between the two statements: the next attempt finds it unused.
            Ok(Ok(None)) => Err(AppendError::VersionConflict),
            Ok(Err(error)) => {
                self.connection = None;
                Err(StoreError::unavailable(error).into())
            }
            Err(elapsed) => {
                self.connection = None;
                Err(StoreError::unavailable(elapsed).into())
            }
        }
    }

    /// Appends a batch. Connects and sends again until it succeeds or its deadline has passed.
    async fn append(&mut self, batch: &[Pending]) -> Result<Vec<Outcome>, Failure> {
        let appends: Vec<&Append> = batch.iter().map(|pending| &pending.append).collect();
        let since = batch
            .iter()
            .map(|pending| pending.since)
            .min()
            .unwrap_or_else(Instant::now);
        let mut may_be_stored = false;
        loop {
            let error = match self.try_append(&appends, may_be_stored).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(AttemptError::Connect(error)) => error,
                Err(AttemptError::Statement(error)) if is_about_data(&error) => {
                    return Err(Failure::Rejected(Arc::new(error)));
                }
                Err(AttemptError::Statement(error)) => {
                    may_be_stored |= !has_stored_nothing(&error);
                    self.connection = None;
                    // After a failover or a restore the next connection can lead to other events.
                    self.fresh.forget();
                    error
                }
            };
            if since.elapsed() >= BATCH_DEADLINE {
                let cause = Arc::new(error);
                return Err(if may_be_stored {
                    Failure::OutcomeUnknown(cause)
                } else {
                    Failure::NotSent(cause)
                });
            }
            warn!(error = &error as &dyn Error, "append failed, trying again");
            sleep(RECONNECT_PAUSE).await;
        }
    }

    async fn try_append(
        &mut self,
        batch: &[&Append],
        is_resent: bool,
    ) -> Result<Vec<Outcome>, AttemptError> {
        let key_ttl = self.options.key_ttl;
        let connection = self.connected().await.map_err(AttemptError::Connect)?;
        let sent = append_commands(connection, batch, key_ttl, is_resent);
        match timeout(STATEMENT_DEADLINE, sent).await {
            Ok(answer) => answer.map_err(AttemptError::Statement),
            Err(_) => Err(AttemptError::Statement(timed_out())),
        }
    }

    async fn connected(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        if self.connection.is_none() {
            let connecting = PgConnection::connect_with(&self.connect);
            let connection = timeout(CONNECT_DEADLINE, connecting)
                .await
                .map_err(|_| timed_out())??;
            self.connection = Some(connection);
        }
        self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)
    }
}

fn timed_out() -> sqlx::Error {
    sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())
}

/// Why one attempt failed.
enum AttemptError {
    /// Connecting failed; nothing was sent.
    Connect(sqlx::Error),
    /// The statement failed or was not answered.
    Statement(sqlx::Error),
}

/// Why a batch was not written.
enum Failure {
    /// It was not sent: the server did not answer.
    NotSent(Arc<sqlx::Error>),
    /// It was sent, but it is unknown whether it was stored.
    OutcomeUnknown(Arc<sqlx::Error>),
    /// The server rejects its data.
    Rejected(Arc<sqlx::Error>),
}

/// Why a single command was rejected: a version conflict, found by the primary key of `events`, or
/// data that cannot be stored.
fn rejected(error: Arc<sqlx::Error>, stream: StreamId) -> AppendError {
    if broken_constraint(&error) == Some("events_pkey") {
        return AppendError::VersionConflict;
    }
    StoreError::corrupt(format!("an append to {stream}"), error).into()
}
