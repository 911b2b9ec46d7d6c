//! Reads and answers against the store: none shows what never was, none goes back behind what it
//! promised.

use orders::order::Order;

use super::{
    Found, Rule,
    store::{Fold, Folds},
};
use crate::chaos::{
    history::{Answer, Promise, Read, Shown, Sight},
    observe::Observed,
};

pub fn check(observed: &Observed, folds: &Folds, found: &mut Found) {
    for attempt in &observed.attempts {
        if let Answer::Done(done) = &attempt.answer {
            let was_so = folds
                .get(&done.order)
                .is_some_and(|fold| was(fold, &done.shown));
            found.add_unless(was_so, Rule::Read, || format!("never was: {attempt:?}"));
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
    let promised = match read.promise {
        Promise::Nothing => 0,
        Promise::Token(position) => version_at(fold, position),
        Promise::MinVersion(version) | Promise::Seen(version) => version,
    };
    let projected = match &read.sight {
        Sight::Order(shown, projected) => {
            if !was(fold, shown) {
                return Err("never was");
            }
            if shown.version < promised {
                return Err("older than promised");
            }
            if shown.version < version_at(fold, *projected) {
                return Err("older than its own position");
            }
            Some(*projected)
        }
        Sight::Absent(projected) => {
            if promised > 0 || version_at(fold, *projected) > 0 {
                return Err("was there before");
            }
            Some(*projected)
        }
        Sight::NotModified | Sight::Unavailable => None,
        Sight::Senseless(_) => return Err("makes no sense"),
    };
    match (read.promise, projected) {
        (Promise::Token(position), Some(projected)) if projected < position => {
            Err("projected less than the token asks for")
        }
        _ => Ok(()),
    }
}

/// The order's version up to a position.
fn version_at(fold: &Fold, position: i64) -> i32 {
    let before = fold.states.iter().take_while(|(at, _)| *at <= position);
    i32::try_from(before.count()).unwrap_or(i32::MAX)
}

/// Whether the order ever looked like that.
fn was(fold: &Fold, shown: &Shown) -> bool {
    let index = usize::try_from(shown.version).unwrap_or(0).wrapping_sub(1);
    let state = fold.states.get(index).map(|(_, state)| state);
    state.and_then(shown_of).is_some_and(|mut state| {
        state.version = shown.version;
        state == *shown
    })
}

/// What an answer shows of a state, but for the version.
fn shown_of(state: &Order) -> Option<Shown> {
    let order = state.state()?;
    Some(Shown {
        version: 0,
        status: order.status.as_str().to_owned(),
        item_count: order.lines.len(),
        total_quantity: order.total_quantity,
        total: order.total.display(order.currency).to_string(),
    })
}
