//! Tests of the checker with hand-made histories: a correct one, and one for each violation.

mod correct_history;

use std::collections::BTreeSet;

use uuid::Uuid;

use self::correct_history::{ORDER, attempt, correct_history, done, read, shown};
use super::{Rule, check};
use crate::chaos::{
    history::{Answer, Body, Condition, Consistency, Read, ReadAnswer},
    observe::Observed,
};

/// The rules that are broken after this change to the correct history.
fn noticed(change: impl FnOnce(&mut Observed)) -> BTreeSet<Rule> {
    let mut observed = correct_history();
    change(&mut observed);
    check(&observed)
        .into_iter()
        .map(|violation| violation.rule)
        .collect()
}

#[track_caller]
fn assert_notices(rule: Rule, change: impl FnOnce(&mut Observed)) {
    let noticed = noticed(change);
    assert!(noticed.contains(&rule), "{rule:?} is not in {noticed:?}");
}

#[test]
fn a_correct_history_has_no_violations() {
    assert_eq!(check(&correct_history()), []);
}

#[test]
fn an_acknowledged_command_without_an_event_is_noticed() {
    assert_notices(Rule::Lost, |it| drop(it.events.remove(1)));
    assert_notices(Rule::Lost, |it| {
        it.attempts.push(attempt(2, 2, Answer::AppliedBefore));
        it.events.truncate(2);
    });
}

#[test]
fn a_command_with_a_lost_answer_may_have_an_event_or_none() {
    let noticed = noticed(|it| {
        it.events.truncate(2);
        it.stream.truncate(2);
        (it.checkpoint, it.checkpoint_moves) = (3, vec![(1, 1), (3, 1)]);
        it.views[0].status = "created".to_owned();
        (it.views[0].version, it.views[0].position) = (2, 3);
    });

    assert!(noticed.is_empty(), "{noticed:?}");
}

#[test]
fn a_command_with_two_events_is_noticed() {
    let twice = |it: &mut Observed| {
        let mut again = it.events[1].clone();
        (again.position, again.version, again.id) = (5, 4, Uuid::from_u128(5));
        again.request_id = "1.2".to_owned();
        it.events.push(again);
        it.attempts.push(attempt(1, 2, done(4, 5)));
    };
    assert_notices(Rule::Doubled, twice);
    assert_notices(Rule::Illegal, twice);
}

#[test]
fn an_event_of_a_refused_or_unknown_command_is_noticed() {
    let not_applied = Answer::NotApplied("store_unavailable".to_owned());
    assert_notices(Rule::Phantom, |it| it.attempts[2].answer = not_applied);
    assert_notices(Rule::Phantom, |it| {
        it.events[1].request_id = "other".to_owned();
    });
}

#[test]
fn an_event_with_other_data_than_its_command_is_noticed() {
    assert_notices(Rule::OtherEffect, |it| {
        it.events[1].data = it.events[1].data.replace("one", "other");
    });
    assert_notices(Rule::OtherEffect, |it| {
        it.commands[1].condition = Some(Condition::Expected(0));
    });
    assert_notices(Rule::OtherEffect, |it| it.attempts[1].answer = done(2, 1));
}

#[test]
fn another_answer_to_a_repeated_key_is_noticed() {
    assert_notices(Rule::Key, |it| {
        let mut again = done(2, 3);
        if let Answer::Applied(again) = &mut again {
            again.is_replayed = true;
            again.body = Body("other".to_owned());
        }
        it.attempts.push(attempt(1, 2, again));
    });
    assert_notices(Rule::Key, |it| {
        let refused = Answer::Refused("version_conflict".to_owned());
        it.attempts.push(attempt(1, 2, refused));
    });
}

#[test]
fn a_hole_in_the_versions_is_noticed() {
    assert_notices(Rule::Versions, |it| it.events[2].version = 4);
    assert_notices(Rule::Versions, |it| it.events.swap(0, 1));
}

#[test]
fn a_position_before_an_earlier_acknowledged_one_is_noticed() {
    assert_notices(Rule::Positions, |it| it.attempts[0].answer = done(1, 9));
}

#[test]
fn an_event_that_the_domain_would_not_have_decided_is_noticed() {
    assert_notices(Rule::Illegal, |it| drop(it.events.remove(1)));
}

/// Removes a message from the stream.
fn without(message: usize) -> impl FnOnce(&mut Observed) {
    move |it| {
        it.stream.remove(message);
    }
}

#[test]
fn a_stream_that_differs_from_the_store_is_noticed() {
    assert_notices(Rule::Stream, |it| it.stream.truncate(2));
    assert_notices(Rule::Stream, without(1));
    assert_notices(Rule::Stream, |it| it.stream.push(it.stream[2]));
    assert_notices(Rule::Stream, |it| it.stream.swap(1, 2));
    assert_notices(Rule::Stream, |it| it.stream[1].1 = Uuid::nil());
    assert_notices(Rule::Stream, |it| it.stream.clear());
}

#[test]
fn a_purge_allows_missing_messages_only_at_the_front() {
    assert_notices(Rule::Stream, without(0));
    let noticed = noticed(|it| {
        without(0)(it);
        it.purged = 1;
    });
    assert!(noticed.is_empty(), "{noticed:?}");

    assert_notices(Rule::Stream, |it| {
        without(1)(it);
        it.purged = 3;
    });
}

#[test]
fn a_view_that_differs_from_the_fold_is_noticed() {
    assert_notices(Rule::View, |it| it.views[0].total_minor = 600);
    assert_notices(Rule::View, |it| it.views[0].items.clear());
    assert_notices(Rule::View, |it| it.views.clear());
    assert_notices(Rule::View, |it| it.views[0].id = Uuid::nil());
    assert_notices(Rule::View, |it| it.checkpoint = 3);
    assert_notices(Rule::Parked, |it| it.parked.push((ORDER, "why".to_owned())));
}

#[test]
fn a_checkpoint_that_goes_back_is_noticed() {
    assert_notices(Rule::Checkpoint, |it| it.checkpoint_moves.push((2, 2)));
    assert_notices(Rule::Checkpoint, |it| it.checkpoint_moves.push((5, 1)));
}

#[test]
fn a_read_that_is_too_old_is_noticed() {
    // Before the read of the correct history.
    let read =
        |consistency, answer| move |it: &mut Observed| it.reads.push(read(1, consistency, answer));
    let old = || ReadAnswer::Order(shown(1, "created"), 1);
    let imagined = ReadAnswer::Order(shown(2, "completed"), 3);

    assert_notices(Rule::Read, read(Consistency::Token(3), old()));
    assert_notices(Rule::Read, read(Consistency::MinVersion(2), old()));
    assert_notices(Rule::Read, read(Consistency::Seen(2), old()));
    assert_notices(
        Rule::Read,
        read(Consistency::Token(1), ReadAnswer::Absent(1)),
    );
    assert_notices(Rule::Read, read(Consistency::Nothing, imagined));
    assert!(noticed(read(Consistency::Nothing, old())).is_empty());
    assert!(noticed(read(Consistency::Token(3), ReadAnswer::Unavailable)).is_empty());
}

#[test]
fn a_read_that_shows_less_than_an_earlier_one_of_its_process_is_noticed() {
    let plain = |second, version, position| {
        let state = ReadAnswer::Order(shown(version, "created"), position);
        read(second, Consistency::Nothing, state)
    };
    let noticed_after = |later: Read| noticed(|it| it.reads.push(later)).contains(&Rule::WentBack);

    assert!(noticed_after(plain(3, 1, 1)), "both fell");
    assert!(noticed_after(plain(3, 2, 2)), "the position fell");
    assert!(noticed_after(plain(3, 1, 3)), "the version fell");
    let absent = read(3, Consistency::Nothing, ReadAnswer::Absent(3));
    assert!(noticed_after(absent), "the order is gone");
    let elsewhere = Read {
        order: Uuid::nil(),
        ..plain(3, 2, 2)
    };
    assert!(
        noticed_after(elsewhere),
        "the position fell for another order"
    );

    assert!(!noticed_after(plain(3, 2, 3)), "the same again");
    assert!(!noticed_after(plain(2, 1, 1)), "at the same time");
    let restarted = Read {
        process: "http://two".to_owned(),
        ..plain(3, 1, 1)
    };
    assert!(!noticed_after(restarted), "of another process");
    let of_store = Read {
        consistency: Consistency::MinVersion(1),
        ..plain(3, 1, 3)
    };
    assert!(!noticed_after(of_store), "with a required version");
}

#[test]
fn an_answer_with_a_state_that_never_existed_is_noticed() {
    assert_notices(Rule::Read, |it| {
        if let Answer::Applied(done) = &mut it.attempts[1].answer {
            done.shown.total = "4.00".to_owned();
        }
    });
}

#[test]
fn a_process_that_ends_by_itself_is_noticed() {
    assert_notices(Rule::Failure, |it| {
        it.failures.push("it ended".to_owned());
    });
    assert_notices(Rule::Failure, |it| {
        it.attempts[2].answer = Answer::Unexpected("500".to_owned());
    });
}
