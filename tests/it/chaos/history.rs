//! What was asked and what was answered, as the clients know it.

use std::{
    fmt,
    sync::Mutex,
    time::{Duration, Instant},
};

use uuid::Uuid;

/// A line as a client asks for it. Products are never asked for twice, so that an event tells which
/// command it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The id that the client has chosen, where it has.
    pub id: Option<Uuid>,
    pub product: String,
    pub quantity: u32,
    pub price_minor: i64,
}

/// What a command asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    Create {
        id: Option<Uuid>,
        customer: String,
        items: Vec<Item>,
    },
    Add(Item),
    Change {
        item: Uuid,
        quantity: u32,
    },
    Remove {
        item: Uuid,
    },
    Complete,
    Cancel {
        reason: String,
    },
}

/// What a command insists on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// `If-Match`.
    IfMatch(i32),
    /// `expectedVersion`.
    Expected(i32),
}

impl Condition {
    /// The version that the order must be at.
    pub fn version(self) -> i32 {
        match self {
            Self::IfMatch(version) | Self::Expected(version) => version,
        }
    }
}

/// One command, the same in each attempt.
#[derive(Debug, Clone)]
pub struct Command {
    /// The order; a creation without an id has none yet.
    pub order: Option<Uuid>,
    pub ask: Ask,
    pub key: Option<String>,
    pub condition: Option<Condition>,
}

/// An answer to a command, as a client understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was applied, by this attempt or, where `is_replayed`, by an earlier one.
    Done(Done),
    /// An earlier attempt was applied: what it made is there.
    DoneBefore,
    /// It breaks a rule, and nothing was applied.
    Refused(String),
    /// The service could not take it, and nothing was applied.
    NotApplied(String),
    /// No answer, or one that leaves it open.
    Unknown(String),
    /// An answer that no client can do anything with.
    Senseless(String),
}

/// What an acknowledgement says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    pub order: Uuid,
    pub shown: Shown,
    /// The position in its `Consistency-Token`.
    pub position: i64,
    pub is_replayed: bool,
    pub body: Body,
}

/// A body, byte for byte; too long to be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Body(pub String);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// What an answer shows of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub version: i32,
    pub status: String,
    pub item_count: usize,
    pub total_quantity: u64,
    pub total: String,
}

/// One attempt at a command.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Which command, by its place among them.
    pub command: usize,
    /// Events keep it, so it tells which attempt an event is of.
    pub request_id: String,
    pub asked: Duration,
    pub answered: Duration,
    pub answer: Answer,
}

/// What a read insists on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    Nothing,
    /// `Consistency-Token` of this position.
    Token(i64),
    /// `minVersion` of a version that was acknowledged.
    MinVersion(i32),
    /// `If-None-Match` with a version that this client has seen.
    Seen(i32),
}

/// What a read was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// The order, and up to which position the read model was complete.
    Order(Shown, i64),
    /// Still at the version that the client has seen.
    NotModified,
    /// 404, and up to which position the read model was complete.
    Absent(i64),
    /// Nothing: an error that a client must expect.
    Unavailable,
    /// An answer that no client can do anything with.
    Senseless(String),
}

/// One read of an order.
#[derive(Debug, Clone)]
pub struct Read {
    pub order: Uuid,
    pub promise: Promise,
    pub sight: Sight,
}

/// All that the clients have written down.
#[derive(Debug)]
pub struct History {
    began: Instant,
    commands: Mutex<Vec<Command>>,
    attempts: Mutex<Vec<Attempt>>,
    reads: Mutex<Vec<Read>>,
}

impl History {
    /// An empty history that begins now.
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            commands: Mutex::default(),
            attempts: Mutex::default(),
            reads: Mutex::default(),
        }
    }

    /// The time since the beginning.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Writes a command down before it is sent, and numbers it.
    pub fn command(&self, command: Command) -> usize {
        let mut commands = self.commands.lock().unwrap();
        commands.push(command);
        commands.len() - 1
    }

    /// Writes an attempt down.
    pub fn attempt(&self, attempt: Attempt) {
        self.attempts.lock().unwrap().push(attempt);
    }

    /// Writes a read down.
    pub fn read(&self, read: Read) {
        self.reads.lock().unwrap().push(read);
    }

    /// Commands, attempts and reads until now.
    pub fn all(&self) -> (Vec<Command>, Vec<Attempt>, Vec<Read>) {
        let commands = self.commands.lock().unwrap().clone();
        let attempts = self.attempts.lock().unwrap().clone();
        let reads = self.reads.lock().unwrap().clone();
        (commands, attempts, reads)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.ask)?;
        if let Some(order) = self.order {
            write!(f, " on {order}")?;
        }
        if let Some(key) = &self.key {
            write!(f, " with key {key}")?;
        }
        if let Some(condition) = self.condition {
            write!(f, " if {condition:?}")?;
        }
        Ok(())
    }
}
