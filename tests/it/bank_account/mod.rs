//! The core is generic: a second aggregate with its own upcaster and projection uses the same
//! repository, event store, snapshot store and writer.

mod account;
mod balances;
mod specs;

use std::{sync::Arc, time::Duration};

use orders::{
    event_sourcing::{
        EventStore, ExecuteError, Executed, Metadata, Position, Repository, Request, Version,
        projection::Projection,
        repository::{RepositoryOptions, stream_of},
        snapshot::keep_snapshots,
        store::Until,
        testing::{apply_twice_and_late, instant},
    },
    live::FreshEvents,
    order::Order,
    postgres::{self, PgEventStore, PgSnapshotStore, Writer, writer::WriterOptions},
};
use serde_json::{Value, json};
use sqlx::{PgPool, postgres::PgConnectOptions};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::{
    account::{AccountCommand, AccountRefusal, BankAccount, upcasters},
    balances::Balances,
};
use crate::support::{TestApp, eventually, servers::fresh_database};

/// The number of events between two snapshots.
const SNAPSHOT_EVERY: u32 = 3;

/// The write side of accounts on a database.
struct Bank {
    pool: PgPool,
    store: PgEventStore,
    accounts: Repository<BankAccount, PgEventStore>,
}

impl Bank {
    async fn start() -> Self {
        Self::on(fresh_database().await.0)
    }

    fn on(options: PgConnectOptions) -> Self {
        let (writer, handle) = Writer::new(
            options.clone(),
            WriterOptions::default(),
            FreshEvents::default(),
        );
        tokio::spawn(writer.run());
        let pool = postgres::pool(options, 4);
        let store = PgEventStore::new(pool.clone(), handle, Duration::from_hours(1));
        let (queue, snapshots) = mpsc::channel(8);
        tokio::spawn(keep_snapshots::<BankAccount, _>(
            snapshots,
            PgSnapshotStore::new(pool.clone()),
            CancellationToken::new(),
        ));
        let accounts = Self::repository(&store).with_snapshots(SNAPSHOT_EVERY, queue);
        Self {
            pool,
            store,
            accounts,
        }
    }

    fn repository(store: &PgEventStore) -> Repository<BankAccount, PgEventStore> {
        let upcasters = Arc::new(upcasters().expect("a chain"));
        Repository::new(store.clone(), upcasters, RepositoryOptions::default())
    }

    async fn execute(
        &self,
        id: Uuid,
        command: AccountCommand,
    ) -> Result<Executed<()>, AccountRefusal> {
        let request = Request {
            id,
            command,
            expected: None,
            is_new: false,
            key: None,
            metadata: Arc::new(Metadata::default()),
            now: instant(9),
        };
        match self.accounts.execute(request, |_, _| ()).await {
            Ok(executed) => Ok(executed),
            Err(ExecuteError::Refused(refusal)) => Err(refusal),
            Err(error) => panic!("{error}"),
        }
    }

    /// Loads an account with a new repository, as another process does: nothing is cached.
    async fn load(&self, id: Uuid) -> (BankAccount, Version) {
        let loaded = Self::repository(&self.store).load(id, Until::Now).await;
        let loaded = loaded.expect("it loads").expect("it exists");
        (loaded.state, loaded.version)
    }
}

fn open(owner: &str, initial_deposit: u64) -> AccountCommand {
    AccountCommand::Open {
        owner: owner.to_owned(),
        initial_deposit,
        currency: "CHF".to_owned(),
    }
}

fn account(owner: &str, currency: &str, balance: u64) -> BankAccount {
    BankAccount::Open {
        owner: owner.to_owned(),
        currency: currency.to_owned(),
        balance,
    }
}

/// Inserts the first event of an account in schema version 1.
async fn insert_version_1(pool: &PgPool, id: Uuid, balance: i64) {
    sqlx::query(
        "insert into events (event_id, aggregate_type, aggregate_id, version, type, schema_version,
             data, metadata, created_at)
         values (gen_random_uuid(), 'BankAccount', $1, 1, 'AccountOpened', 1,
             jsonb_build_object('owner', 'Grace', 'balance', $2::bigint), '{}', '2020-01-01Z')",
    )
    .bind(id)
    .bind(balance)
    .execute(pool)
    .await
    .expect("an event is inserted");
}

#[tokio::test]
async fn accounts_use_the_same_store_as_orders() {
    let bank = Bank::start().await;
    let id = Uuid::now_v7();

    bank.execute(id, open("Ada", 500)).await.unwrap();
    bank.execute(id, AccountCommand::Deposit(20)).await.unwrap();
    let refused = bank.execute(id, AccountCommand::Withdraw(600)).await;
    let withdrawn = bank
        .execute(id, AccountCommand::Withdraw(520))
        .await
        .unwrap();

    let (balance, requested) = (520, 600);
    assert_eq!(
        refused.unwrap_err(),
        AccountRefusal::InsufficientFunds { balance, requested }
    );
    assert_eq!(withdrawn.version, Version::new(3));
    assert_eq!(
        bank.load(id).await,
        (account("Ada", "CHF", 0), Version::new(3))
    );
    bank.execute(id, AccountCommand::Close).await.unwrap();
    assert_eq!(
        bank.execute(id, AccountCommand::Deposit(1))
            .await
            .unwrap_err(),
        AccountRefusal::Closed
    );
    let as_an_order = bank.store.load(stream_of::<Order>(id), Until::Now, None);
    assert!(as_an_order.await.unwrap().events.is_empty());
}

#[tokio::test]
async fn an_account_is_loaded_from_its_snapshot_and_the_events_after_it() {
    let bank = Bank::start().await;
    let id = Uuid::now_v7();
    bank.execute(id, open("Ada", 100)).await.unwrap();
    for amount in 1..=6 {
        bank.execute(id, AccountCommand::Deposit(amount))
            .await
            .unwrap();
    }

    let stored = eventually("the snapshot of version 6 is stored", || async {
        let load = bank
            .store
            .load(stream_of::<BankAccount>(id), Until::Now, Some(1));
        let stored = load.await.unwrap();
        (stored.snapshot.as_ref()?.version == Version::new(6)).then_some(stored)
    })
    .await;

    assert_eq!(stored.events.len(), 1, "only later events are read");
    assert_eq!(
        bank.load(id).await,
        (account("Ada", "CHF", 121), Version::new(7))
    );
}

#[tokio::test]
async fn an_old_event_of_an_account_is_upcast() {
    let bank = Bank::start().await;
    let id = Uuid::now_v7();
    insert_version_1(&bank.pool, id, 1250).await;

    bank.execute(id, AccountCommand::Withdraw(250))
        .await
        .unwrap();

    assert_eq!(
        bank.load(id).await,
        (account("Grace", "EUR", 1000), Version::new(2))
    );
    let events = bank
        .store
        .read_stream(stream_of::<BankAccount>(id), Version::new(1), 9);
    let events = events.await.unwrap();
    let stored: Value = serde_json::from_str(events[0].data.get()).unwrap();
    assert_eq!(
        stored,
        json!({"owner": "Grace", "balance": 1250}),
        "the stored event is not changed"
    );
    assert_eq!(
        events[1].occurred_at, events[0].occurred_at,
        "the test's clock is behind, but event times never go back"
    );
}

/// Stores three accounts, and an event of another aggregate between theirs.
async fn histories(bank: &Bank) -> [Uuid; 3] {
    let [old, closed, other] = [1, 2, 3].map(Uuid::from_u128);
    insert_version_1(&bank.pool, old, 1000).await;
    bank.execute(closed, open("Ada", 70)).await.unwrap();
    sqlx::raw_sql(
        "insert into events (event_id, aggregate_type, aggregate_id, version, type, schema_version,
             data, metadata, created_at)
         values (gen_random_uuid(), 'Weather', gen_random_uuid(), 1, 'Rained', 9, '{}', '{}', now())",
    )
    .execute(&bank.pool)
    .await
    .unwrap();
    bank.execute(old, AccountCommand::Deposit(11))
        .await
        .unwrap();
    bank.execute(closed, AccountCommand::Withdraw(70))
        .await
        .unwrap();
    bank.execute(other, open("Edsger", 1)).await.unwrap();
    bank.execute(closed, AccountCommand::Close).await.unwrap();
    [old, closed, other]
}

#[tokio::test]
async fn the_projection_of_accounts_accepts_events_twice_and_late() {
    let bank = Bank::start().await;
    let balances = Balances::create(bank.pool.clone()).await;
    let [old, closed, other] = histories(&bank).await;
    let events = bank.store.read_all(Position::ZERO, 100).await.unwrap();
    assert_eq!(events.len(), 7);

    let events: Vec<_> = events.into_iter().map(Arc::new).collect();
    apply_twice_and_late(&balances, &events, orders::event_sourcing::Epoch(1)).await;

    let row = |id, owner: &str, currency: &str, balance, is_open, version| {
        (
            id,
            owner.to_owned(),
            currency.to_owned(),
            balance,
            is_open,
            version,
        )
    };
    assert_eq!(
        balances.rows().await,
        [
            row(old, "Grace", "EUR", 1011, true, 2),
            row(closed, "Ada", "CHF", 0, false, 3),
            row(other, "Edsger", "CHF", 1, true, 1),
        ]
    );
}

#[tokio::test]
async fn the_projection_of_accounts_refuses_a_gap_and_a_stale_epoch() {
    let bank = Bank::start().await;
    let balances = Balances::create(bank.pool.clone()).await;
    histories(&bank).await;
    let events = bank.store.read_all(Position::ZERO, 100).await.unwrap();
    let events: Vec<_> = events.into_iter().map(Arc::new).collect();
    let (newer, older) = (
        orders::event_sourcing::Epoch(2),
        orders::event_sourcing::Epoch(1),
    );

    let after_a_gap = balances
        .apply(events[5].position, &events[6..], newer)
        .await;
    assert!(after_a_gap.is_err());
    assert!(balances.rows().await.is_empty());

    let reached = balances
        .apply(Position::ZERO, &events, newer)
        .await
        .unwrap();
    assert_eq!(reached, events[6].position);
    assert_eq!(balances.rows().await.len(), 3);
    assert!(
        balances
            .apply(Position::ZERO, &events, older)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn accounts_in_the_same_database_do_not_disturb_the_service() {
    let app = TestApp::start().await;
    let options = postgres::connect_options(&app.database_url).unwrap();
    let bank = Bank::on(options);
    let id = Uuid::now_v7();

    bank.execute(id, open("Ada", 500)).await.unwrap();
    let created = app.post("/v1/orders", &json!({"customerId": "c"})).await;
    bank.execute(id, AccountCommand::Deposit(1)).await.unwrap();

    app.wait_until_caught_up().await;
    assert_eq!(created.status, 201);
    assert_eq!(
        app.wait_until_projected(created.id(), 1).await["version"],
        1
    );
    let missing = app.get(&format!("/v1/orders/{id}")).await;
    assert_eq!(
        (missing.status, missing.code()),
        (404, "order_not_found".to_owned())
    );
    let history = app.get(&format!("/v1/orders/{id}/events")).await;
    assert_eq!(history.status, 404);
    app.stop().await;
}
