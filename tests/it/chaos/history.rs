//! What the clients have sent, and what was answered.

use std::{
    fmt,
    sync::Mutex,
    time::{Duration, Instant},
};

use uuid::Uuid;

/// A line of a command. Each product is used only once, so that an event shows which command it
/// belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The id, if the client has chosen one.
    pub id: Option<Uuid>,
    pub product: String,
    pub quantity: u32,
    pub price_minor: i64,
}

/// What a command does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
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

/// The precondition of a command.
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
    /// The order. A creation without an id has none.
    pub order: Option<Uuid>,
    pub action: Action,
    pub key: Option<String>,
    pub condition: Option<Condition>,
}

/// An answer to a command, as the client interprets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The command was applied, by this attempt or, if `is_replayed`, by an earlier one.
    Applied(Applied),
    /// An earlier attempt was applied.
    AppliedBefore,
    /// The command breaks a rule. Nothing was applied.
    Refused(String),
    /// The service could not process it. Nothing was applied.
    NotApplied(String),
    /// There was no answer, or one that leaves the outcome unknown.
    Unknown(String),
    /// An answer that the contract does not allow.
    Unexpected(String),
}

/// An acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    pub order: Uuid,
    pub shown: ShownOrder,
    /// The position in its `Consistency-Token`.
    pub position: i64,
    pub is_replayed: bool,
    pub body: Body,
}

/// A body, byte for byte. `Debug` shows only its length.
#[derive(Clone, PartialEq, Eq)]
pub struct Body(pub String);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// What an answer shows of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownOrder {
    pub version: i32,
    pub status: String,
    pub item_count: usize,
    pub total_quantity: u64,
    pub total: String,
}

/// One attempt at a command.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The number of the command.
    pub command: usize,
    /// Events store it, so it shows which attempt an event belongs to.
    pub request_id: String,
    pub sent: Duration,
    pub answered: Duration,
    pub answer: Answer,
}

/// The consistency that a read requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    Nothing,
    /// `Consistency-Token` of this position.
    Token(i64),
    /// `minVersion` of a version that was acknowledged.
    MinVersion(i32),
    /// `If-None-Match` with a version that this client has seen.
    Seen(i32),
}

/// The answer to a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadAnswer {
    /// The order, and up to which position the read model was complete.
    Order(ShownOrder, i64),
    /// Still at the version that the client has seen.
    NotModified,
    /// 404, and up to which position the read model was complete.
    Absent(i64),
    /// An error that a client must expect.
    Unavailable,
    /// An answer that the contract does not allow.
    Unexpected(String),
}

/// One read of an order.
#[derive(Debug, Clone)]
pub struct Read {
    pub order: Uuid,
    pub consistency: Consistency,
    /// The URL of the process that answered. A process that is started again has another one.
    pub process: String,
    pub sent: Duration,
    pub answered: Duration,
    pub answer: ReadAnswer,
}

/// Everything that the clients have recorded.
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

    /// Records a command before it is sent. Returns its number.
    pub fn command(&self, command: Command) -> usize {
        let mut commands = self.commands.lock().unwrap();
        commands.push(command);
        commands.len() - 1
    }

    /// Records an attempt.
    pub fn attempt(&self, attempt: Attempt) {
        self.attempts.lock().unwrap().push(attempt);
    }

    /// Records a read.
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
        write!(f, "{:?}", self.action)?;
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
