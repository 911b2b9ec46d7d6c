//! The `JetStream` stream of all events: declared as it should be, and read message by message.

use std::time::Duration;

use async_nats::{
    Client,
    jetstream::{
        Context,
        context::{ContextBuilder, CreateStreamErrorKind, GetStreamErrorKind},
        message::StreamMessage,
        stream::{Config, Info, LastRawMessageErrorKind, RawMessageError, Stream},
    },
};
use tracing::info;
use uuid::Uuid;

pub use super::stream_error::{Cause, Remedy, StreamError};
use super::{NatsOptions, connection::is_connected, owner::StreamOwner, shape};

/// How long an answer or an acknowledgement may take.
pub const DEADLINE: Duration = Duration::from_secs(3);

/// What is in the stream, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamState {
    /// When the stream was created: another stream of the same name has another time.
    pub created: String,
    /// Whose it is, where it says so.
    pub stamp: Option<StreamOwner>,
    /// How many messages it holds.
    pub messages: u64,
    /// How many bytes they take.
    pub bytes: u64,
    /// The lowest sequence that may still be there.
    pub first_sequence: u64,
    /// The highest sequence ever given out.
    pub last_sequence: u64,
}

impl From<&Info> for StreamState {
    fn from(info: &Info) -> Self {
        Self {
            created: info.created.to_string(),
            stamp: StreamOwner::of(&info.config),
            messages: info.state.messages,
            bytes: info.state.bytes,
            first_sequence: info.state.first_sequence,
            last_sequence: info.state.last_sequence,
        }
    }
}

/// The stream of all events, by name: it need not exist yet.
#[derive(Debug, Clone)]
pub struct EventStream {
    context: Context,
    options: NatsOptions,
}

impl EventStream {
    /// The stream of `options` on this connection. Must be called inside a Tokio runtime.
    #[must_use]
    pub fn new(client: Client, options: NatsOptions) -> Self {
        let context = ContextBuilder::new()
            .timeout(DEADLINE)
            .ack_timeout(DEADLINE)
            .build(client);
        Self { context, options }
    }

    /// What the stream is called and which subjects it has.
    #[must_use]
    pub const fn options(&self) -> &NatsOptions {
        &self.options
    }

    /// The client's `JetStream` half.
    #[must_use]
    pub const fn context(&self) -> &Context {
        &self.context
    }

    /// Looks at the stream of the store `ours`, and changes it where it is not as it should be;
    /// `None` where there is no stream. One that says it is another store's is left as it is.
    ///
    /// # Errors
    /// Where NATS does not answer or refuses, or where the stream there can never become ours.
    pub async fn declare(&self, ours: Uuid) -> Result<Option<StreamState>, StreamError> {
        let Some(info) = self.info().await? else {
            return Ok(None);
        };
        let state = StreamState::from(&info);
        self.not_foreign(&state, ours)?;
        if let Some(difference) = shape::unchangeable(&info.config) {
            return Err(StreamError::Unchangeable {
                stream: self.options.stream.clone(),
                difference,
            });
        }
        let differences = shape::differences(&self.options, &info.config);
        if differences.is_empty() {
            return Ok(Some(state));
        }
        let wanted = differences.join(", ");
        let corrected = shape::corrected(&self.options, info.config);
        Ok(Some(self.update(corrected, &wanted).await?))
    }

    /// Makes the stream, with this stamp.
    ///
    /// # Errors
    /// Where NATS does not answer or refuses.
    pub async fn create(&self, stamp: StreamOwner) -> Result<StreamState, StreamError> {
        let wanted = shape::wanted(&self.options, stamp);
        let created = self.context.create_stream(wanted).await;
        let created = created.map_err(|error| self.refused("a new one", error))?;
        let (stream, incarnation) = (&self.options.stream, stamp.incarnation);
        info!(stream, incarnation, "the stream was created");
        Ok(StreamState::from(created.cached_info()))
    }

    /// Writes a stamp on the stream that is there.
    ///
    /// # Errors
    /// Where NATS does not answer or refuses.
    pub async fn mark(&self, stamp: StreamOwner) -> Result<(), StreamError> {
        let info = self.info().await?.ok_or_else(|| self.missing())?;
        let marked = Config {
            description: Some(stamp.on(info.config.description.as_deref())),
            ..info.config
        };
        self.update(marked, "it says whose it is").await.map(drop)
    }

    /// Deletes the stream that was created at `created`; another one of its name stays.
    ///
    /// # Errors
    /// Where NATS does not answer or refuses.
    pub async fn delete(&self, created: &str) -> Result<(), StreamError> {
        let state = self.state().await?;
        if state.is_none_or(|state| state.created != created) {
            return Ok(());
        }
        let deleted = self.context.delete_stream(&self.options.stream).await;
        deleted.map(drop).map_err(|error| self.unavailable(error))
    }

    /// Says that a stream is another store's, where it is.
    ///
    /// # Errors
    /// [`StreamError::Foreign`].
    pub fn not_foreign(&self, state: &StreamState, ours: Uuid) -> Result<(), StreamError> {
        match state.stamp {
            Some(StreamOwner { store: owner, .. }) if owner != ours => Err(StreamError::Foreign {
                stream: self.options.stream.clone(),
                owner,
                ours,
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// That there is no stream.
    #[must_use]
    pub fn missing(&self) -> StreamError {
        StreamError::Missing {
            stream: self.options.stream.clone(),
        }
    }

    async fn update(&self, config: Config, wanted: &str) -> Result<StreamState, StreamError> {
        let changed = self.context.update_stream(config).await;
        let changed = changed.map_err(|error| self.refused(wanted, error))?;
        info!(
            stream = self.options.stream,
            changes = wanted,
            "the stream was changed into what it should be"
        );
        Ok(StreamState::from(&changed))
    }

    /// What is in the stream now; `None` where there is no stream.
    ///
    /// # Errors
    /// Where NATS does not answer.
    pub async fn state(&self) -> Result<Option<StreamState>, StreamError> {
        Ok(self.info().await?.as_ref().map(StreamState::from))
    }

    /// The message with this sequence, unless it was deleted.
    ///
    /// # Errors
    /// Where NATS does not answer.
    pub async fn message(&self, sequence: u64) -> Result<Option<StreamMessage>, StreamError> {
        let stream = self.handle().await?;
        self.found(stream.get_raw_message(sequence).await)
    }

    /// The first message from this sequence on.
    ///
    /// # Errors
    /// Where NATS does not answer.
    pub async fn first_from(&self, sequence: u64) -> Result<Option<StreamMessage>, StreamError> {
        let stream = self.handle().await?;
        let subjects = self.options.subjects();
        let message = stream.get_first_raw_message_by_subject(subjects, sequence);
        self.found(message.await)
    }

    /// The last message that is still there.
    ///
    /// # Errors
    /// Where NATS does not answer.
    pub async fn last(&self) -> Result<Option<StreamMessage>, StreamError> {
        let stream = self.handle().await?;
        let subjects = self.options.subjects();
        self.found(stream.get_last_raw_message_by_subject(&subjects).await)
    }

    /// The stream as the client's own type, for making consumers.
    ///
    /// # Errors
    /// Where the stream's name cannot be one.
    pub async fn handle(&self) -> Result<Stream<()>, StreamError> {
        let stream = self.context.get_stream_no_info(&self.options.stream).await;
        stream.map_err(|error| self.unavailable(error))
    }

    /// Wraps what went wrong while this stream was asked for something.
    pub fn unavailable(&self, source: impl Into<Cause>) -> StreamError {
        StreamError::Unavailable {
            stream: self.options.stream.clone(),
            source: source.into(),
        }
    }

    async fn info(&self) -> Result<Option<Info>, StreamError> {
        if !is_connected(&self.context.client()) {
            return Err(StreamError::Disconnected);
        }
        match self.context.get_stream(&self.options.stream).await {
            Ok(stream) => Ok(Some(stream.cached_info().clone())),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(answer) if answer.code() == 404 => Ok(None),
                GetStreamErrorKind::JetStream(_)
                | GetStreamErrorKind::EmptyName
                | GetStreamErrorKind::Request
                | GetStreamErrorKind::InvalidStreamName => Err(self.unavailable(error)),
            },
        }
    }

    fn found(
        &self,
        answer: Result<StreamMessage, RawMessageError>,
    ) -> Result<Option<StreamMessage>, StreamError> {
        match answer {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(self.unavailable(error)),
        }
    }

    fn refused(
        &self,
        wanted: &str,
        error: async_nats::jetstream::context::CreateStreamError,
    ) -> StreamError {
        match error.kind() {
            CreateStreamErrorKind::TimedOut
            | CreateStreamErrorKind::Response
            | CreateStreamErrorKind::JetStreamUnavailable => self.unavailable(error),
            CreateStreamErrorKind::EmptyStreamName
            | CreateStreamErrorKind::InvalidStreamName
            | CreateStreamErrorKind::DomainAndExternalSet
            | CreateStreamErrorKind::JetStream(_)
            | CreateStreamErrorKind::NotFound
            | CreateStreamErrorKind::ResponseParse => StreamError::Refused {
                stream: self.options.stream.clone(),
                wanted: wanted.to_owned(),
                source: error.into(),
            },
        }
    }
}
