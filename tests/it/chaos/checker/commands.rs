//! Compares commands with the store: an acknowledged command is stored once, a refused one never, one
//! with an unknown outcome at most once.

use std::collections::HashMap;

use serde_json::Value;

use super::{Found, Rule};
use crate::chaos::{
    history::{Action, Answer, Applied, Attempt, Command},
    observe::{Event, Observed},
};

/// The attempts and the events of a command.
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
            None => found.add(Rule::Phantom, format!("no client sent {event:?}")),
        }
    }
    for (command, case) in observed.commands.iter().zip(&cases) {
        check_effect(command, case, found);
        check_attempts(command, case, found);
        check_key(command, case, found);
    }
    check_positions(observed, &attempt_of, found);
}

/// Checks that the command has its effect as often as it should, and that it is the right one.
fn check_effect(command: &Command, case: &Case, found: &mut Found) {
    let answers = || case.attempts.iter().map(|attempt| &attempt.answer);
    let is_acknowledged =
        answers().any(|answer| matches!(answer, Answer::Applied(_) | Answer::AppliedBefore));
    let is_unknown = answers().any(|answer| matches!(answer, Answer::Unknown(_)));
    let case_of = || format!("{command}: {:?} led to {:?}", case.attempts, case.events);
    match case.events.len() {
        0 => found.add_unless(!is_acknowledged, Rule::Lost, case_of),
        1 => found.add_unless(is_acknowledged || is_unknown, Rule::Phantom, case_of),
        _ => found.add(Rule::Doubled, case_of()),
    }
    for event in &case.events {
        let is_right = is_effect(command, event);
        found.add_unless(is_right, Rule::OtherEffect, case_of);
        if let Some(condition) = command.condition {
            let is_met = event.version == condition.version() + 1;
            found.add_unless(is_met, Rule::OtherEffect, case_of);
        }
    }
}

/// Compares each answer with the events of its own attempt.
fn check_attempts(command: &Command, case: &Case, found: &mut Found) {
    for attempt in &case.attempts {
        let own: Vec<_> = case
            .events
            .iter()
            .filter(|event| event.request_id == attempt.request_id)
            .collect();
        let case_of = || format!("{command}: {attempt:?} led to {own:?}");
        match &attempt.answer {
            Answer::Applied(done) if !done.is_replayed => {
                found.add_unless(!own.is_empty(), Rule::Lost, case_of);
                for event in &own {
                    found.add_unless(acknowledges(done, event), Rule::OtherEffect, case_of);
                }
            }
            Answer::Applied(_)
            | Answer::AppliedBefore
            | Answer::Refused(_)
            | Answer::NotApplied(_) => {
                found.add_unless(own.is_empty(), Rule::Phantom, case_of);
            }
            Answer::Unexpected(_) => found.add(Rule::Failure, case_of()),
            Answer::Unknown(_) => {}
        }
        // Each chosen id of a line is used by one command only, so a command can only conflict with
        // itself.
        let conflicts_with_itself =
            attempt.answer == Answer::Refused("item_already_exists".to_owned());
        found.add_unless(!conflicts_with_itself, Rule::Key, case_of);
    }
}

/// Whether an acknowledgement belongs to this event: order, version and position.
fn acknowledges(done: &Applied, event: &Event) -> bool {
    (done.order, done.shown.version, done.position) == (event.order, event.version, event.position)
}

/// Checks that a repeated key is answered with the first answer, byte for byte, and is never refused
/// once the command has an effect.
fn check_key(command: &Command, case: &Case, found: &mut Found) {
    let done: Vec<&Applied> = case
        .attempts
        .iter()
        .filter_map(|attempt| match &attempt.answer {
            Answer::Applied(done) => Some(done),
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
        // A line that was added between the attempts makes the order completable.
        if matches!(&attempt.answer, Answer::Refused(code) if code != "order_has_no_items") {
            let what = format!("{command} is applied, yet {attempt:?}: {:?}", case.events);
            found.add(Rule::Key, what);
        }
    }
}

/// Checks that the event of a command lies after all events that were acknowledged before the command
/// was sent.
fn check_positions(observed: &Observed, attempt_of: &HashMap<&str, &Attempt>, found: &mut Found) {
    let mut acknowledged: Vec<_> = observed
        .attempts
        .iter()
        .filter_map(|attempt| match &attempt.answer {
            Answer::Applied(done) => Some((attempt.answered, done.position)),
            _ => None,
        })
        .collect();
    acknowledged.sort_unstable();
    let mut sent: Vec<_> = observed
        .events
        .iter()
        .filter_map(|event| Some((attempt_of.get(event.request_id.as_str())?.sent, event)))
        .collect();
    sent.sort_by_key(|(sent, _)| *sent);
    let mut acknowledged = acknowledged.into_iter().peekable();
    let mut highest = 0;
    for (sent, event) in sent {
        while let Some((_, position)) = acknowledged.next_if(|(answered, _)| *answered < sent) {
            highest = highest.max(position);
        }
        found.add_unless(event.position > highest, Rule::Positions, || {
            format!("position {highest} was acknowledged before {event:?} was sent")
        });
    }
}

/// Whether the event is the effect of the command.
fn is_effect(command: &Command, event: &Event) -> bool {
    let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
    let is_of_order = command.order.is_none_or(|order| order == event.order);
    is_of_order
        && match (&command.action, event.name.as_str()) {
            (
                Action::Create {
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
            (Action::Add(item), "OrderItemAdded") => {
                data["productId"] == *item.product && data["quantity"] == item.quantity
            }
            (Action::Change { item, quantity }, "OrderItemQuantityChanged") => {
                data["itemId"] == item.to_string() && data["quantity"] == *quantity
            }
            (Action::Remove { item }, "OrderItemRemoved") => data["itemId"] == item.to_string(),
            (Action::Complete, "OrderCompleted") => true,
            (Action::Cancel { reason }, "OrderCancelled") => data["reason"] == **reason,
            _ => false,
        }
}
