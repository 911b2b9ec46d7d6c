//! Upcasting: lifts the JSON of stored events from an old schema version to today's, one version at a
//! time. Stored events are never rewritten.

use std::collections::HashMap;

use serde_json::{Map, Value, value::to_raw_value};
use uuid::Uuid;

use super::event::{DecodeError, DomainEvent, RecordedEvent};

/// The `data` of an event: a JSON object.
pub type JsonObject = Map<String, Value>;

/// Lifts the `data` of one event type by one schema version. The UUID is the id of the aggregate.
pub type Upcaster = Box<dyn Fn(Uuid, JsonObject) -> Result<JsonObject, LiftError> + Send + Sync>;

/// Why an upcaster cannot lift an event.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LiftError(pub String);

/// Why a stored event cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum UpcastError {
    /// The domain has no event of this type.
    #[error("unknown event type {0}")]
    UnknownType(String),
    /// A newer version of the program wrote the event.
    #[error("{event_type} has schema version {found}, but the newest known is {newest}")]
    FromTheFuture {
        /// The event's stored name.
        event_type: String,
        /// The event's schema version.
        found: i16,
        /// The newest schema version that this program knows.
        newest: i16,
    },
    /// The data is not a JSON object.
    #[error("the data of {event_type} version {schema_version} is not a JSON object")]
    NotAnObject {
        /// The event's stored name.
        event_type: String,
        /// The event's schema version.
        schema_version: i16,
        /// The JSON error.
        #[source]
        source: serde_json::Error,
    },
    /// An upcaster failed.
    #[error("{event_type} cannot be lifted from schema version {from}")]
    Lift {
        /// The event's stored name.
        event_type: String,
        /// The schema version before the lift.
        from: i16,
        /// Why the upcaster failed.
        #[source]
        source: LiftError,
    },
    /// The lifted data does not have today's shape.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Why a set of upcasters is not a chain.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ChainError {
    /// No upcaster lifts this old schema version.
    #[error("no upcaster lifts {event_type} from schema version {from}")]
    Missing {
        /// The event's stored name.
        event_type: &'static str,
        /// The schema version without an upcaster.
        from: i16,
    },
    /// No event needs this upcaster, or another one has the same place.
    #[error("the upcaster of {event_type} from schema version {from} is of no use")]
    Superfluous {
        /// The event's stored name.
        event_type: &'static str,
        /// The schema version that it lifts from.
        from: i16,
    },
}

/// The upcasters of one domain: one for each old schema version of each event.
pub struct UpcasterChain {
    newest: HashMap<&'static str, i16>,
    upcasters: HashMap<(&'static str, i16), Upcaster>,
}

impl std::fmt::Debug for UpcasterChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpcasterChain")
            .field("newest", &self.newest)
            .field("upcasters", &self.upcasters.keys())
            .finish()
    }
}

impl UpcasterChain {
    /// Builds the chain of `E` from `(event type, schema version to lift from, upcaster)`.
    ///
    /// # Errors
    /// [`ChainError`] if an old schema version has no upcaster or an upcaster has no use: a service that
    /// cannot read every stored event must not start.
    pub fn new<E: DomainEvent>(
        upcasters: impl IntoIterator<Item = (&'static str, i16, Upcaster)>,
    ) -> Result<Self, ChainError> {
        let newest: HashMap<_, _> = E::SCHEMAS.iter().copied().collect();
        let mut by_version: HashMap<_, Upcaster> = HashMap::new();
        for (event_type, from, upcaster) in upcasters {
            // One of two upcasters from the same version would never run.
            if by_version.insert((event_type, from), upcaster).is_some() {
                return Err(ChainError::Superfluous { event_type, from });
            }
        }
        for (&event_type, &newest) in &newest {
            let is_missing = |from: &i16| !by_version.contains_key(&(event_type, *from));
            if let Some(from) = (1..newest).find(is_missing) {
                return Err(ChainError::Missing { event_type, from });
            }
        }
        for &(event_type, from) in by_version.keys() {
            if newest
                .get(event_type)
                .is_none_or(|newest| from < 1 || from >= *newest)
            {
                return Err(ChainError::Superfluous { event_type, from });
            }
        }
        Ok(Self {
            newest,
            upcasters: by_version,
        })
    }

    /// Whether an event has today's schema version.
    #[must_use]
    pub fn is_current(&self, event: &RecordedEvent) -> bool {
        self.newest.get(event.event_type.as_str()) == Some(&event.schema_version)
    }

    /// Lifts an event to today's schema version. An event of today's version stays byte for byte as it
    /// is.
    ///
    /// # Errors
    /// [`UpcastError`] if the type or the schema version is unknown, or an upcaster fails.
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
        let not_an_object = |source| UpcastError::NotAnObject {
            event_type: event_type.to_owned(),
            schema_version: event.schema_version,
            source,
        };
        let mut data: JsonObject = serde_json::from_str(event.data.get()).map_err(not_an_object)?;
        for from in event.schema_version..newest {
            if let Some(upcaster) = self.upcasters.get(&(event_type, from)) {
                data = upcaster(event.aggregate_id, data).map_err(|source| UpcastError::Lift {
                    event_type: event_type.to_owned(),
                    from,
                    source,
                })?;
            }
        }
        event.data = to_raw_value(&data).map_err(not_an_object)?;
        event.schema_version = newest;
        Ok(event)
    }

    /// Lifts and decodes an event.
    ///
    /// # Errors
    /// As [`Self::lift`], and [`DecodeError`] if the lifted data does not have the event's shape.
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

    /// An event that holds the JSON text it was decoded from.
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

    /// An upcaster that adds a member with this name.
    fn mark(name: &'static str) -> Upcaster {
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
    fn a_chain_with_a_missing_upcaster_is_refused() {
        for (present, missing) in [(vec![], 1), (vec![1], 2), (vec![2], 1)] {
            let upcasters = present.into_iter().map(|from| ("Old", from, mark("a")));

            let refused = UpcasterChain::new::<Kept>(upcasters).unwrap_err();

            let expected = ChainError::Missing {
                event_type: "Old",
                from: missing,
            };
            assert_eq!(refused, expected);
        }
    }

    #[test]
    fn a_chain_with_a_useless_upcaster_is_refused() {
        for (event_type, from) in [
            ("Old", 3),
            ("Old", 0),
            ("New", 1),
            ("Unheard", 1),
            ("Old", 2),
        ] {
            let upcasters = [
                ("Old", 1, mark("a")),
                ("Old", 2, mark("b")),
                (event_type, from, mark("c")),
            ];

            let refused = UpcasterChain::new::<Kept>(upcasters).unwrap_err();

            assert_eq!(refused, ChainError::Superfluous { event_type, from });
        }
    }

    #[test]
    fn an_event_is_lifted_one_version_at_a_time() {
        let id = Uuid::nil();
        for (schema_version, lifted) in [
            (1, json!({"a": [0, id], "b": [1, id]})),
            (2, json!({"b": [0, id]})),
            (3, json!({})),
        ] {
            let event = chain().lift(stored("Old", schema_version, "{}")).unwrap();

            assert_eq!(event.schema_version, 3);
            let data: Value = serde_json::from_str(event.data.get()).unwrap();
            assert_eq!(data, lifted);
        }
    }

    #[test]
    fn an_event_of_todays_version_stays_as_it_is() {
        let text = r#"{ "z":1,   "a": 1.50 }"#;

        let event: Kept = chain().decode(stored("Old", 3, text)).unwrap();

        assert_eq!(event.0, text);
    }

    #[test]
    fn an_error_says_why_an_event_cannot_be_lifted() {
        let failing: Upcaster = Box::new(|_, _| Err(LiftError("no total".to_owned())));
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
                "the data of Old version 1 is not a JSON object",
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
