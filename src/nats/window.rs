//! A window: messages that are sent without waiting for one another, so that a round trip is paid
//! once for all of them.
//!
//! Only its first and its last message are acknowledged: each names the one that must stand directly
//! before it, so the last one is only taken when all are there. (The first one says sooner, and better,
//! what is wrong.) To acknowledge each would cost NATS and the client as much as to publish it.
//!
//! The first bad acknowledgement drops the window. Expected sequences alone would not keep the rest
//! of it out: behind three foreign messages the first three events are refused, and the fourth finds
//! the sequence that it expects. So each message after the first also names the message that must
//! stand directly before it, by an id (`Nats-Msg-Id`) that no other window shares.
//!
//! Replicated streams are published to one message at a time: NATS 2.15 checks that id only after
//! replication there, takes a refusal for a damaged replica and closes the whole stream ("last msgid
//! mismatch", "critical write error"). One message at a time needs no chain.

use async_nats::{
    client,
    header::{
        NATS_EXPECTED_LAST_MESSAGE_ID, NATS_EXPECTED_LAST_SEQUENCE, NATS_EXPECTED_STREAM,
        NATS_MESSAGE_ID,
    },
    jetstream::{
        context::{PublishAckFuture, PublishError, PublishErrorKind},
        message::PublishMessage,
    },
};
use tokio::time::timeout;

use super::{
    message::{self, Outgoing},
    relay_error::RelayError,
    stream::{DEADLINE, EventStream},
};
use crate::event_sourcing::{
    Position, RecordedEvent,
    testing::sabotage::{self, Safeguard},
};

/// The most messages on their way at once.
const MESSAGES: u32 = 500;

/// The most messages in a window that is published one by one.
const MESSAGES_ONE_BY_ONE: u32 = 50;

/// The most bytes on their way at once (one message may be larger).
const BYTES: usize = 4 * 1024 * 1024;

/// The messages of a window with their positions.
pub type Window = Vec<(Position, Outgoing)>;

/// The most messages of a window to this stream.
#[must_use]
pub fn size(stream: &EventStream) -> u32 {
    if one_by_one(stream) {
        MESSAGES_ONE_BY_ONE
    } else {
        MESSAGES
    }
}

fn one_by_one(stream: &EventStream) -> bool {
    stream.options().replicas > 1
}

/// Writes the events after `previous` as messages, as many as fit.
#[must_use]
pub fn encode(
    prefix: &str,
    mut previous: Position,
    events: impl Iterator<Item = RecordedEvent>,
) -> Window {
    let mut bytes = 0_usize;
    let mut window = Window::new();
    for event in events {
        let position = event.position;
        let message = message::encode(prefix, previous, &event);
        bytes = bytes.saturating_add(message.size());
        if bytes > BYTES && !window.is_empty() {
            break;
        }
        window.push((position, message));
        previous = position;
    }
    window
}

/// Publishes a window behind the sequence `last` and waits until it is acknowledged as what it should
/// be. After an error nobody knows how much of it was published.
///
/// # Errors
/// The first refusal, or [`RelayError::Deadline`].
pub async fn publish(stream: &EventStream, last: u64, window: Window) -> Result<(), RelayError> {
    let messages = window.len();
    timeout(DEADLINE, send(stream, last, window))
        .await
        .map_err(|_elapsed| RelayError::Deadline { messages })?
}

async fn send(stream: &EventStream, last: u64, window: Window) -> Result<(), RelayError> {
    let client = stream.context().client();
    let is_fenced = !sabotage::is_out(Safeguard::ExpectedSequence);
    // Never used twice, so that NATS takes nothing that is published again for a duplicate.
    let window_id: u64 = rand::random();
    let message_id = |sequence| format!("{window_id:016x}-{sequence}");
    let end = last.saturating_add(window.len() as u64);
    let mut acks = Vec::new();
    for ((position, message), before) in window.into_iter().zip(last..) {
        let sequence = before.saturating_add(1);
        let mut headers = message.headers;
        headers.insert(NATS_MESSAGE_ID, message_id(sequence));
        let is_chained = before > last && !one_by_one(stream);
        if is_fenced {
            headers.insert(NATS_EXPECTED_LAST_SEQUENCE, before.to_string());
        }
        if is_fenced && is_chained {
            headers.insert(NATS_EXPECTED_LAST_MESSAGE_ID, message_id(before));
        }
        // No other stream has the message that the others are chained to.
        if !is_chained {
            headers.insert(NATS_EXPECTED_STREAM, stream.options().stream.as_str());
        }
        let is_asked = before == last || sequence == end || !is_fenced || one_by_one(stream);
        if !is_asked {
            let sent = client.publish_with_headers(message.subject, headers, message.payload);
            sent.await.map_err(|error| RelayError::Publish {
                position,
                source: unsent(error),
            })?;
            continue;
        }
        let publication = PublishMessage::build()
            .payload(message.payload)
            .headers(headers);
        let sent = stream.context().send_publish(message.subject, publication);
        let ack = sent
            .await
            .map_err(|source| RelayError::Publish { position, source })?;
        if one_by_one(stream) {
            acknowledged(position, sequence, ack).await?;
        } else {
            acks.push((position, sequence, ack));
        }
    }
    for (position, sequence, ack) in acks {
        acknowledged(position, sequence, ack).await?;
    }
    Ok(())
}

fn unsent(error: client::PublishError) -> PublishError {
    let kind = match error.kind() {
        client::PublishErrorKind::MaxPayloadExceeded => PublishErrorKind::MaxPayloadExceeded,
        client::PublishErrorKind::InvalidSubject | client::PublishErrorKind::Send => {
            PublishErrorKind::Other
        }
    };
    PublishError::with_source(kind, error)
}

async fn acknowledged(
    position: Position,
    expected: u64,
    ack: PublishAckFuture,
) -> Result<(), RelayError> {
    let ack = ack
        .await
        .map_err(|source| RelayError::Publish { position, source })?;
    if ack.sequence == expected && !ack.duplicate {
        return Ok(());
    }
    Err(RelayError::Acknowledgement {
        position,
        expected,
        found: ack.sequence,
        duplicate: ack.duplicate,
    })
}
