//! The seeded workload: clients that create, change, complete, cancel and read orders.

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
    client::{ANSWER_LIMIT, Client, Pace},
    history::{Action, Answer, Applied, Command, Condition, Consistency, Item},
};

/// How long a client repeats one command.
const RETRY_LIMIT: Duration = Duration::from_secs(25);
/// The pause before a command is repeated.
const PAUSE: Duration = Duration::from_millis(60);

/// New lines have smaller quantities; changed lines have this one or larger ones.
const FIRST_OTHER_QUANTITY: u32 = 20;

/// Orders that several clients change.
pub type Shared = Arc<Mutex<Vec<Uuid>>>;

/// A client with its own random numbers.
pub struct Customer {
    name: String,
    random: StdRng,
    client: Client,
    shared: Shared,
    made: usize,
}

/// What a client knows about its order.
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

    fn after(done: &Applied) -> Self {
        let body = serde_json::from_str(&done.body.0).unwrap_or_default();
        Self::of(done.order, done.position, &body)
    }
}

impl Customer {
    /// The client with this number in the round of this seed.
    pub fn new(seed: u64, number: u64, client: Client, shared: Shared) -> Self {
        Self {
            name: format!("c{number}"),
            random: StdRng::seed_from_u64(seed.wrapping_mul(1009).wrapping_add(number)),
            client,
            shared,
            made: 0,
        }
    }

    /// Sends commands and reads until it is told to stop. It finishes the command that it has begun.
    pub async fn run(mut self, stop: watch::Receiver<bool>) {
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
                // After a command with an unknown outcome, a read shows the order's state.
                match self.send(command).await {
                    Some(now) => known = now,
                    None => match self.read_again(&known).await {
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

    /// A quantity that no line has had, so that a change always has an event.
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

    /// How fast the client is. Sometimes it hangs up early, and sometimes it sends the body late.
    fn pace(&mut self) -> Pace {
        let mut milliseconds = |probability, range| {
            let is_rare = self.random.random_bool(probability);
            let value = self.random.random_range(range);
            is_rare.then(|| Duration::from_millis(value))
        };
        Pace {
            time_limit: milliseconds(0.06, 1..30).unwrap_or(ANSWER_LIMIT),
            body_after: milliseconds(0.05, 1..400).unwrap_or_default(),
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
            action: Action::Create {
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
        let action = match (item, self.random.random_range(0..10)) {
            (Some(_), 0..8) if is_last => Action::Complete,
            _ if is_last => Action::Cancel {
                reason: self.unique(),
            },
            (Some(item), 0..3) => Action::Change {
                item,
                quantity: self.other_quantity(),
            },
            (Some(item), 3) => Action::Remove { item },
            _ => {
                let is_chosen = self.random.random_bool(0.5);
                Action::Add(self.item(is_chosen))
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
            action,
            key,
            condition,
        }
    }

    /// Sometimes adds a line to an order that other clients change at the same time.
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
        let action = Action::Add(self.item(is_chosen));
        self.send(Command {
            order: Some(order),
            action,
            key,
            condition: None,
        })
        .await;
    }

    /// Sends a command until its outcome is known. After an unknown outcome it is repeated only if a
    /// key or a chosen id prevents a second effect. Returns the order after the command.
    async fn send(&mut self, command: Command) -> Option<Known> {
        let number = self.client.history().command(command.clone());
        let began = Instant::now();
        let mut may_be_applied = false;
        let mut instance = self.random.random_range(0..2);
        if command.key.is_some() && self.random.random_bool(0.15) {
            return self.send_twice(number, &command).await;
        }
        for attempt in 1.. {
            let request_id = format!("{number}.{attempt}");
            let pace = self.pace();
            let answer = self
                .client
                .attempt(instance, number, request_id, &command, may_be_applied, pace)
                .await;
            match answer {
                Some(Answer::Applied(done)) => return Some(Known::after(&done)),
                Some(Answer::AppliedBefore | Answer::Refused(_) | Answer::Unexpected(_)) => {
                    return None;
                }
                Some(Answer::Unknown(_)) if !is_repeatable(&command) => return None,
                Some(Answer::Unknown(_)) => may_be_applied = true,
                Some(Answer::NotApplied(_)) | None => {}
            }
            if began.elapsed() > RETRY_LIMIT {
                return None;
            }
            instance += 1;
            sleep(PAUSE).await;
        }
        None
    }

    /// Sends a command with a key to both instances at once, until one of them has applied it.
    async fn send_twice(&mut self, number: usize, command: &Command) -> Option<Known> {
        let began = Instant::now();
        let mut may_be_applied = false;
        for attempt in 1.. {
            let pace = self.pace();
            let [one, other] = [0, 1].map(|instance| {
                let request_id = format!("{number}.{attempt}-{instance}");
                self.client
                    .attempt(instance, number, request_id, command, may_be_applied, pace)
            });
            let answers: [_; 2] = tokio::join!(one, other).into();
            for answer in answers.into_iter().flatten() {
                match answer {
                    Answer::Applied(done) => return Some(Known::after(&done)),
                    Answer::AppliedBefore | Answer::Refused(_) | Answer::Unexpected(_) => {
                        return None;
                    }
                    Answer::Unknown(_) => may_be_applied = true,
                    Answer::NotApplied(_) => {}
                }
            }
            if began.elapsed() > RETRY_LIMIT {
                return None;
            }
            sleep(PAUSE).await;
        }
        None
    }

    /// Reads its order again. `None` if the order is final or cannot be read.
    async fn read_again(&mut self, known: &Known) -> Option<Known> {
        let consistency = Consistency::MinVersion(known.version);
        let instance = self.random.random_range(0..2);
        let body = self.client.read(instance, known.id, consistency).await?;
        (body["status"] == "created").then(|| Known::of(known.id, known.position, &body))
    }

    /// Sometimes reads the order that it has just changed.
    async fn read(&mut self, known: &Known) {
        let consistency = match self.random.random_range(0..8) {
            0 => Consistency::Nothing,
            1 => Consistency::Token(known.position),
            2 => Consistency::MinVersion(known.version),
            3 => Consistency::Seen(known.version),
            _ => return,
        };
        let instance = self.random.random_range(0..2);
        self.client.read(instance, known.id, consistency).await;
    }
}

/// Whether a command with an unknown outcome can be sent again.
fn is_repeatable(command: &Command) -> bool {
    let has_id = match &command.action {
        Action::Create { id, .. } => id.is_some(),
        Action::Add(item) => item.id.is_some() && command.condition.is_none(),
        Action::Change { .. }
        | Action::Remove { .. }
        | Action::Complete
        | Action::Cancel { .. } => false,
    };
    command.key.is_some() || has_id
}
