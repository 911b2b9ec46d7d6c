//! The queue in front of the writer: commands wait here, and the next batch is taken from here.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use metrics::counter;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};

use crate::event_sourcing::{Append, AppendError, Appended, StoreError};

/// The maximum number of commands in one statement.
pub(super) const MAX_COMMANDS: usize = 256;
/// The maximum number of events in one statement; a command with more goes alone.
const MAX_EVENTS: usize = 1000;
/// The maximum number of bytes of event data in one statement; a larger command goes alone.
const MAX_BYTES: usize = 1 << 20;
/// How long a caller waits for the outcome of its command.
const OUTCOME_DEADLINE: Duration = Duration::from_secs(5);

/// The state of a queued command: its caller gives it up or the writer takes it for sending, never
/// both. So a command that was given up is certainly not applied.
#[derive(Debug, Clone, Default)]
struct Ticket(Arc<AtomicU8>);

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Ticket {
    fn take(&self) -> bool {
        self.0
            .compare_exchange(WAITING, TAKEN, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    fn give_up(&self) -> bool {
        self.0
            .compare_exchange(WAITING, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

/// The outcome of a command.
pub(super) type Reply = Result<Appended, AppendError>;

/// A command in the queue.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) append: Append,
    ticket: Ticket,
    pub(super) since: Instant,
    pub(super) reply: oneshot::Sender<Reply>,
}

impl Pending {
    pub(super) fn answer(self, reply: Reply) {
        // The caller may be gone; the outcome of the command is the same.
        drop(self.reply.send(reply));
    }
}

/// The deadline of a caller has passed.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
struct TooSlow(Duration);

/// The writer has stopped.
#[derive(Debug, thiserror::Error)]
#[error("the writer has stopped")]
pub(super) struct Stopped;

/// The sender of the writer's queue.
#[derive(Debug, Clone)]
pub struct WriterHandle {
    queue: mpsc::Sender<Pending>,
}

/// Creates a queue for at most `capacity` commands: its sender and its receiver.
pub(super) fn queue(capacity: usize) -> (WriterHandle, mpsc::Receiver<Pending>) {
    let (sender, receiver) = mpsc::channel(capacity);
    (WriterHandle { queue: sender }, receiver)
}

impl WriterHandle {
    /// Queues a command and waits for its outcome.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`] at once if the queue is full; [`StoreError::Unavailable`] if the
    /// command was not sent in time; [`StoreError::Unknown`] if it was sent, but its outcome was
    /// not known in time.
    pub async fn append(&self, append: Append) -> Reply {
        let (reply, answer) = oneshot::channel();
        let ticket = Ticket::default();
        let pending = Pending {
            append,
            ticket: ticket.clone(),
            since: Instant::now(),
            reply,
        };
        self.queue
            .try_send(pending)
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(_) => {
                    counter!("orders_writer_overloaded_total").increment(1);
                    StoreError::Overloaded
                }
                mpsc::error::TrySendError::Closed(_) => StoreError::unavailable(Stopped),
            })?;
        match timeout(OUTCOME_DEADLINE, answer).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) if ticket.give_up() => Err(StoreError::unavailable(Stopped).into()),
            Ok(Err(_)) => Err(StoreError::unknown(Stopped).into()),
            Err(_) if ticket.give_up() => {
                Err(StoreError::unavailable(TooSlow(OUTCOME_DEADLINE)).into())
            }
            Err(_) => Err(StoreError::unknown(TooSlow(OUTCOME_DEADLINE)).into()),
        }
    }
}

/// Takes the commands of the next statement: in order, at most one per aggregate and one per key,
/// within the limits. The others keep waiting; commands that were given up are dropped.
pub(super) fn take_batch(waiting: &mut VecDeque<Pending>) -> Vec<Pending> {
    let (mut batch, mut later) = (Vec::new(), VecDeque::new());
    let (mut aggregates, mut keys) = (HashSet::new(), HashSet::new());
    let (mut events, mut bytes) = (0, 0);
    while let Some(pending) = waiting.pop_front() {
        let append = &pending.append;
        let size: usize = append
            .events
            .iter()
            .map(|event| event.data.get().len())
            .sum();
        let fits = batch.is_empty()
            || (events + append.events.len() <= MAX_EVENTS && bytes + size <= MAX_BYTES);
        let aggregate = append.stream.aggregate_id;
        let key = append
            .key
            .as_ref()
            .map(|key| (key.scope.clone(), key.key.clone()));
        let is_taken =
            aggregates.contains(&aggregate) || key.as_ref().is_some_and(|key| keys.contains(key));
        // A command that keeps waiting counts, too: a later one on its aggregate must not overtake
        // it.
        aggregates.insert(aggregate);
        keys.extend(key);
        if is_taken || !fits {
            later.push_back(pending);
            if !fits {
                break;
            }
        } else if pending.ticket.take() {
            events += append.events.len();
            bytes += size;
            batch.push(pending);
            if batch.len() == MAX_COMMANDS {
                break;
            }
        }
    }
    later.append(waiting);
    *waiting = later;
    batch
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;
    use uuid::Uuid;

    use super::*;
    use crate::event_sourcing::{IdempotencyKey, NewEvent, StreamId, Version, testing::instant};

    /// A command on a stream, with events of these sizes in bytes.
    fn pending(stream: u128, key: Option<&str>, events: &[usize]) -> Pending {
        let event = |bytes: &usize| NewEvent {
            event_id: Uuid::nil(),
            event_type: "Counted",
            schema_version: 1,
            data: RawValue::from_string(format!("\"{}\"", "x".repeat(bytes - 2))).unwrap(),
        };
        let key = key.map(|key| IdempotencyKey {
            scope: String::new(),
            key: key.to_owned(),
            fingerprint: [0; 32],
        });
        let append = Append {
            command_id: Uuid::nil(),
            stream: StreamId {
                aggregate_type: "Counter",
                aggregate_id: Uuid::from_u128(stream),
            },
            expected: Version::ZERO,
            events: events.iter().map(event).collect(),
            occurred_at: instant(0),
            metadata: RawValue::from_string("{}".to_owned()).unwrap(),
            key,
        };
        Pending {
            append,
            ticket: Ticket::default(),
            since: Instant::now(),
            reply: oneshot::channel().0,
        }
    }

    fn streams<'a>(commands: impl IntoIterator<Item = &'a Pending>) -> Vec<u128> {
        let streams = commands.into_iter();
        streams
            .map(|pending| pending.append.stream.aggregate_id.as_u128())
            .collect()
    }

    /// The streams of all batches, in order.
    fn batches(commands: impl IntoIterator<Item = Pending>) -> Vec<Vec<u128>> {
        let mut waiting: VecDeque<_> = commands.into_iter().collect();
        let mut batches = vec![];
        while !waiting.is_empty() {
            batches.push(streams(&take_batch(&mut waiting)));
        }
        batches
    }

    #[test]
    fn a_batch_takes_one_command_per_stream_and_one_per_key() {
        let commands = [
            pending(1, Some("k"), &[2]),
            pending(1, None, &[2]),
            pending(2, Some("k"), &[2]),
            pending(2, None, &[2]),
            pending(3, Some("l"), &[2]),
        ];

        assert_eq!(batches(commands), [vec![1, 3], vec![1, 2], vec![2]]);
    }

    #[test]
    fn a_batch_has_limits_but_a_command_beyond_them_goes_alone() {
        let many = (0..300).map(|stream| pending(stream, None, &[2]));
        assert_eq!(
            batches(many).iter().map(Vec::len).collect::<Vec<_>>(),
            [256, 44]
        );

        let events = [2; 600];
        let commands = [1, 2, 3].map(|stream| pending(stream, None, &events));
        assert_eq!(batches(commands), [[1], [2], [3]]);

        let sizes = [MAX_BYTES / 2, MAX_BYTES * 3, MAX_BYTES / 2, MAX_BYTES / 2];
        let commands = (1..)
            .zip(sizes)
            .map(|(stream, size)| pending(stream, None, &[size]));
        assert_eq!(batches(commands), [vec![1], vec![2], vec![3, 4]]);
    }

    #[test]
    fn a_command_is_given_up_or_taken_but_never_both() {
        let (given_up, taken) = (pending(1, None, &[2]), pending(2, None, &[2]));
        assert!(given_up.ticket.give_up());
        let ticket = taken.ticket.clone();
        let mut waiting = VecDeque::from([given_up, taken]);

        let batch = take_batch(&mut waiting);

        assert_eq!(streams(&batch), [2]);
        assert!(waiting.is_empty() && !ticket.give_up());
    }
}
