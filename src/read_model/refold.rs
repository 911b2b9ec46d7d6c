//! Folds one order again from all its events: brings a parked order back, and repairs a row that is
//! wrong.

use sqlx::PgConnection;
use tokio::time::timeout;

use super::{
    bookkeeping,
    chunk::DecodedEvent,
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
};

/// How many events are read from a stream at a time.
const PAGE: u32 = 1000;

/// The outcome of a refold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refolded {
    /// The rows show all the order's events up to the checkpoint.
    Whole,
    /// An event still cannot be applied. The rows show the events before it.
    Parked(ParkedOrder),
}

impl<S: EventStore> Projector<S> {
    /// Folds an order again, up to the checkpoint, and replaces its rows. An order that was parked is
    /// not parked any more, unless an event still cannot be applied. All in one transaction that holds
    /// the lock of the checkpoint.
    ///
    /// # Errors
    /// If the database fails. Nothing is changed then.
    pub async fn refold(&self, order_id: OrderId) -> Result<Refolded, StoreError> {
        let refolded = timeout(DEADLINE, self.refold_once(order_id)).await;
        refolded.map_err(StoreError::unavailable)?
    }

    async fn refold_once(&self, order_id: OrderId) -> Result<Refolded, StoreError> {
        let mut locked = self.rows.lock_checkpoint().await?;
        let up_to = locked.checkpoint.position;
        let (fold, parked) = fold_stream(&self.store, &self.upcasters, order_id, up_to).await?;
        let written = replace(locked.connection(), &fold, parked.as_ref()).await;
        written.map_err(WriteError::from_query)?;
        locked.commit().await?;
        Ok(parked.map_or(Refolded::Whole, Refolded::Parked))
    }

    /// Lists the parked orders, the longest parked first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn parked(&self) -> Result<Vec<ParkedOrder>, StoreError> {
        self.query(bookkeeping::read_parked).await
    }
}

/// Folds a stream's events up to a position. Stops before one that cannot be applied.
async fn fold_stream<S: EventStore>(
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
            if let Err(parked) = DecodedEvent::new(event, upcasters).apply_to(&mut fold) {
                return Ok((fold, Some(parked)));
            }
        }
        from = last.plus(1);
    }
}

/// Replaces the stored rows by the folded ones.
async fn replace(
    connection: &mut PgConnection,
    fold: &OrderFold,
    parked: Option<&ParkedOrder>,
) -> Result<(), sqlx::Error> {
    tables::delete_order(connection, fold.id()).await?;
    let order = fold.row().map(|row| (row, Version::ZERO));
    let rows = Changes {
        orders: order.into_iter().collect(),
        items: fold.items().into_iter().map(|item| (item, false)).collect(),
        removed: Vec::new(),
        parked: parked.into_iter().collect(),
    };
    tables::write(connection, &rows, None).await.map(drop)
}
