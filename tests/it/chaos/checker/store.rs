//! Checks the store against the domain: versions have no hole, and the domain would decide the same
//! events.

use std::collections::{HashMap, HashSet};

use orders::{
    event_sourcing::{Aggregate, DomainEvent},
    order::{NewItem, Order, OrderCommand, OrderEvent, command::Price},
};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Found, Rule};
use crate::chaos::observe::{Event, Observed};

/// All states of an order. The first is the state after the first event.
#[derive(Debug, Default)]
pub struct Fold {
    /// The state after each version, with its position.
    pub states: Vec<(i64, Order)>,
}

/// The fold of each order.
pub type Folds = HashMap<Uuid, Fold>;

pub fn check(observed: &Observed, found: &mut Found) -> Folds {
    let mut folds = Folds::new();
    let mut ids = HashSet::new();
    for event in &observed.events {
        let is_new = ids.insert(event.id);
        found.add_unless(is_new, Rule::Doubled, || format!("the id of {event:?}"));
        let fold = folds.entry(event.order).or_default();
        // The events are in order of position, so positions rise with versions.
        let is_next = usize::try_from(event.version) == Ok(fold.states.len() + 1);
        found.add_unless(is_next, Rule::Versions, || {
            format!("{event:?} follows version {}", fold.states.len())
        });
        let mut state = fold
            .states
            .last()
            .map(|(_, state)| state.clone())
            .unwrap_or_default();
        if let Err(error) = evolve(&mut state, event) {
            found.add(Rule::Illegal, format!("{event:?}: {error}"));
        }
        fold.states.push((event.position, state));
    }
    folds
}

/// Applies an event. Returns an error if the domain would not have decided it.
fn evolve(state: &mut Order, event: &Event) -> Result<(), String> {
    let data = RawValue::from_string(event.data.clone()).map_err(|error| error.to_string())?;
    let decoded = OrderEvent::decode(&event.name, &data).map_err(|error| format!("{error:?}"))?;
    let expected = state.decide(&command_of(&decoded));
    state.evolve(&decoded, event.at);
    match expected {
        Ok(events) if events == [decoded] => Ok(()),
        other => Err(format!("the domain decides {other:?}")),
    }
}

/// The command that leads to this event.
fn command_of(event: &OrderEvent) -> OrderCommand {
    let new = |item: &orders::order::event::OrderedItem| NewItem {
        item_id: item.item_id,
        is_id_given: true,
        product_id: item.product_id.clone(),
        quantity: item.quantity,
        price: Price::Exact(item.price),
    };
    match event {
        OrderEvent::Created {
            order_id,
            customer_id,
            currency,
            items,
        } => OrderCommand::Create {
            order_id: *order_id,
            customer_id: customer_id.clone(),
            currency: *currency,
            items: items.iter().map(new).collect(),
        },
        OrderEvent::ItemAdded { item, .. } => OrderCommand::AddItem(new(item)),
        OrderEvent::ItemQuantityChanged { item_id, quantity } => OrderCommand::ChangeItemQuantity {
            item_id: *item_id,
            quantity: *quantity,
        },
        OrderEvent::ItemRemoved { item_id } => OrderCommand::RemoveItem { item_id: *item_id },
        OrderEvent::Completed => OrderCommand::Complete,
        OrderEvent::Cancelled { reason } => OrderCommand::Cancel {
            reason: reason.clone(),
        },
    }
}
