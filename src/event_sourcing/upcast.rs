//! Upcasting: stored events of old schema versions are lifted to today's, on JSON, one version at a
//! time. Stored events are never rewritten.

use std::collections::HashMap;

use serde_json::{Map, Value, value::to_raw_value};
use uuid::Uuid;

use super::event::{DecodeError, DomainEvent, RecordedEvent};

/// A JSON object: an event's `data`.
pub type JsonObject = Map<String, Value>;

/// One step: lifts `data` of the given aggregate by one schema version.
pub type Step = Box<dyn Fn(Uuid, JsonObject) -> Result<JsonObject, StepError> + Send + Sync>;

/// Why a step could not lift an event.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StepError(pub String);

/// Why an event is not readable today.
#[derive(Debug, thiserror::Error)]
pub enum UpcastError {
    /// Nothing here knows this type.
    #[error("unknown event type {0}")]
    UnknownType(String),
    /// The event was written by a newer version of the program.
    #[error("{event_type} has schema version {found}, but the newest known is {newest}")]
    FromTheFuture {
        /// The event's stored name.
        event_type: String,
        /// Its schema version.
        found: i16,
        /// The newest schema version that this program knows.
        newest: i16,
    },
    /// The data is no JSON object.
    #[error("{event_type} version {schema_version} holds no JSON object")]
    NoObject {
        /// The event's stored name.
        event_type: String,
        /// Its schema version.
        schema_version: i16,
        /// What did not fit.
        #[source]
        source: serde_json::Error,
    },
    /// A step failed.
    #[error("{event_type} cannot be lifted from schema version {from}")]
    Step {
        /// The event's stored name.
        event_type: String,
        /// The version that the step starts from.
        from: i16,
        /// What the step says.
        #[source]
        source: StepError,
    },
    /// Lifted, but not today's shape.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// A step is missing, or stands where it cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ChainError {
    /// An old schema version that no step lifts.
    #[error("no upcaster lifts {event_type} from schema version {from}")]
    Missing {
        /// The event's stored name.
        event_type: &'static str,
        /// The version that has no step.
        from: i16,
    },
    /// A step that no event needs.
    #[error("the upcaster of {event_type} from schema version {from} is of no use")]
    Superfluous {
        /// The event's stored name.
        event_type: &'static str,
        /// The version that the step starts from.
        from: i16,
    },
}

/// All steps of one domain, checked to be complete.
pub struct UpcasterChain {
    newest: HashMap<&'static str, i16>,
    steps: HashMap<(&'static str, i16), Step>,
}

impl std::fmt::Debug for UpcasterChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpcasterChain")
            .field("newest", &self.newest)
            .field("steps", &self.steps.keys())
            .finish()
    }
}

impl UpcasterChain {
    /// Builds the chain of `E` from its steps `(event type, from version, step)`.
    ///
    /// # Errors
    /// Where a version below the newest has no step, or a step serves no version: a service that
    /// could meet an event it cannot read must not start.
    pub fn new<E: DomainEvent>(
        steps: impl IntoIterator<Item = (&'static str, i16, Step)>,
    ) -> Result<Self, ChainError> {
        let newest: HashMap<_, _> = E::SCHEMAS.iter().copied().collect();
        let steps: HashMap<_, _> = steps
            .into_iter()
            .map(|(event_type, from, step)| ((event_type, from), step))
            .collect();
        for (&event_type, &newest) in &newest {
            if let Some(from) = (1..newest).find(|from| !steps.contains_key(&(event_type, *from))) {
                return Err(ChainError::Missing { event_type, from });
            }
        }
        for &(event_type, from) in steps.keys() {
            if newest
                .get(event_type)
                .is_none_or(|newest| from < 1 || from >= *newest)
            {
                return Err(ChainError::Superfluous { event_type, from });
            }
        }
        Ok(Self { newest, steps })
    }

    /// Lifts an event to today's schema version; one that has it already passes untouched.
    ///
    /// # Errors
    /// Where the type is unknown, the version is from the future, or a step fails.
    pub fn lift(&self, mut event: RecordedEvent) -> Result<RecordedEvent, UpcastError> {
        let Some((&event_type, &newest)) = self.newest.get_key_value(event.event_type.as_str())
        else {
            return Err(UpcastError::UnknownType(event.event_type));
        };
        if event.schema_version > newest || event.schema_version < 1 {
            return Err(UpcastError::FromTheFuture {
                event_type: event.event_type,
                found: event.schema_version,
                newest,
            });
        }
        if event.schema_version == newest {
            return Ok(event);
        }
        let no_object = |source| UpcastError::NoObject {
            event_type: event_type.to_owned(),
            schema_version: event.schema_version,
            source,
        };
        let mut data: JsonObject = serde_json::from_str(event.data.get()).map_err(no_object)?;
        for from in event.schema_version..newest {
            if let Some(step) = self.steps.get(&(event_type, from)) {
                data = step(event.aggregate_id, data).map_err(|source| UpcastError::Step {
                    event_type: event_type.to_owned(),
                    from,
                    source,
                })?;
            }
        }
        event.data = to_raw_value(&data).map_err(no_object)?;
        event.schema_version = newest;
        Ok(event)
    }

    /// Lifts and decodes an event.
    ///
    /// # Errors
    /// As [`Self::lift`], and where the lifted JSON is not the event's shape.
    pub fn decode<E: DomainEvent>(&self, event: RecordedEvent) -> Result<E, UpcastError> {
        let event = self.lift(event)?;
        Ok(E::decode(&event.event_type, &event.data)?)
    }
}
