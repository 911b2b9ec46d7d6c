//! An aggregate as small as one can be: a counter that is opened, set, increased and closed.

use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue, value::to_raw_value};

use crate::event_sourcing::{Aggregate, DecodeError, DomainEvent, Timestamp};

/// The highest number of a counter.
pub const LIMIT: u32 = 10;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    is_open: bool,
    pub n: u32,
    pub last: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy)]
pub enum Command {
    Open,
    Set(u32),
    Add(u32),
    Close,
    /// Makes an event whose schema is not listed.
    Unlisted,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    Opened,
    WasSet(u32),
    Added,
    Closed,
    /// Not in `SCHEMAS`.
    Unlisted,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("not open")]
    NotOpen,
    #[error("too many")]
    TooMany,
}

impl DomainEvent for Event {
    const SCHEMAS: &'static [(&'static str, i16)] =
        &[("Opened", 1), ("WasSet", 1), ("Added", 1), ("Closed", 1)];

    fn schema_version(&self) -> i16 {
        match self {
            Self::Opened | Self::WasSet(_) | Self::Added | Self::Closed | Self::Unlisted => 1,
        }
    }

    fn event_type(&self) -> &'static str {
        match self {
            Self::Opened => "Opened",
            Self::WasSet(_) => "WasSet",
            Self::Added => "Added",
            Self::Closed => "Closed",
            Self::Unlisted => "Unlisted",
        }
    }

    fn encode(&self) -> Result<Box<RawValue>, serde_json::Error> {
        to_raw_value(&json!({ "event": self }))
    }

    fn decode(event_type: &str, data: &RawValue) -> Result<Self, DecodeError> {
        #[derive(Deserialize)]
        struct Stored {
            event: Event,
        }
        let stored: Result<Stored, _> = serde_json::from_str(data.get());
        stored
            .map(|stored| stored.event)
            .map_err(|source| DecodeError::Malformed {
                event_type: event_type.to_owned(),
                source,
            })
    }
}

impl Aggregate for Counter {
    const TYPE: &'static str = "Counter";
    const STATE_SCHEMA: i32 = 3;
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: &Command) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Open => Ok(vec![Event::Opened]),
            _ if !self.is_open => Err(Refusal::NotOpen),
            Command::Set(n) if *n == self.n => Ok(vec![]),
            Command::Set(n) => Ok(vec![Event::WasSet(*n)]),
            Command::Add(count) if self.n + count > LIMIT => Err(Refusal::TooMany),
            Command::Add(count) => Ok((0..*count).map(|_| Event::Added).collect()),
            Command::Close => Ok(vec![Event::Closed]),
            Command::Unlisted => Ok(vec![Event::Unlisted]),
        }
    }

    fn evolve(&mut self, event: &Event, at: Timestamp) {
        self.last = Some(at);
        match event {
            Event::Opened => self.is_open = true,
            Event::WasSet(n) => self.n = *n,
            Event::Added => self.n += 1,
            Event::Closed => self.is_open = false,
            Event::Unlisted => {}
        }
    }

    fn weight(&self) -> usize {
        512 * self.n as usize
    }
}
