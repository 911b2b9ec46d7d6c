//! `orders parked`: lists the parked orders, and folds them again.

use uuid::Uuid;

use super::{
    offline_store::OfflineStore,
    output::{CommandOutcome, print_line},
};
use crate::{app::config::StoreArgs, order::OrderId, read_model::Refolded};

/// Lists the parked orders.
///
/// # Errors
/// The database fails.
pub async fn list_parked(args: &StoreArgs) -> anyhow::Result<CommandOutcome> {
    let store = OfflineStore::open(args).await?;
    let parked = store.projector().parked().await?;
    store.close().await;
    for order in &parked {
        let (id, version, event) = (order.order_id, order.version, &order.event_type);
        print_line(&format!(
            "{id} at version {version} ({event}): {}",
            order.reason
        ))?;
    }
    print_line(&format!("{} orders are parked", parked.len()))?;
    Ok(CommandOutcome::Success)
}

/// Folds these orders again, or all parked orders if none is named. An order that stays parked is
/// an [`CommandOutcome::Problem`].
///
/// # Errors
/// The database fails.
pub async fn retry_parked(args: &StoreArgs, orders: &[Uuid]) -> anyhow::Result<CommandOutcome> {
    let store = OfflineStore::open(args).await?;
    let projector = store.projector();
    let orders: Vec<OrderId> = if orders.is_empty() {
        let parked = projector.parked().await?;
        parked.into_iter().map(|order| order.order_id).collect()
    } else {
        orders.iter().copied().map(OrderId::new).collect()
    };
    let mut still_parked = 0;
    for id in orders {
        match projector.refold(id).await? {
            Refolded::Whole => print_line(&format!("{id} is no longer parked"))?,
            Refolded::Parked(parked) => {
                still_parked += 1;
                print_line(&format!("{id} stays parked: {}", parked.reason))?;
            }
        }
    }
    store.close().await;
    Ok(CommandOutcome::from_success(still_parked == 0))
}
