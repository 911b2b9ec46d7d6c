//! Compares reads and answers with the store: each shows a state that existed, and none is older than
//! it may be.

use orders::order::Order;

use super::{
    Found, Rule,
    store::{Fold, Folds},
};
use crate::chaos::{
    history::{Answer, Consistency, Read, ReadAnswer, ShownOrder},
    observe::Observed,
};

pub fn check(observed: &Observed, folds: &Folds, found: &mut Found) {
    for attempt in &observed.attempts {
        if let Answer::Applied(done) = &attempt.answer {
            let existed = folds
                .get(&done.order)
                .is_some_and(|fold| existed_in(fold, &done.shown));
            found.add_unless(existed, Rule::Read, || {
                format!("this state never existed: {attempt:?}")
            });
        }
    }
    let none = Fold::default();
    for read in &observed.reads {
        let fold = folds.get(&read.order).unwrap_or(&none);
        if let Err(why) = check_read(read, fold) {
            found.add(Rule::Read, format!("{why}: {read:?}"));
        }
    }
}

fn check_read(read: &Read, fold: &Fold) -> Result<(), &'static str> {
    let required = match read.consistency {
        Consistency::Nothing => 0,
        Consistency::Token(position) => version_at(fold, position),
        Consistency::MinVersion(version) | Consistency::Seen(version) => version,
    };
    let projected = match &read.answer {
        ReadAnswer::Order(shown, projected) => {
            if !existed_in(fold, shown) {
                return Err("this state never existed");
            }
            if shown.version < required {
                return Err("older than required");
            }
            if shown.version < version_at(fold, *projected) {
                return Err("older than its reported position");
            }
            Some(*projected)
        }
        ReadAnswer::Absent(projected) => {
            if required > 0 || version_at(fold, *projected) > 0 {
                return Err("the order existed before");
            }
            Some(*projected)
        }
        ReadAnswer::NotModified | ReadAnswer::Unavailable => None,
        ReadAnswer::Unexpected(_) => return Err("unexpected answer"),
    };
    match (read.consistency, projected) {
        (Consistency::Token(position), Some(projected)) if projected < position => {
            Err("the reported position is before the token")
        }
        _ => Ok(()),
    }
}

/// The order's version up to a position.
fn version_at(fold: &Fold, position: i64) -> i32 {
    let before = fold.states.iter().take_while(|(at, _)| *at <= position);
    i32::try_from(before.count()).unwrap_or(i32::MAX)
}

/// Whether the order was ever in this state.
fn existed_in(fold: &Fold, shown: &ShownOrder) -> bool {
    let index = usize::try_from(shown.version).unwrap_or(0).wrapping_sub(1);
    let state = fold.states.get(index).map(|(_, state)| state);
    state.and_then(shown_of).is_some_and(|mut state| {
        state.version = shown.version;
        state == *shown
    })
}

/// What an answer shows of a state. The version is not set.
fn shown_of(state: &Order) -> Option<ShownOrder> {
    let order = state.state()?;
    Some(ShownOrder {
        version: 0,
        status: order.status.as_str().to_owned(),
        item_count: order.lines.len(),
        total_quantity: order.total_quantity,
        total: order.total.display(order.currency).to_string(),
    })
}
