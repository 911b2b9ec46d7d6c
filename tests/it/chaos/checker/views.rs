//! Compares the read model with the fold of the store.

use std::collections::HashMap;

use orders::order::Order;
use uuid::Uuid;

use super::{Found, Rule, store::Folds};
use crate::chaos::observe::{Observed, View};

pub fn check(observed: &Observed, folds: &Folds, found: &mut Found) {
    let views: HashMap<Uuid, &View> = observed.views.iter().map(|view| (view.id, view)).collect();
    for (order, fold) in folds {
        let expected = fold.states.last().and_then(|(position, state)| {
            let version = i32::try_from(fold.states.len()).ok()?;
            view_of(state, version, *position)
        });
        let shown = views.get(order).copied();
        found.add_unless(shown == expected.as_ref(), Rule::View, || {
            format!("order {order} is {shown:?} and should be {expected:?}")
        });
    }
    for view in &observed.views {
        let is_of_order = folds.contains_key(&view.id);
        found.add_unless(is_of_order, Rule::View, || {
            format!("{view:?} has no events")
        });
    }
    for (order, reason) in &observed.parked {
        found.add(Rule::Parked, format!("order {order}: {reason}"));
    }
    check_checkpoint(observed, found);
}

fn check_checkpoint(observed: &Observed, found: &mut Found) {
    let last = observed.events.last().map_or(0, |event| event.position);
    let checkpoint = observed.checkpoint;
    found.add_unless(checkpoint >= last, Rule::View, || {
        format!("the checkpoint is at {checkpoint} of {last}")
    });
    for moves in observed.checkpoint_moves.windows(2) {
        let ((before, old), (after, new)) = (moves[0], moves[1]);
        found.add_unless(before < after && old <= new, Rule::Checkpoint, || {
            format!("from {before} in epoch {old} to {after} in epoch {new}")
        });
    }
}

/// The view that the read model should hold for a state.
fn view_of(state: &Order, version: i32, position: i64) -> Option<View> {
    let order = state.state()?;
    let items = order.lines.iter().map(|line| {
        let product = line.product_id.as_str().to_owned();
        (
            line.item_id.get(),
            product,
            line.quantity.get(),
            line.price.minor(),
        )
    });
    Some(View {
        id: order.id.get(),
        customer_id: order.customer_id.as_str().to_owned(),
        status: order.status.as_str().to_owned(),
        total_minor: order.total.minor(),
        item_count: i32::try_from(order.lines.len()).ok()?,
        total_quantity: i64::try_from(order.total_quantity).ok()?,
        version,
        position,
        cancellation_reason: order
            .cancellation_reason
            .as_ref()
            .map(|reason| reason.as_str().to_owned()),
        items: items.collect(),
    })
}
