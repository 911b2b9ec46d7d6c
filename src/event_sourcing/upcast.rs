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
        let mut steps_by_version = HashMap::new();
        for (event_type, from, step) in steps {
            // Of two steps from one version, one would never run: which is not for chance to say.
            if steps_by_version.insert((event_type, from), step).is_some() {
                return Err(ChainError::Superfluous { event_type, from });
            }
        }
        let steps: HashMap<_, Step> = steps_by_version;
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

    /// Whether an event has today's schema version.
    #[must_use]
    pub fn is_current(&self, event: &RecordedEvent) -> bool {
        self.newest.get(event.event_type.as_str()) == Some(&event.schema_version)
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

#[cfg(test)]
mod tests {
    use serde_json::{json, value::RawValue};

    use super::*;
    use crate::event_sourcing::{Position, Version, testing::instant};

    /// An event that keeps the text it was decoded from.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Kept(String);

    impl DomainEvent for Kept {
        const SCHEMAS: &'static [(&'static str, i16)] = &[("Old", 3), ("New", 1)];

        fn event_type(&self) -> &'static str {
            "Old"
        }

        fn schema_version(&self) -> i16 {
            3
        }

        fn encode(&self) -> Result<Box<RawValue>, serde_json::Error> {
            RawValue::from_string(self.0.clone())
        }

        fn decode(_: &str, data: &RawValue) -> Result<Self, DecodeError> {
            Ok(Self(data.get().to_owned()))
        }
    }

    /// A step that leaves its mark.
    fn mark(name: &'static str) -> Step {
        Box::new(move |id, mut data| {
            let marks = data.len();
            data.insert(name.to_owned(), json!([marks, id]));
            Ok(data)
        })
    }

    fn chain() -> UpcasterChain {
        UpcasterChain::new::<Kept>([("Old", 1, mark("a")), ("Old", 2, mark("b"))]).unwrap()
    }

    fn stored(event_type: &str, schema_version: i16, data: &str) -> RecordedEvent {
        RecordedEvent {
            position: Position::new(1),
            event_id: Uuid::nil(),
            aggregate_type: "Kept".to_owned(),
            aggregate_id: Uuid::nil(),
            version: Version::new(1),
            event_type: event_type.to_owned(),
            schema_version,
            data: RawValue::from_string(data.to_owned()).unwrap(),
            metadata: RawValue::from_string("{}".to_owned()).unwrap(),
            occurred_at: instant(0),
        }
    }

    #[test]
    fn a_chain_with_a_missing_step_is_refused() {
        for (steps, from) in [(vec![], 1), (vec![1], 2), (vec![2], 1)] {
            let steps = steps.into_iter().map(|from| ("Old", from, mark("a")));

            let refused = UpcasterChain::new::<Kept>(steps).unwrap_err();

            let event_type = "Old";
            assert_eq!(refused, ChainError::Missing { event_type, from });
        }
    }

    #[test]
    fn a_chain_with_a_step_that_serves_nothing_is_refused() {
        for (event_type, from) in [
            ("Old", 3),
            ("Old", 0),
            ("New", 1),
            ("Unheard", 1),
            ("Old", 2),
        ] {
            let steps = [
                ("Old", 1, mark("a")),
                ("Old", 2, mark("b")),
                (event_type, from, mark("c")),
            ];

            let refused = UpcasterChain::new::<Kept>(steps).unwrap_err();

            assert_eq!(refused, ChainError::Superfluous { event_type, from });
        }
    }

    #[test]
    fn each_version_is_lifted_one_step_at_a_time() {
        let id = Uuid::nil();
        for (schema, lifted) in [
            (1, json!({"a": [0, id], "b": [1, id]})),
            (2, json!({"b": [0, id]})),
            (3, json!({})),
        ] {
            let event = chain().lift(stored("Old", schema, "{}")).unwrap();

            assert_eq!(event.schema_version, 3);
            let data: Value = serde_json::from_str(event.data.get()).unwrap();
            assert_eq!(data, lifted);
        }
    }

    #[test]
    fn an_event_of_today_passes_untouched() {
        let text = r#"{ "z":1,   "a": 1.50 }"#;

        let event: Kept = chain().decode(stored("Old", 3, text)).unwrap();

        assert_eq!(event.0, text);
    }

    #[test]
    fn what_cannot_be_lifted_says_why() {
        let failing: Step = Box::new(|_, _| Err(StepError("no total".to_owned())));
        let failing = UpcasterChain::new::<Kept>([("Old", 1, failing), ("Old", 2, mark("b"))]);
        for (chain, event, why) in [
            (chain(), stored("Odd", 1, "{}"), "unknown event type Odd"),
            (
                chain(),
                stored("Old", 4, "{}"),
                "Old has schema version 4, but the newest known is 3",
            ),
            (
                chain(),
                stored("Old", 1, "[]"),
                "Old version 1 holds no JSON object",
            ),
            (
                failing.unwrap(),
                stored("Old", 1, "{}"),
                "Old cannot be lifted from schema version 1",
            ),
        ] {
            assert_eq!(chain.lift(event).unwrap_err().to_string(), why);
        }
    }
}
