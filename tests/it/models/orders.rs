//! Commands on one order through the repository, against a model that is a list of lines.

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
enum Ask {
    Create { lines: u8 },
    Add { line: u8, quantity: u32 },
    Change { line: u8, quantity: u32 },
    Remove { line: u8 },
    Complete,
    Cancel,
}

/// A command, the version it names beside the right one, and its key.
type Step = (Ask, Option<i32>, Option<u8>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (line, quantity) = (0..6_u8, 1..4_u32);
    let ask = prop_oneof![
        3 => (0..3_u8).prop_map(|lines| Ask::Create { lines }),
        8 => (line.clone(), quantity.clone()).prop_map(|(line, quantity)| Ask::Add { line, quantity }),
        5 => (line.clone(), quantity).prop_map(|(line, quantity)| Ask::Change { line, quantity }),
        3 => line.prop_map(|line| Ask::Remove { line }),
        1 => Just(Ask::Complete),
        1 => Just(Ask::Cancel),
    ];
    let beside = prop_oneof![4 => Just(0), 1 => Just(-1), 1 => Just(1)];
    vec(
        (ask, option::of(beside), option::weighted(0.2, 0..4_u8)),
        1..40,
    )
}

/// The order as a client with a notebook knows it.
#[derive(Debug, Default)]
struct Model {
    status: Option<Status>,
    lines: Vec<(u8, u32)>,
    used: Vec<u8>,
    version: i32,
    created_with: u8,
    /// What each key led to: its step, and the version after it.
    keys: Vec<(u8, String, i32)>,
}

/// What a command came to.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Version(i32),
    Replayed(i32),
    KeyReused,
    Stale,
    Refused(&'static str),
}

impl Model {
    fn step(&mut self, (ask, beside, key): Step) -> Outcome {
        let name = format!("{ask:?}");
        if let Some(used) = self.keys.iter().find(|used| Some(used.0) == key) {
            return if used.1 == name {
                Outcome::Replayed(used.2)
            } else {
                Outcome::KeyReused
            };
        }
        if self.status.is_some() && beside.is_some_and(|beside| beside != 0) {
            return Outcome::Stale;
        }
        match self.apply(ask) {
            Ok(events) => {
                self.version += events;
                self.keys.extend(key.map(|key| (key, name, self.version)));
                Outcome::Version(self.version)
            }
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    /// How many events a command makes.
    fn apply(&mut self, ask: Ask) -> Result<i32, &'static str> {
        let at = |lines: &[(u8, u32)], line| lines.iter().position(|held| held.0 == line);
        match (self.status, ask) {
            (None, Ask::Create { lines }) => {
                self.status = Some(Status::Created);
                self.lines = (0..lines).map(|line| (line, 1)).collect();
                self.used = (0..lines).collect();
                self.created_with = lines;
                return Ok(1);
            }
            (None, _) => return Err("not found"),
            (Some(_), Ask::Create { lines }) if lines == self.created_with => return Ok(0),
            (Some(_), Ask::Create { .. }) => return Err("exists"),
            (Some(Status::Created), _) => {}
            (Some(_), _) => return Err("not open"),
        }
        match ask {
            Ask::Create { .. } => {}
            Ask::Add { line, .. } if self.used.contains(&line) => return Err("item exists"),
            Ask::Add { line, quantity } => {
                self.used.push(line);
                self.lines.push((line, quantity));
            }
            Ask::Change { line, quantity } => {
                let index = at(&self.lines, line).ok_or("no item")?;
                if self.lines[index].1 == quantity {
                    return Ok(0);
                }
                self.lines[index].1 = quantity;
            }
            Ask::Remove { line } => {
                let index = at(&self.lines, line).ok_or("no item")?;
                self.lines.remove(index);
            }
            Ask::Complete if self.lines.is_empty() => return Err("no items"),
            Ask::Complete => self.status = Some(Status::Completed),
            Ask::Cancel => self.status = Some(Status::Cancelled),
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

fn command(ask: Ask) -> OrderCommand {
    match ask {
        Ask::Create { lines } => OrderCommand::Create {
            order_id: ORDER,
            customer_id: CustomerId::parse("c").unwrap(),
            currency: "EUR".parse().unwrap(),
            items: (0..lines).map(|line| item(line, 1)).collect(),
        },
        Ask::Add { line, quantity } => OrderCommand::AddItem(item(line, quantity)),
        Ask::Change { line, quantity } => OrderCommand::ChangeItemQuantity {
            item_id: id_of(line),
            quantity: Quantity::new(quantity).unwrap(),
        },
        Ask::Remove { line } => OrderCommand::RemoveItem {
            item_id: id_of(line),
        },
        Ask::Complete => OrderCommand::Complete,
        Ask::Cancel => OrderCommand::Cancel { reason: None },
    }
}

type Orders = Repository<Order, InMemoryEventStore>;

async fn execute(orders: &Orders, (ask, beside, key): Step, version: i32) -> Outcome {
    let fingerprint = digest(&format!("{ask:?}"));
    let request = Request {
        id: ORDER.get(),
        command: command(ask),
        expected: beside.map(|beside| Version::new((version + beside).max(0))),
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
        Err(ExecuteError::VersionConflict { .. }) => Outcome::Stale,
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

/// A digest of a command by its name.
fn digest(text: &str) -> [u8; 32] {
    let name = Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes());
    let mut digest = [0; 32];
    digest[..16].copy_from_slice(name.as_bytes());
    digest
}

#[test]
fn an_order_does_what_the_model_says() {
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

    let held = runner.run(&steps(), |steps| {
        let store = InMemoryEventStore::default();
        // Two services on one store: each one's cache is stale whenever the other was asked last.
        let services = [(); 2].map(|()| {
            let upcasters = Arc::new(upcasters("EUR".parse().unwrap()).unwrap());
            Orders::new(store.clone(), upcasters, RepositoryOptions::default())
        });
        let mut model = Model::default();
        runtime.block_on(async {
            for (number, step) in steps.into_iter().enumerate() {
                let version = model.version;
                let orders = &services[(number / 2) % 2];
                let came_to = execute(orders, step, version).await;
                assert_eq!(came_to, model.step(step), "{step:?} at version {version}");
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

    held.unwrap();
}
