//! Random commands on one order, executed by the repository and by a simple model.

use std::sync::Arc;

use orders::{
    event_sourcing::{
        ExecuteError, IdempotencyKey, Metadata, Repository, Request, Version,
        repository::RepositoryOptions, store::Until, testing::InMemoryEventStore,
    },
    order::{
        CustomerId, ItemId, NewItem, Order, OrderCommand, OrderError, OrderId, ProductId, Quantity,
        Status, command::Price, upcasters::upcasters,
    },
};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    test_runner::{Config, TestRunner},
};
use uuid::Uuid;

const ORDER: OrderId = OrderId::new(Uuid::from_u128(1));

#[derive(Debug, Clone, Copy)]
enum Action {
    Create { lines: u8 },
    Add { line: u8, quantity: u32 },
    Change { line: u8, quantity: u32 },
    Remove { line: u8 },
    Complete,
    Cancel,
}

/// An action, its expected version relative to the current one, and its idempotency key.
type Step = (Action, Option<i32>, Option<u8>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (line, quantity) = (0..6_u8, 1..4_u32);
    let action = prop_oneof![
        3 => (0..3_u8).prop_map(|lines| Action::Create { lines }),
        8 => (line.clone(), quantity.clone()).prop_map(|(line, quantity)| Action::Add { line, quantity }),
        5 => (line.clone(), quantity).prop_map(|(line, quantity)| Action::Change { line, quantity }),
        3 => line.prop_map(|line| Action::Remove { line }),
        1 => Just(Action::Complete),
        1 => Just(Action::Cancel),
    ];
    let version_offset = prop_oneof![4 => Just(0), 1 => Just(-1), 1 => Just(1)];
    vec(
        (
            action,
            option::of(version_offset),
            option::weighted(0.2, 0..4_u8),
        ),
        1..40,
    )
}

/// The order as the model sees it.
#[derive(Debug, Default)]
struct Model {
    status: Option<Status>,
    lines: Vec<(u8, u32)>,
    /// Every line that was ever added.
    used_lines: Vec<u8>,
    version: i32,
    /// The number of lines at the creation.
    created_with: u8,
    /// Each key with its action and the version after it.
    keys: Vec<(u8, String, i32)>,
}

/// The result of a command.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Version(i32),
    Replayed(i32),
    KeyReused,
    VersionConflict,
    Refused(&'static str),
}

impl Model {
    fn execute(&mut self, (action, version_offset, key): Step) -> Outcome {
        let name = format!("{action:?}");
        if let Some(used) = self.keys.iter().find(|used| Some(used.0) == key) {
            return if used.1 == name {
                Outcome::Replayed(used.2)
            } else {
                Outcome::KeyReused
            };
        }
        if self.status.is_some() && version_offset.is_some_and(|offset| offset != 0) {
            return Outcome::VersionConflict;
        }
        match self.apply(action) {
            Ok(events) => {
                self.version += events;
                self.keys.extend(key.map(|key| (key, name, self.version)));
                Outcome::Version(self.version)
            }
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    /// Applies an action and returns the number of its events.
    fn apply(&mut self, action: Action) -> Result<i32, &'static str> {
        let at = |lines: &[(u8, u32)], line| lines.iter().position(|known| known.0 == line);
        match (self.status, action) {
            (None, Action::Create { lines }) => {
                self.status = Some(Status::Created);
                self.lines = (0..lines).map(|line| (line, 1)).collect();
                self.used_lines = (0..lines).collect();
                self.created_with = lines;
                return Ok(1);
            }
            (None, _) => return Err("not found"),
            (Some(_), Action::Create { lines }) if lines == self.created_with => return Ok(0),
            (Some(_), Action::Create { .. }) => return Err("exists"),
            (Some(Status::Created), _) => {}
            (Some(_), _) => return Err("not open"),
        }
        match action {
            Action::Create { .. } => {}
            Action::Add { line, .. } if self.used_lines.contains(&line) => {
                return Err("item exists");
            }
            Action::Add { line, quantity } => {
                self.used_lines.push(line);
                self.lines.push((line, quantity));
            }
            Action::Change { line, quantity } => {
                let index = at(&self.lines, line).ok_or("no item")?;
                if self.lines[index].1 == quantity {
                    return Ok(0);
                }
                self.lines[index].1 = quantity;
            }
            Action::Remove { line } => {
                let index = at(&self.lines, line).ok_or("no item")?;
                self.lines.remove(index);
            }
            Action::Complete if self.lines.is_empty() => return Err("no items"),
            Action::Complete => self.status = Some(Status::Completed),
            Action::Cancel => self.status = Some(Status::Cancelled),
        }
        Ok(1)
    }
}

fn id_of(line: u8) -> ItemId {
    ItemId::new(Uuid::from_u128(100 + u128::from(line)))
}

fn item(line: u8, quantity: u32) -> NewItem {
    NewItem {
        item_id: id_of(line),
        is_id_given: true,
        product_id: ProductId::parse("p").unwrap(),
        quantity: Quantity::new(quantity).unwrap(),
        price: Price::Text("1.50".to_owned()),
    }
}

fn command(action: Action) -> OrderCommand {
    match action {
        Action::Create { lines } => OrderCommand::Create {
            order_id: ORDER,
            customer_id: CustomerId::parse("c").unwrap(),
            currency: "EUR".parse().unwrap(),
            items: (0..lines).map(|line| item(line, 1)).collect(),
        },
        Action::Add { line, quantity } => OrderCommand::AddItem(item(line, quantity)),
        Action::Change { line, quantity } => OrderCommand::ChangeItemQuantity {
            item_id: id_of(line),
            quantity: Quantity::new(quantity).unwrap(),
        },
        Action::Remove { line } => OrderCommand::RemoveItem {
            item_id: id_of(line),
        },
        Action::Complete => OrderCommand::Complete,
        Action::Cancel => OrderCommand::Cancel { reason: None },
    }
}

type Orders = Repository<Order, InMemoryEventStore>;

async fn execute(orders: &Orders, (action, version_offset, key): Step, version: i32) -> Outcome {
    let fingerprint = fingerprint(&format!("{action:?}"));
    let request = Request {
        id: ORDER.get(),
        command: command(action),
        expected: version_offset.map(|offset| Version::new((version + offset).max(0))),
        is_new: false,
        key: key.map(|key| IdempotencyKey {
            scope: String::new(),
            key: key.to_string(),
            fingerprint,
        }),
        metadata: Arc::new(Metadata::default()),
        now: chrono::DateTime::UNIX_EPOCH,
    };
    match orders.execute(request, |_, _| ()).await {
        Ok(done) if done.is_replayed => Outcome::Replayed(done.version.get()),
        Ok(done) => Outcome::Version(done.version.get()),
        Err(ExecuteError::KeyReused) => Outcome::KeyReused,
        Err(ExecuteError::VersionConflict { .. }) => Outcome::VersionConflict,
        Err(ExecuteError::Refused(refusal)) => Outcome::Refused(match refusal {
            OrderError::NotFound => "not found",
            OrderError::AlreadyExists => "exists",
            OrderError::NotOpen { .. } => "not open",
            OrderError::NoItems => "no items",
            OrderError::ItemNotFound { .. } => "no item",
            OrderError::ItemAlreadyExists { .. } => "item exists",
            other => panic!("{other:?}"),
        }),
        Err(other) => panic!("{other:?}"),
    }
}

/// A fingerprint of a request.
fn fingerprint(text: &str) -> [u8; 32] {
    let name = Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes());
    let mut fingerprint = [0; 32];
    fingerprint[..16].copy_from_slice(name.as_bytes());
    fingerprint
}

#[test]
fn an_order_agrees_with_the_model() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let config = Config {
        cases: 400,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);

    let result = runner.run(&steps(), |steps| {
        let store = InMemoryEventStore::default();
        // Two services on one store: after a command on one, the cache of the other is stale.
        let services = [(); 2].map(|()| {
            let upcasters = Arc::new(upcasters("EUR".parse().unwrap()).unwrap());
            Orders::new(store.clone(), upcasters, RepositoryOptions::default())
        });
        let mut model = Model::default();
        runtime.block_on(async {
            for (number, step) in steps.into_iter().enumerate() {
                let version = model.version;
                let orders = &services[(number / 2) % 2];
                let outcome = execute(orders, step, version).await;
                assert_eq!(
                    outcome,
                    model.execute(step),
                    "{step:?} at version {version}"
                );
            }
            let loaded = services[0].load(ORDER.get(), Until::Now).await.unwrap();
            let Some(loaded) = loaded else {
                return assert_eq!(model.version, 0);
            };
            let state = loaded.state.state().unwrap();
            let lines = state
                .lines
                .iter()
                .map(|line| (line.item_id, line.quantity.get()));
            let expected = model
                .lines
                .iter()
                .map(|(line, quantity)| (id_of(*line), *quantity));
            assert!(lines.eq(expected));
            assert_eq!(Some(state.status), model.status);
            assert_eq!(loaded.version.get(), model.version);
        });
        Ok(())
    });

    result.unwrap();
}
