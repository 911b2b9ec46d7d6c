//! The `JetStream` stream of all events: creates and configures it, and reads single messages.

use std::time::Duration;

use async_nats::{
    Client,
    jetstream::{
        Context,
        context::{ContextBuilder, CreateStreamError, CreateStreamErrorKind, GetStreamErrorKind},
        message::StreamMessage,
        stream::{Config, Info, LastRawMessageErrorKind, RawMessageError, Stream},
    },
};
use tracing::info;
use uuid::Uuid;

use super::{
    connection::is_connected,
    options::NatsOptions,
    owner::StreamOwner,
    stream_config,
    stream_error::{ClientError, StreamError},
};

/// How long an answer or an acknowledgement may take.
pub const DEADLINE: Duration = Duration::from_secs(3);

/// What the stream holds, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamState {
    /// When the stream was created. It tells a recreated stream from this one.
    pub created: String,
    /// Its owner, if it names one.
    pub owner: Option<StreamOwner>,
    /// The number of messages.
    pub messages: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// The lowest sequence that a message may still have.
    pub first_sequence: u64,
    /// The highest sequence ever assigned.
    pub last_sequence: u64,
}

impl From<&Info> for StreamState {
    fn from(info: &Info) -> Self {
        Self {
            created: info.created.to_string(),
            owner: StreamOwner::read(&info.config),
            messages: info.state.messages,
            bytes: info.state.bytes,
            first_sequence: info.state.first_sequence,
            last_sequence: info.state.last_sequence,
        }
    }
}

/// The stream of all events. It may not exist yet.
#[derive(Debug, Clone)]
pub struct EventStream {
    context: Context,
    options: NatsOptions,
}

impl EventStream {
    /// The stream that `options` names, on this connection. Must be called in a Tokio runtime.
    #[must_use]
    pub fn new(client: Client, options: NatsOptions) -> Self {
        let context = ContextBuilder::new()
            .timeout(DEADLINE)
            .ack_timeout(DEADLINE)
            .build(client);
        Self { context, options }
    }

    /// The stream's name and subjects.
    #[must_use]
    pub const fn options(&self) -> &NatsOptions {
        &self.options
    }

    /// The client's `JetStream` context.
    #[must_use]
    pub const fn context(&self) -> &Context {
        &self.context
    }

    /// Corrects the configuration of the stream where it differs from what the store `store` needs,
    /// and returns the stream's state; `None` if it does not exist. Does not create it.
    ///
    /// # Errors
    /// NATS does not answer or refuses, the stream has another owner, or it has a setting that
    /// cannot be corrected.
    pub async fn ensure_configuration(
        &self,
        store: Uuid,
    ) -> Result<Option<StreamState>, StreamError> {
        let Some(info) = self.info().await? else {
            return Ok(None);
        };
        let state = StreamState::from(&info);
        self.ensure_not_foreign(&state, store)?;
        if let Some(difference) = stream_config::unchangeable(&info.config) {
            return Err(StreamError::Unchangeable {
                stream: self.options.stream.clone(),
                difference,
            });
        }
        let differences = stream_config::differences(&self.options, &info.config);
        if differences.is_empty() {
            return Ok(Some(state));
        }
        let changes = differences.join(", ");
        let corrected = stream_config::corrected(&self.options, info.config);
        Ok(Some(self.update(corrected, &changes).await?))
    }

    /// Creates the stream with this owner.
    ///
    /// # Errors
    /// NATS does not answer or refuses.
    pub async fn create(&self, owner: StreamOwner) -> Result<StreamState, StreamError> {
        let config = stream_config::initial(&self.options, owner);
        let created = self.context.create_stream(config).await;
        let created = created.map_err(|error| self.refused("create it", error))?;
        let (stream, incarnation) = (&self.options.stream, owner.incarnation);
        info!(stream, incarnation, "stream created");
        Ok(StreamState::from(created.cached_info()))
    }

    /// Writes the owner into the description of the existing stream.
    ///
    /// # Errors
    /// NATS does not answer or refuses, or the stream does not exist.
    pub async fn set_owner(&self, owner: StreamOwner) -> Result<(), StreamError> {
        let info = self.info().await?.ok_or_else(|| self.missing())?;
        let config = Config {
            description: Some(owner.write(info.config.description.as_deref())),
            ..info.config
        };
        self.update(config, "set the owner").await.map(drop)
    }

    /// Deletes the stream if it is still the one that was created at `created`.
    ///
    /// # Errors
    /// NATS does not answer or refuses.
    pub async fn delete(&self, created: &str) -> Result<(), StreamError> {
        let state = self.state().await?;
        if state.is_none_or(|state| state.created != created) {
            return Ok(());
        }
        let deleted = self.context.delete_stream(&self.options.stream).await;
        deleted.map(drop).map_err(|error| self.unavailable(error))
    }

    /// Refuses a stream that names another owner than the store `store`.
    ///
    /// # Errors
    /// [`StreamError::Foreign`].
    pub fn ensure_not_foreign(&self, state: &StreamState, store: Uuid) -> Result<(), StreamError> {
        match state.owner {
            Some(StreamOwner { store: owner, .. }) if owner != store => Err(StreamError::Foreign {
                stream: self.options.stream.clone(),
                owner,
                store,
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// The error that says that the stream does not exist.
    #[must_use]
    pub fn missing(&self) -> StreamError {
        StreamError::Missing {
            stream: self.options.stream.clone(),
        }
    }

    async fn update(&self, config: Config, changes: &str) -> Result<StreamState, StreamError> {
        let updated = self.context.update_stream(config).await;
        let updated = updated.map_err(|error| self.refused(changes, error))?;
        info!(
            stream = self.options.stream,
            changes, "stream configuration changed"
        );
        Ok(StreamState::from(&updated))
    }

    /// The stream's state now; `None` if it does not exist.
    ///
    /// # Errors
    /// NATS does not answer.
    pub async fn state(&self) -> Result<Option<StreamState>, StreamError> {
        Ok(self.info().await?.as_ref().map(StreamState::from))
    }

    /// The message with this sequence; `None` if it was deleted.
    ///
    /// # Errors
    /// NATS does not answer.
    pub async fn message(&self, sequence: u64) -> Result<Option<StreamMessage>, StreamError> {
        let stream = self.handle().await?;
        self.found(stream.get_raw_message(sequence).await)
    }

    /// The first message with this sequence or a higher one.
    ///
    /// # Errors
    /// NATS does not answer.
    pub async fn first_from(&self, sequence: u64) -> Result<Option<StreamMessage>, StreamError> {
        let stream = self.handle().await?;
        let subjects = self.options.subjects();
        let message = stream.get_first_raw_message_by_subject(subjects, sequence);
        self.found(message.await)
    }

    /// The last message that the stream still holds.
    ///
    /// # Errors
    /// NATS does not answer.
    pub async fn last(&self) -> Result<Option<StreamMessage>, StreamError> {
        let stream = self.handle().await?;
        let subjects = self.options.subjects();
        self.found(stream.get_last_raw_message_by_subject(&subjects).await)
    }

    /// The stream as the client's own type, to create consumers.
    ///
    /// # Errors
    /// The stream's name is not valid.
    pub async fn handle(&self) -> Result<Stream<()>, StreamError> {
        let stream = self.context.get_stream_no_info(&self.options.stream).await;
        stream.map_err(|error| self.unavailable(error))
    }

    /// Wraps a client error of a request about this stream.
    pub fn unavailable(&self, source: impl Into<ClientError>) -> StreamError {
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

    /// Turns "no message found" into `None`.
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

    /// Sorts a failed change: an answer that did not come is worth a retry, a refusal needs an
    /// operator.
    fn refused(&self, change: &str, error: CreateStreamError) -> StreamError {
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
                change: change.to_owned(),
                source: error.into(),
            },
        }
    }
}
