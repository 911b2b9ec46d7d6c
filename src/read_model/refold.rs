//! Folds one order anew from all its events: how a parked order comes back, and how a row that is
//! wrong is repaired.

use sqlx::PgConnection;
use tokio::time::timeout;

use super::{
    chunk::Decoded,
    error::WriteError,
    fold::OrderFold,
    projector::{DEADLINE, Projector},
    rows::ParkedOrder,
    tables::{self, Changes},
};
use crate::{
    event_sourcing::{
        Aggregate, EventStore, Position, StoreError, StreamId, UpcasterChain, Version,
    },
    order::{Order, OrderId},
    sql::error::store_error,
};

/// How many events are read from a stream at a time.
const PAGE: u32 = 1000;

/// What became of an order that was folded anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refolded {
    /// Its rows show all its events up to the checkpoint.
    Whole,
    /// An event still cannot be applied: the rows are as before it.
    Parked(ParkedOrder),
}

impl<S: EventStore> Projector<S> {
    /// Folds an order anew up to the checkpoint and takes it from the parked ones, where it was one,
    /// in one transaction that holds the checkpoint.
    ///
    /// # Errors
    /// Where the database fails; nothing is changed then.
    pub async fn unpark(&self, order_id: OrderId) -> Result<Refolded, StoreError> {
        let refolded = timeout(DEADLINE, self.refold_once(order_id)).await;
        refolded.map_err(StoreError::unavailable)?
    }

    async fn refold_once(&self, order_id: OrderId) -> Result<Refolded, StoreError> {
        let mut held = self.rows.hold().await?;
        let up_to = held.checkpoint.position;
        let (fold, parked) = refold(&self.store, &self.upcasters, order_id, up_to).await?;
        let written = replace(held.connection(), &fold, parked.as_ref()).await;
        written.map_err(WriteError::from_query)?;
        held.commit().await?;
        Ok(parked.map_or(Refolded::Whole, Refolded::Parked))
    }

    /// Lists the parked orders, the longest parked first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn parked(&self) -> Result<Vec<ParkedOrder>, StoreError> {
        sqlx::query_as!(
            ParkedOrder,
            "select order_id, version, position, event_type, reason
             from projection_parked order by parked_at, order_id",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(store_error)
    }
}

/// Folds a stream's events up to a position; stops before one that cannot be applied.
async fn refold<S: EventStore>(
    store: &S,
    upcasters: &UpcasterChain,
    order_id: OrderId,
    up_to: Position,
) -> Result<(OrderFold, Option<ParkedOrder>), StoreError> {
    let stream = StreamId {
        aggregate_type: Order::TYPE,
        aggregate_id: order_id.get(),
    };
    let mut fold = OrderFold::absent(order_id);
    let mut from = Version::new(1);
    loop {
        let page = store.read_stream(stream, from, PAGE).await?;
        let Some(last) = page.last().map(|event| event.version) else {
            return Ok((fold, None));
        };
        for event in page {
            if event.position > up_to {
                return Ok((fold, None));
            }
            if let Err(parked) = Decoded::new(event, upcasters).apply_to(&mut fold) {
                return Ok((fold, Some(parked)));
            }
        }
        from = last.plus(1);
    }
}

/// Puts the folded rows in the place of the stored ones.
async fn replace(
    connection: &mut PgConnection,
    fold: &OrderFold,
    parked: Option<&ParkedOrder>,
) -> Result<(), sqlx::Error> {
    tables::delete_order(connection, fold.id()).await?;
    let rows = Changes {
        orders: fold
            .row()
            .map(|row| (row, Version::ZERO))
            .into_iter()
            .collect(),
        items: fold.items().into_iter().map(|item| (item, false)).collect(),
        removed: Vec::new(),
        parked: parked.into_iter().collect(),
    };
    tables::write(connection, &rows, None).await.map(drop)
}
