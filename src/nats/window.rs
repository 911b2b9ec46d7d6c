//! A window: messages that are sent without waiting for each other's acknowledgement, so that all
//! of them together cost one round trip.
//!
//! Only the first and the last message are acknowledged. Each message names the one that must be
//! directly before it, so NATS accepts the last one only if all are there. The first
//! acknowledgement reports an error sooner and with a better reason. Acknowledging every message
//! would cost NATS and the client as much as publishing it.
//!
//! The first bad acknowledgement ends the window. Expected sequences alone are not enough: if another
//! program has published three messages, our first three are refused, but the fourth fits. So each message after the first also names the
//! message that must be directly before it, by an id (`Nats-Msg-Id`) that no other window uses.
//!
//! A replicated stream gets one message at a time. NATS 2.15 checks that id only after replication,
//! takes a refusal for a damaged replica and closes the whole stream ("last msgid mismatch",
//! "critical write error"). One message at a time needs no such id.

use std::sync::Arc;

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
    message::{self, Encoding, OutgoingMessage},
    relay_error::RelayError,
    stream::{DEADLINE, EventStream},
};
use crate::event_sourcing::{
    Position, RecordedEvent,
    testing::sabotage::{self, Safeguard},
};

/// The most messages in a window.
const MAX_MESSAGES: u32 = 500;

/// The most messages in a window to a replicated stream.
const MAX_MESSAGES_ONE_BY_ONE: u32 = 50;

/// The most bytes in a window. A single message may be larger.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// The messages of a window, each with its event's position.
pub type Window = Vec<(Position, OutgoingMessage)>;

/// The most messages that a window to this stream may hold.
#[must_use]
pub fn max_messages(stream: &EventStream) -> u32 {
    if is_one_by_one(stream) {
        MAX_MESSAGES_ONE_BY_ONE
    } else {
        MAX_MESSAGES
    }
}

fn is_one_by_one(stream: &EventStream) -> bool {
    stream.options().replicas > 1
}

/// Writes events as messages, as many as fit a window.
///
/// # Errors
/// [`RelayError::Encode`].
pub fn encode(
    encoding: Encoding<'_>,
    events: impl Iterator<Item = Arc<RecordedEvent>>,
) -> Result<Window, RelayError> {
    let mut bytes = 0_usize;
    let mut window = Window::new();
    for event in events {
        let position = event.position;
        let message = message::encode(encoding, &event)
            .map_err(|source| RelayError::Encode { position, source })?;
        bytes = bytes.saturating_add(message.size());
        if bytes > MAX_BYTES && !window.is_empty() {
            break;
        }
        window.push((position, message));
    }
    Ok(window)
}

/// Publishes a window behind the sequence `last` and waits for its acknowledgements. After an error
/// it is unknown how much of the window was published.
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
    // Never used twice: NATS must not take an event that is published again for a duplicate.
    let window_id: u64 = rand::random();
    let message_id = |sequence| format!("{window_id:016x}-{sequence}");
    let last_of_window = last.saturating_add(window.len() as u64);
    let mut acks = Vec::new();
    for ((position, message), before) in window.into_iter().zip(last..) {
        let sequence = before.saturating_add(1);
        let mut headers = message.headers;
        headers.insert(NATS_MESSAGE_ID, message_id(sequence));
        let is_chained = before > last && !is_one_by_one(stream);
        if is_fenced {
            headers.insert(NATS_EXPECTED_LAST_SEQUENCE, before.to_string());
        }
        if is_fenced && is_chained {
            headers.insert(NATS_EXPECTED_LAST_MESSAGE_ID, message_id(before));
        }
        // Chained messages need no stream name: only this stream has the message that they name.
        if !is_chained {
            headers.insert(NATS_EXPECTED_STREAM, stream.options().stream.as_str());
        }
        let needs_ack =
            before == last || sequence == last_of_window || !is_fenced || is_one_by_one(stream);
        if !needs_ack {
            let sent = client.publish_with_headers(message.subject, headers, message.payload);
            sent.await.map_err(|error| RelayError::Publish {
                position,
                source: as_publish_error(error),
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
        if is_one_by_one(stream) {
            wait_for_ack(position, sequence, ack).await?;
        } else {
            acks.push((position, sequence, ack));
        }
    }
    for (position, sequence, ack) in acks {
        wait_for_ack(position, sequence, ack).await?;
    }
    Ok(())
}

/// The same error as the type that an acknowledged publication returns.
fn as_publish_error(error: client::PublishError) -> PublishError {
    let kind = match error.kind() {
        client::PublishErrorKind::MaxPayloadExceeded => PublishErrorKind::MaxPayloadExceeded,
        client::PublishErrorKind::InvalidSubject | client::PublishErrorKind::Send => {
            PublishErrorKind::Other
        }
    };
    PublishError::with_source(kind, error)
}

/// Waits for an acknowledgement and checks its sequence.
async fn wait_for_ack(
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
