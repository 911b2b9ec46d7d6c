//! The `JetStream` stream of all events: declared as it should be, and read message by message.

use std::{error::Error, time::Duration};

use async_nats::{
    Client,
    jetstream::{
        Context,
        context::{ContextBuilder, CreateStreamErrorKind, GetStreamErrorKind},
        message::StreamMessage,
        stream::{
            Config, Info, LastRawMessageErrorKind, RawMessageError, RetentionPolicy, StorageType,
            Stream,
        },
    },
};
use tracing::info;

use super::{NatsOptions, connection::is_connected};

/// How long an answer or an acknowledgement may take.
pub const DEADLINE: Duration = Duration::from_secs(3);

/// How long NATS remembers message ids. Nothing rests on it (an id is never used twice), and a short
/// memory is a small one.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(1);

type Cause = Box<dyn Error + Send + Sync>;

/// Why the stream could not be used. Everything here is worth another try: NATS may come back, and
/// an operator may change what is in the way.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// There is no connection right now.
    #[error("there is no connection to NATS")]
    Disconnected,
    /// NATS did not answer, or not as it should.
    #[error("NATS does not answer for the stream {stream}")]
    Unavailable {
        /// The stream's name.
        stream: String,
        /// What happened.
        #[source]
        source: Cause,
    },
    /// The stream does not exist.
    #[error("the stream {stream} does not exist")]
    Missing {
        /// The stream's name.
        stream: String,
    },
    /// The stream cannot be made or changed into what it should be.
    #[error("NATS refuses to make the stream {stream} as it should be ({wanted})")]
    Refused {
        /// The stream's name.
        stream: String,
        /// What should change.
        wanted: String,
        /// What NATS says.
        #[source]
        source: Cause,
    },
    /// The stream differs in what can never be changed.
    #[error("the stream {stream} cannot be used and must be deleted by hand: {difference}")]
    Unchangeable {
        /// The stream's name.
        stream: String,
        /// What is different.
        difference: String,
    },
}

/// What is in the stream, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamState {
    /// When the stream was created: another stream of the same name has another time.
    pub created: String,
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

    /// Makes the stream, or changes it where it is not as it should be.
    ///
    /// # Errors
    /// Where NATS does not answer or refuses, or where the stream there can never become ours.
    pub async fn declare(&self) -> Result<StreamState, StreamError> {
        let Some(info) = self.info().await? else {
            let created = self.context.create_stream(self.wanted()).await;
            let created = created.map_err(|error| self.refused("a new one", error))?;
            info!(stream = self.options.stream, "the stream was created");
            return Ok(StreamState::from(created.cached_info()));
        };
        if let Some(difference) = unchangeable(&info.config) {
            return Err(StreamError::Unchangeable {
                stream: self.options.stream.clone(),
                difference,
            });
        }
        let differences = self.differences(&info.config);
        if differences.is_empty() {
            return Ok(StreamState::from(&info));
        }
        let wanted = differences.join(", ");
        let changed = self.context.update_stream(self.corrected(info.config));
        let changed = changed
            .await
            .map_err(|error| self.refused(&wanted, error))?;
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

    /// The stream as it should be: everything, on disk, for ever.
    fn wanted(&self) -> Config {
        self.corrected(Config {
            name: self.options.stream.clone(),
            description: Some("every event of the service, in commit order".to_owned()),
            max_consumers: -1,
            storage: StorageType::File,
            retention: RetentionPolicy::Limits,
            ..Config::default()
        })
    }

    /// `config` with what matters set right; what an operator may choose stays.
    fn corrected(&self, config: Config) -> Config {
        Config {
            subjects: vec![self.options.subjects()],
            subject_transform: None,
            num_replicas: self.options.replicas,
            no_ack: false,
            max_messages: -1,
            max_messages_per_subject: -1,
            max_bytes: -1,
            max_message_size: -1,
            max_age: Duration::ZERO,
            duplicate_window: DUPLICATE_WINDOW,
            ..config
        }
    }

    /// What has to change in `config`, for people.
    fn differences(&self, config: &Config) -> Vec<String> {
        let subjects = self.options.subjects();
        let replicas = self.options.replicas;
        let limited = |limit: i64| limit > 0;
        [
            (
                config.subjects != [subjects.as_str()],
                format!("subjects {:?} become {subjects}", config.subjects),
            ),
            (
                config.num_replicas != replicas,
                format!("replicas {} become {replicas}", config.num_replicas),
            ),
            (
                limited(config.max_messages)
                    || limited(config.max_messages_per_subject)
                    || limited(config.max_bytes)
                    || limited(config.max_message_size.into())
                    || !config.max_age.is_zero(),
                "limits go".to_owned(),
            ),
            (
                config.duplicate_window != DUPLICATE_WINDOW,
                "the duplicate window becomes one second".to_owned(),
            ),
            (config.no_ack, "messages are acknowledged".to_owned()),
            (
                config.subject_transform.is_some(),
                "the subject transform goes".to_owned(),
            ),
        ]
        .into_iter()
        .filter_map(|(differs, change)| differs.then_some(change))
        .collect()
    }
}

/// What makes the stream useless for ever, for people.
fn unchangeable(config: &Config) -> Option<String> {
    if config.storage != StorageType::File {
        Some(format!("its storage is {:?}, not File", config.storage))
    } else if config.retention != RetentionPolicy::Limits {
        Some(format!(
            "its retention is {:?}, not Limits",
            config.retention
        ))
    } else if config.sealed {
        Some("it is sealed".to_owned())
    } else if config.mirror.is_some() {
        Some("it is a mirror of another stream".to_owned())
    } else {
        None
    }
}
