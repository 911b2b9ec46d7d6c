//! Commands against the store: acknowledged ones once, refused ones never, open ones at most once.

use std::collections::HashMap;

use serde_json::Value;

use super::{Found, Rule};
use crate::chaos::{
    history::{Answer, Ask, Attempt, Command, Done},
    observe::{Event, Observed},
};

/// A command with everything that belongs to it.
#[derive(Debug, Default)]
struct Case<'a> {
    attempts: Vec<&'a Attempt>,
    events: Vec<&'a Event>,
}

pub fn check(observed: &Observed, found: &mut Found) {
    let attempt_of: HashMap<&str, &Attempt> = observed
        .attempts
        .iter()
        .map(|attempt| (attempt.request_id.as_str(), attempt))
        .collect();
    let mut cases: Vec<Case> = observed.commands.iter().map(|_| Case::default()).collect();
    for attempt in &observed.attempts {
        cases[attempt.command].attempts.push(attempt);
    }
    for event in &observed.events {
        match attempt_of.get(event.request_id.as_str()) {
            Some(attempt) => cases[attempt.command].events.push(event),
            None => found.add(Rule::Phantom, format!("nobody sent {event:?}")),
        }
    }
    for (command, case) in observed.commands.iter().zip(&cases) {
        check_effect(command, case, found);
        check_attempts(command, case, found);
        check_key(command, case, found);
    }
    check_positions(observed, &attempt_of, found);
}

/// How often the effect is there, and whether it is the one that was asked for.
fn check_effect(command: &Command, case: &Case, found: &mut Found) {
    let answers = || case.attempts.iter().map(|attempt| &attempt.answer);
    let is_acknowledged =
        answers().any(|answer| matches!(answer, Answer::Done(_) | Answer::DoneBefore));
    let is_open = answers().any(|answer| matches!(answer, Answer::Unknown(_)));
    let case_of = || format!("{command}: {:?} led to {:?}", case.attempts, case.events);
    match case.events.len() {
        0 => found.add_unless(!is_acknowledged, Rule::Lost, case_of),
        1 => found.add_unless(is_acknowledged || is_open, Rule::Phantom, case_of),
        _ => found.add(Rule::Doubled, case_of()),
    }
    for event in &case.events {
        let is_asked = is_effect(command, event);
        found.add_unless(is_asked, Rule::OtherEffect, case_of);
        if let Some(condition) = command.condition {
            let is_met = event.version == condition.version() + 1;
            found.add_unless(is_met, Rule::OtherEffect, case_of);
        }
    }
}

/// Each answer against the events of just that attempt.
fn check_attempts(command: &Command, case: &Case, found: &mut Found) {
    for attempt in &case.attempts {
        let own: Vec<_> = case
            .events
            .iter()
            .filter(|event| event.request_id == attempt.request_id)
            .collect();
        let case_of = || format!("{command}: {attempt:?} led to {own:?}");
        match &attempt.answer {
            Answer::Done(done) if !done.is_replayed => {
                found.add_unless(!own.is_empty(), Rule::Lost, case_of);
                for event in &own {
                    found.add_unless(tells(done, event), Rule::OtherEffect, case_of);
                }
            }
            Answer::Done(_) | Answer::DoneBefore | Answer::Refused(_) | Answer::NotApplied(_) => {
                found.add_unless(own.is_empty(), Rule::Phantom, case_of);
            }
            Answer::Senseless(_) => found.add(Rule::Trouble, case_of()),
            Answer::Unknown(_) => {}
        }
        // Ids of lines are never chosen twice, so it could only meet itself.
        let met_itself = attempt.answer == Answer::Refused("item_already_exists".to_owned());
        found.add_unless(!met_itself, Rule::Key, case_of);
    }
}

/// An acknowledgement tells of the event that it is for, and its token is that event's.
fn tells(done: &Done, event: &Event) -> bool {
    (done.order, done.shown.version, done.position) == (event.order, event.version, event.position)
}

/// A key gives its first answer again, byte for byte, and is never refused once it has an effect.
fn check_key(command: &Command, case: &Case, found: &mut Found) {
    let done: Vec<&Done> = case
        .attempts
        .iter()
        .filter_map(|attempt| match &attempt.answer {
            Answer::Done(done) => Some(done),
            _ => None,
        })
        .collect();
    for pair in done.windows(2) {
        let is_same = (&pair[0].body, pair[0].position) == (&pair[1].body, pair[1].position);
        found.add_unless(is_same, Rule::Key, || format!("{command}: {pair:?}"));
    }
    if command.key.is_none() || case.events.is_empty() {
        return;
    }
    for attempt in &case.attempts {
        // A line that comes later makes completing possible after all.
        if matches!(&attempt.answer, Answer::Refused(code) if code != "order_has_no_items") {
            let what = format!("{command} is applied, yet {attempt:?}: {:?}", case.events);
            found.add(Rule::Key, what);
        }
    }
}

/// What was acknowledged before something else was asked for lies before it.
fn check_positions(observed: &Observed, attempt_of: &HashMap<&str, &Attempt>, found: &mut Found) {
    let mut acknowledged: Vec<_> = observed
        .attempts
        .iter()
        .filter_map(|attempt| match &attempt.answer {
            Answer::Done(done) => Some((attempt.answered, done.position)),
            _ => None,
        })
        .collect();
    acknowledged.sort_unstable();
    let mut asked: Vec<_> = observed
        .events
        .iter()
        .filter_map(|event| Some((attempt_of.get(event.request_id.as_str())?.asked, event)))
        .collect();
    asked.sort_by_key(|(asked, _)| *asked);
    let mut acknowledged = acknowledged.into_iter().peekable();
    let mut highest = 0;
    for (asked, event) in asked {
        while let Some((_, position)) = acknowledged.next_if(|(answered, _)| *answered < asked) {
            highest = highest.max(position);
        }
        found.add_unless(event.position > highest, Rule::Positions, || {
            format!("position {highest} was acknowledged before {event:?} was asked for")
        });
    }
}

/// Whether the event is what the command asks for.
fn is_effect(command: &Command, event: &Event) -> bool {
    let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
    let is_of_order = command.order.is_none_or(|order| order == event.order);
    is_of_order
        && match (&command.ask, event.name.as_str()) {
            (
                Ask::Create {
                    customer, items, ..
                },
                "OrderCreated",
            ) => {
                let found = data["items"].as_array().cloned().unwrap_or_default();
                data["customerId"] == **customer
                    && found.len() == items.len()
                    && found
                        .iter()
                        .zip(items)
                        .all(|(found, item)| found["productId"] == *item.product)
            }
            (Ask::Add(item), "OrderItemAdded") => {
                data["productId"] == *item.product && data["quantity"] == item.quantity
            }
            (Ask::Change { item, quantity }, "OrderItemQuantityChanged") => {
                data["itemId"] == item.to_string() && data["quantity"] == *quantity
            }
            (Ask::Remove { item }, "OrderItemRemoved") => data["itemId"] == item.to_string(),
            (Ask::Complete, "OrderCompleted") => true,
            (Ask::Cancel { reason }, "OrderCancelled") => data["reason"] == **reason,
            _ => false,
        }
}
