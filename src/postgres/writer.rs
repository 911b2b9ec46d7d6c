//! The writer: one task, one connection, one statement for all commands that wait (group commit).
//!
//! Appends are serialised by the store's lock, so they are only fast in batches. The writer takes
//! what waits (no timer) and appends it in one statement; while that runs, the next batch gathers.
//! A command that cannot be stored never fails its neighbours: the batch is halved until it stands
//! alone. After a lost connection the outcome is unknown: the batch is sent again, and what was
//! stored is recognised by its ids. A caller that goes away cancels nothing.

use std::{collections::VecDeque, error::Error, sync::Arc, time::Duration};

use metrics::histogram;
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::mpsc,
    task::yield_now,
    time::{Instant, sleep, timeout},
};
use tracing::{error, warn};

use super::{
    batch::{Outcome, append_commands},
    idempotency,
    queue::{MAX_COMMANDS, Pending, Reply, Stopped, WriterHandle, queue, take_batch},
};
use crate::{
    event_sourcing::{Append, AppendError, Appended, StoreError, StreamId},
    live::FreshEvents,
    sql::error::{broken_constraint, has_stored_nothing, is_about_data},
};

/// How long a command may wait for a server that does not answer before it is given up unsent.
const UNSENT_DEADLINE: Duration = Duration::from_millis(1800);
/// How long a statement may take before its connection is given up.
const STATEMENT_DEADLINE: Duration = Duration::from_secs(10);
/// How long connecting may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(1);
/// How long to wait between tries to connect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// The statements of the writer look rows up by their keys, whatever the batch's size: to plan each
/// one anew costs as much as to run it with twenty commands.
const ONE_PLAN: (&str, &str) = ("plan_cache_mode", "force_generic_plan");

/// Settings of the writer.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// How many commands may wait; further ones are refused at once.
    pub queue: usize,
    /// How long an idempotency key is kept.
    pub key_ttl: Duration,
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
}

impl Writer {
    /// Makes a writer and the way to it. What it has stored, it pushes to `fresh`.
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
        };
        (writer, handle)
    }

    /// Writes until every handle is dropped and all that was queued is answered.
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

    /// Takes all that is queued. Whoever was answered by the last batch asks again within a moment,
    /// so what is ready to run runs first, for as long as more comes of it. There is no timer, and a
    /// lone command after a lone command waits for nobody.
    async fn gather(&mut self) {
        let mut before = None;
        loop {
            while self.waiting.len() < self.options.queue.max(MAX_COMMANDS) {
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

    /// Writes a batch, in halves where the whole cannot be written, and answers each command.
    async fn write(&mut self, batch: Vec<Pending>) {
        histogram!("orders_writer_batch_commands").record(u32::try_from(batch.len()).unwrap_or(0));
        let mut parts = vec![batch];
        while let Some(mut part) = parts.pop() {
            match self.append(&part).await {
                Ok(outcomes) => self.answer(part, outcomes).await,
                Err(Failure::NotSent(cause)) => {
                    for pending in part {
                        pending.answer(Err(StoreError::Unavailable(cause.clone()).into()));
                    }
                }
                Err(Failure::OutcomeUnknown(cause)) => {
                    for pending in part {
                        pending.answer(Err(StoreError::Unknown(cause.clone()).into()));
                    }
                }
                Err(Failure::Rejected(_)) if part.len() > 1 => {
                    let half = part.split_off(part.len() / 2);
                    parts.extend([half, part]);
                }
                Err(Failure::Rejected(error)) => part.into_iter().for_each(|pending| {
                    let stream = pending.append.stream;
                    error!(error = &error as &dyn Error, %stream, "append rejected");
                    pending.answer(Err(rejected(&error, stream)));
                }),
            }
        }
    }

    /// Answers each command, then hands what was stored to whoever follows the store.
    async fn answer(&mut self, batch: Vec<Pending>, outcomes: Vec<Outcome>) {
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
            // The caller may have gone away; what happened to the command stays true.
            drop(reply.send(outcome));
        }
        self.fresh.push(stored);
    }

    /// Fetches what the key led to. Where that fails, the command was not applied: the client asks
    /// again.
    async fn duplicate(&mut self, append: &Append) -> Reply {
        let (Some(key), Some(connection)) = (&append.key, &mut self.connection) else {
            return Err(StoreError::unavailable(Stopped).into());
        };
        let found = idempotency::find(connection, key, self.options.key_ttl);
        match timeout(STATEMENT_DEADLINE, found).await {
            Ok(Ok(Some(stored))) => Err(AppendError::DuplicateCommand(Box::new(stored))),
            // It ran out between two statements: the next try finds the key free.
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

    /// Appends a batch, connecting and sending again as often as its deadline allows.
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
                Err(Attempt::Connect(error)) => error,
                Err(Attempt::Statement(error)) if is_about_data(&error) => {
                    return Err(Failure::Rejected(error));
                }
                Err(Attempt::Statement(error)) => {
                    may_be_stored |= !has_stored_nothing(&error);
                    self.connection = None;
                    // Another server, or an earlier state of this one, may answer next.
                    self.fresh.forget();
                    error
                }
            };
            if since.elapsed() >= UNSENT_DEADLINE {
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
    ) -> Result<Vec<Outcome>, Attempt> {
        let key_ttl = self.options.key_ttl;
        let connection = self.connected().await.map_err(Attempt::Connect)?;
        let sent = append_commands(connection, batch, key_ttl, is_resent);
        match timeout(STATEMENT_DEADLINE, sent).await {
            Ok(answer) => answer.map_err(Attempt::Statement),
            Err(_) => Err(Attempt::Statement(timed_out())),
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

/// Where one try failed.
enum Attempt {
    /// Nothing was sent.
    Connect(sqlx::Error),
    /// The statement failed, or its answer never came.
    Statement(sqlx::Error),
}

/// Why a batch was not written.
enum Failure {
    /// There was no server to send it to.
    NotSent(Arc<sqlx::Error>),
    /// It was sent, and whether it was stored could not be learnt.
    OutcomeUnknown(Arc<sqlx::Error>),
    /// The server refuses it.
    Rejected(sqlx::Error),
}

/// A command alone that the server refuses: a lost race (the referee said so), or data that cannot
/// be stored.
fn rejected(error: &sqlx::Error, stream: StreamId) -> AppendError {
    if broken_constraint(error) == Some("events_pkey") {
        return AppendError::VersionConflict;
    }
    let cause = std::io::Error::other(error.to_string());
    StoreError::corrupt(format!("an append to {stream}"), cause).into()
}
