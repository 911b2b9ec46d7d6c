//! The seeded workload: clients that create, fill, complete and cancel orders, each in its own way.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use uuid::Uuid;

use super::{
    client::{ANSWER_LIMIT, Line},
    history::{Answer, Ask, Command, Condition, Done, Item, Promise},
};

/// How long a client goes on with one command.
const STUBBORNNESS: Duration = Duration::from_secs(25);
/// The pause before a command is repeated.
const PAUSE: Duration = Duration::from_millis(60);

/// What lines begin with is less, what they are changed to is more.
const FIRST_OTHER_QUANTITY: u32 = 20;

/// Orders that any client may add to.
pub type Shared = Arc<Mutex<Vec<Uuid>>>;

/// A client with its own dice.
pub struct Customer {
    name: String,
    random: StdRng,
    line: Line,
    shared: Shared,
    made: usize,
}

/// What a client knows of an order of its own.
#[derive(Debug, Clone)]
struct Known {
    id: Uuid,
    version: i32,
    position: i64,
    items: Vec<Uuid>,
}

impl Known {
    fn of(id: Uuid, position: i64, body: &Value) -> Self {
        let items = body["items"].as_array().into_iter().flatten();
        let items = items.filter_map(|item| item["itemId"].as_str()?.parse().ok());
        Self {
            id,
            version: i32::try_from(body["version"].as_i64().unwrap_or_default()).unwrap_or(0),
            position,
            items: items.collect(),
        }
    }

    fn after(done: &Done) -> Self {
        let body = serde_json::from_str(&done.body.0).unwrap_or_default();
        Self::of(done.order, done.position, &body)
    }
}

impl Customer {
    /// The client of this number in the round of this seed.
    pub fn new(seed: u64, number: u64, line: Line, shared: Shared) -> Self {
        Self {
            name: format!("c{number}"),
            random: StdRng::seed_from_u64(seed.wrapping_mul(1009).wrapping_add(number)),
            line,
            shared,
            made: 0,
        }
    }

    /// Orders until it is told to stop; a command that was begun is brought to its end.
    pub async fn shop(mut self, stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            let create = self.create();
            let Some(mut known) = self.send(create).await else {
                continue;
            };
            if self.random.random_bool(0.3) {
                self.shared.lock().unwrap().push(known.id);
            }
            let mut steps = self.random.random_range(1..10);
            while steps > 0 && !*stop.borrow() {
                steps -= 1;
                let think = self.random.random_range(0..25);
                sleep(Duration::from_millis(think)).await;
                self.add_to_a_shared_order().await;
                let command = self.change(&known, steps == 0);
                // What became of an unknown command shows when the order is read.
                match self.send(command).await {
                    Some(now) => known = now,
                    None => match self.look(&known).await {
                        Some(now) => known = now,
                        None => break,
                    },
                }
                self.read(&known).await;
            }
        }
    }

    fn unique(&mut self) -> String {
        self.made += 1;
        format!("{}-{}", self.name, self.made)
    }

    /// A quantity that nothing had before, so that a change always has an event.
    fn other_quantity(&mut self) -> u32 {
        self.made += 1;
        FIRST_OTHER_QUANTITY + u32::try_from(self.made).expect("a client makes few things")
    }

    fn item(&mut self, is_chosen: bool) -> Item {
        Item {
            id: is_chosen
                .then(|| uuid::Builder::from_random_bytes(self.random.random()).into_uuid()),
            product: self.unique(),
            quantity: self.random.random_range(1..FIRST_OTHER_QUANTITY),
            price_minor: self.random.random_range(0..10_000),
        }
    }

    /// A key for half of the commands.
    fn key(&mut self) -> Option<String> {
        self.random.random_bool(0.5).then(|| self.unique())
    }

    /// Now and then a client hangs up before the answer can be there.
    fn patience(&mut self) -> Duration {
        if self.random.random_bool(0.06) {
            Duration::from_millis(self.random.random_range(1..30))
        } else {
            ANSWER_LIMIT
        }
    }

    fn create(&mut self) -> Command {
        let key = self.key();
        let is_chosen = self.random.random_bool(0.5);
        let items = (0..self.random.random_range(0..3))
            .map(|_| self.item(is_chosen))
            .collect();
        let id =
            is_chosen.then(|| uuid::Builder::from_random_bytes(self.random.random()).into_uuid());
        Command {
            order: id,
            ask: Ask::Create {
                id,
                customer: self.unique(),
                items,
            },
            key,
            condition: None,
        }
    }

    fn change(&mut self, known: &Known, is_last: bool) -> Command {
        let key = self.key();
        let item = (!known.items.is_empty())
            .then(|| known.items[self.random.random_range(0..known.items.len())]);
        let ask = match (item, self.random.random_range(0..10)) {
            (Some(_), 0..8) if is_last => Ask::Complete,
            _ if is_last => Ask::Cancel {
                reason: self.unique(),
            },
            (Some(item), 0..3) => Ask::Change {
                item,
                quantity: self.other_quantity(),
            },
            (Some(item), 3) => Ask::Remove { item },
            _ => {
                let is_chosen = self.random.random_bool(0.5);
                Ask::Add(self.item(is_chosen))
            }
        };
        let condition = match self.random.random_range(0..10) {
            0 | 1 => Some(Condition::IfMatch(known.version)),
            2 | 3 => Some(Condition::Expected(known.version)),
            4 if known.version > 1 => Some(Condition::IfMatch(known.version - 1)),
            _ => None,
        };
        Command {
            order: Some(known.id),
            ask,
            key,
            condition,
        }
    }

    /// Now and then a line for an order that others change at the same time.
    async fn add_to_a_shared_order(&mut self) {
        let shared = {
            let shared = self.shared.lock().unwrap();
            let recent = shared.len().saturating_sub(4);
            shared
                .get(self.random.random_range(recent..=shared.len()))
                .copied()
        };
        let Some(order) = shared.filter(|_| self.random.random_bool(0.5)) else {
            return;
        };
        let key = self.key();
        let is_chosen = self.random.random_bool(0.5);
        let ask = Ask::Add(self.item(is_chosen));
        self.send(Command {
            order: Some(order),
            ask,
            key,
            condition: None,
        })
        .await;
    }

    /// Sends a command as often as it may be sent: what was left open is repeated only where a key
    /// or a chosen id keeps it from being done twice. Gives the order as it is after it.
    async fn send(&mut self, command: Command) -> Option<Known> {
        let number = self.line.history().command(command.clone());
        let began = Instant::now();
        let mut may_be_applied = false;
        let mut which = self.random.random_range(0..2);
        if command.key.is_some() && self.random.random_bool(0.15) {
            return self.send_twice(number, &command).await;
        }
        for attempt in 1.. {
            let request_id = format!("{number}.{attempt}");
            let patience = self.patience();
            let answer = self
                .line
                .attempt(
                    which,
                    number,
                    request_id,
                    &command,
                    may_be_applied,
                    patience,
                )
                .await;
            match answer {
                Some(Answer::Done(done)) => return Some(Known::after(&done)),
                Some(Answer::DoneBefore | Answer::Refused(_) | Answer::Senseless(_)) => {
                    return None;
                }
                Some(Answer::Unknown(_)) if !is_repeatable(&command) => return None,
                Some(Answer::Unknown(_)) => may_be_applied = true,
                Some(Answer::NotApplied(_)) | None => {}
            }
            if began.elapsed() > STUBBORNNESS {
                return None;
            }
            which += 1;
            sleep(PAUSE).await;
        }
        None
    }

    /// Sends a command with a key to both instances at once, until one of them has done it.
    async fn send_twice(&mut self, number: usize, command: &Command) -> Option<Known> {
        let began = Instant::now();
        let mut may_be_applied = false;
        for attempt in 1.. {
            let patience = self.patience();
            let [one, other] = [0, 1].map(|which| {
                let request_id = format!("{number}.{attempt}-{which}");
                self.line
                    .attempt(which, number, request_id, command, may_be_applied, patience)
            });
            let answers: [_; 2] = tokio::join!(one, other).into();
            for answer in answers.into_iter().flatten() {
                match answer {
                    Answer::Done(done) => return Some(Known::after(&done)),
                    Answer::DoneBefore | Answer::Refused(_) | Answer::Senseless(_) => return None,
                    Answer::Unknown(_) => may_be_applied = true,
                    Answer::NotApplied(_) => {}
                }
            }
            if began.elapsed() > STUBBORNNESS {
                return None;
            }
            sleep(PAUSE).await;
        }
        None
    }

    /// Reads an order of its own anew.
    async fn look(&mut self, known: &Known) -> Option<Known> {
        let promise = Promise::MinVersion(known.version);
        let which = self.random.random_range(0..2);
        let body = self.line.read(which, known.id, promise).await?;
        (body["status"] == "created").then(|| Known::of(known.id, known.position, &body))
    }

    /// Now and then reads what it has just changed.
    async fn read(&mut self, known: &Known) {
        let promise = match self.random.random_range(0..8) {
            0 => Promise::Nothing,
            1 => Promise::Token(known.position),
            2 => Promise::MinVersion(known.version),
            3 => Promise::Seen(known.version),
            _ => return,
        };
        let which = self.random.random_range(0..2);
        self.line.read(which, known.id, promise).await;
    }
}

/// Whether a command that may have been applied can be sent again.
fn is_repeatable(command: &Command) -> bool {
    let has_id = match &command.ask {
        Ask::Create { id, .. } => id.is_some(),
        Ask::Add(item) => item.id.is_some() && command.condition.is_none(),
        Ask::Change { .. } | Ask::Remove { .. } | Ask::Complete | Ask::Cancel { .. } => false,
    };
    command.key.is_some() || has_id
}
