//! The projection of accounts: one row per account.

use std::sync::Arc;

use orders::{
    event_sourcing::{
        Aggregate, Epoch, Position, RecordedEvent, StoreError, UpcasterChain,
        projection::Projection,
    },
    sql::error::store_error,
};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::account::{AccountEvent, BankAccount, upcasters};

/// Keeps the table `account_balances` from the events.
pub struct Balances {
    pool: PgPool,
    upcasters: Arc<UpcasterChain>,
}

/// A row: id, owner, currency, balance, whether it is open, version.
pub type BalanceRow = (Uuid, String, String, i64, bool, i32);

/// Another instance holds the lease now.
#[derive(Debug, thiserror::Error)]
#[error("another instance holds the lease")]
struct Stale;

impl Balances {
    /// Creates the table and the checkpoint.
    pub async fn create(pool: PgPool) -> Self {
        sqlx::raw_sql(
            "create table account_balances (
                 id uuid primary key, owner text not null, currency text not null,
                 balance_minor bigint not null, is_open boolean not null, version integer not null
             );
             insert into projection_checkpoint (name, position) values ('account_balances', 0)",
        )
        .execute(&pool)
        .await
        .expect("a table is created");
        let upcasters = Arc::new(upcasters().expect("a chain"));
        Self { pool, upcasters }
    }

    /// All rows, by id.
    pub async fn rows(&self) -> Vec<BalanceRow> {
        sqlx::query_as(
            "select id, owner, currency, balance_minor, is_open, version
             from account_balances order by id",
        )
        .fetch_all(&self.pool)
        .await
        .expect("rows")
    }

    async fn apply_event(
        &self,
        connection: &mut PgConnection,
        event: RecordedEvent,
    ) -> Result<(), StoreError> {
        if event.aggregate_type != BankAccount::TYPE {
            return Ok(());
        }
        let (id, version) = (event.aggregate_id, event.version.get());
        let event: AccountEvent = self
            .upcasters
            .decode(event)
            .map_err(|error| StoreError::corrupt(format!("event {version} of {id}"), error))?;
        let query = match &event {
            AccountEvent::Opened {
                owner,
                initial_deposit,
                currency,
            } => sqlx::query(
                "insert into account_balances (id, version, balance_minor, owner, currency, is_open)
                 values ($1, $2, $3, $4, $5, true)",
            )
            .bind(id)
            .bind(version)
            .bind(initial_deposit.cast_signed())
            .bind(owner)
            .bind(currency),
            AccountEvent::Deposited(event) => {
                change(id, version).bind(event.amount.cast_signed()).bind(true)
            }
            AccountEvent::Withdrawn(event) => {
                change(id, version).bind(-event.amount.cast_signed()).bind(true)
            }
            AccountEvent::Closed {} => change(id, version).bind(0_i64).bind(false),
        };
        query.execute(connection).await.map_err(store_error)?;
        Ok(())
    }
}

type Query = sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// An update to the next version. The caller binds the amount and whether the account stays open.
fn change(id: Uuid, version: i32) -> Query {
    sqlx::query(
        "update account_balances
         set balance_minor = balance_minor + $3, is_open = $4, version = $2
         where id = $1 and version = $2 - 1",
    )
    .bind(id)
    .bind(version)
}

impl Projection for Balances {
    async fn checkpoint(&self) -> Result<Position, StoreError> {
        let position = sqlx::query_scalar(
            "select position from projection_checkpoint where name = 'account_balances'",
        )
        .fetch_one(&self.pool)
        .await
        .map_err(store_error)?;
        Ok(Position::new(position))
    }

    async fn apply(
        &self,
        after: Position,
        events: &[Arc<RecordedEvent>],
        epoch: Epoch,
    ) -> Result<Position, StoreError> {
        let mut transaction = self.pool.begin().await.map_err(store_error)?;
        let (position, newest): (i64, i64) = sqlx::query_as(
            "select position, epoch from projection_checkpoint
             where name = 'account_balances' for update",
        )
        .fetch_one(&mut *transaction)
        .await
        .map_err(store_error)?;
        if epoch.0 < newest {
            return Err(StoreError::unavailable(Stale));
        }
        let mut cursor = Position::new(position);
        if cursor < after {
            return Err(StoreError::unavailable(Stale));
        }
        for event in events.iter().filter(|event| event.position > cursor) {
            self.apply_event(&mut transaction, RecordedEvent::clone(event))
                .await?;
        }
        if let Some(last) = events.last() {
            cursor = cursor.max(last.position);
        }
        sqlx::query(
            "update projection_checkpoint set position = $1, epoch = $2
             where name = 'account_balances'",
        )
        .bind(cursor.get())
        .bind(epoch.0)
        .execute(&mut *transaction)
        .await
        .map_err(store_error)?;
        transaction.commit().await.map_err(store_error)?;
        Ok(cursor)
    }

    async fn rebuild(&self) -> Result<Position, StoreError> {
        sqlx::query(
            "with cleared as (delete from account_balances)
             update projection_checkpoint set position = 0 where name = 'account_balances'",
        )
        .execute(&self.pool)
        .await
        .map_err(store_error)?;
        Ok(Position::ZERO)
    }
}
