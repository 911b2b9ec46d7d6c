//! What the figures mean, in words: the checks that readiness shows.

use std::time::Duration;

use super::{
    figures::{Figures, Relay},
    lag::Lag,
};
use crate::http::operations::checks::{Check, PartState};

/// Events may be this late before that counts as a problem.
const LATE: Duration = Duration::from_secs(5);

/// So long may the relay fail, or a lease be without a holder: a new connection or a new holder takes
/// less.
const GRACE: Duration = Duration::from_secs(2);

/// The checks of all parts.
pub(super) fn checks(figures: &Figures) -> Vec<Check> {
    vec![
        postgres(figures),
        read_model(figures),
        nats(figures.is_nats_connected),
        relay(figures.store.as_ref().ok().map(|store| &store.relay)),
    ]
}

fn check(name: &'static str, status: PartState, detail: impl Into<String>) -> Check {
    Check {
        name,
        status,
        detail: detail.into(),
    }
}

fn postgres(figures: &Figures) -> Check {
    let unavailable = |detail: String| check("postgres", PartState::Unavailable, detail);
    let store = match &figures.store {
        Err(reason) => return unavailable((*reason).to_owned()),
        Ok(store) => store,
    };
    if store.is_standby {
        return unavailable("it is a standby and takes no commands".to_owned());
    }
    if store.is_read_only {
        return unavailable("it is read-only and takes no commands".to_owned());
    }
    if let Some((reason, lasting)) = figures.append_failure {
        let seconds = lasting.as_secs();
        return unavailable(format!("commands have failed for {seconds} s: {reason}"));
    }
    let newest = store.newest;
    let detail = format!("answers; the last event is at position {newest}");
    check("postgres", PartState::Ok, detail)
}

fn read_model(figures: &Figures) -> Check {
    let model = match &figures.read_model {
        Err(reason) => return check("readModel", PartState::Unavailable, *reason),
        Ok(model) => model,
    };
    let store = figures.store.as_ref().ok();
    let (position, Lag { events, late }) = (model.position, model.lag);
    let mut problems = vec![];
    if let Some(newest) = store.map(|store| store.newest)
        && position > newest
    {
        problems.push(format!("ends beyond the store, which ends at {newest}"));
    }
    if late > LATE {
        problems.push(format!(
            "is {events} events and {} s behind",
            late.as_secs()
        ));
    }
    if model.parked > 0 {
        problems.push(format!("{} orders are parked", model.parked));
    }
    let expired = store.map(|store| store.projector_lease_expired_for);
    problems.extend(unattended("projector", expired.unwrap_or_default()));
    problems.extend(figures.projector_alarm.clone());
    if problems.is_empty() {
        let detail = match events {
            0 => format!("holds every event up to position {position}"),
            _ => format!("is at position {position}; {events} events are on their way"),
        };
        return check("readModel", PartState::Ok, detail);
    }
    let detail = format!("is at position {position}; {}", problems.join("; "));
    check("readModel", PartState::Degraded, detail)
}

fn nats(is_connected: bool) -> Check {
    if is_connected {
        return check("nats", PartState::Ok, "connected");
    }
    let detail =
        "this process is not connected; commands and reads go on, nothing is published by it";
    check("nats", PartState::Degraded, detail)
}

fn relay(relay: Option<&Relay>) -> Check {
    let Some(relay) = relay else {
        let detail = "its state is in PostgreSQL, which does not answer";
        return check("relay", PartState::Degraded, detail);
    };
    let Lag { events, late } = relay.lag;
    let mut problems = vec![];
    if let Some((lasting, reason)) = &relay.failure
        && *lasting > GRACE
    {
        problems.push(format!("has failed for {} s: {reason}", lasting.as_secs()));
    }
    if late > LATE {
        let seconds = late.as_secs();
        problems.push(format!(
            "the stream is {events} events and {seconds} s behind"
        ));
    }
    problems.extend(unattended("relay", relay.lease_expired_for));
    if problems.is_empty() {
        let detail = format!(
            "the stream holds every event up to position {}",
            relay.position
        );
        return check("relay", PartState::Ok, detail);
    }
    check("relay", PartState::Degraded, problems.join("; "))
}

/// The problem that no process has the lease of a task.
fn unattended(task: &str, expired_for: Duration) -> Option<String> {
    let seconds = expired_for.as_secs();
    (expired_for > GRACE)
        .then(|| format!("no process has renewed the {task}'s lease for {seconds} s"))
}

#[cfg(test)]
mod tests {
    use PartState::{Degraded, Ok, Unavailable};

    use super::{
        super::figures::{ReadModel, Store},
        *,
    };
    use crate::{event_sourcing::Position, http::operations::checks::Readiness};

    const SECOND: Duration = Duration::from_secs(1);

    fn position(number: i64) -> Position {
        Position::new(number)
    }

    fn figures() -> Figures {
        Figures {
            store: Result::Ok(Store {
                newest: position(9),
                is_standby: false,
                is_read_only: false,
                relay: Relay {
                    position: position(9),
                    lag: Lag::default(),
                    failure: None,
                    lease_expired_for: Duration::ZERO,
                },
                projector_lease_expired_for: Duration::ZERO,
            }),
            read_model: Result::Ok(ReadModel {
                position: position(9),
                lag: Lag::default(),
                parked: 0,
            }),
            append_failure: None,
            is_nats_connected: true,
            projector_alarm: None,
        }
    }

    fn with_store(change: impl FnOnce(&mut Store)) -> Figures {
        let mut figures = figures();
        change(figures.store.as_mut().unwrap());
        figures
    }

    fn with_read_model(change: impl FnOnce(&mut ReadModel)) -> Figures {
        let mut figures = figures();
        change(figures.read_model.as_mut().unwrap());
        figures
    }

    fn with(change: impl FnOnce(&mut Figures)) -> Figures {
        let mut figures = figures();
        change(&mut figures);
        figures
    }

    /// The part that is not well, with its state and its words.
    fn problem(figures: &Figures) -> (&'static str, PartState, String) {
        let problems = checks(figures)
            .into_iter()
            .filter(|check| check.status != PartState::Ok);
        let problems: Vec<_> = problems.collect();
        assert_eq!(problems.len(), 1, "{problems:?}");
        let Check {
            name,
            status,
            detail,
        } = problems[0].clone();
        (name, status, detail)
    }

    #[test]
    fn every_part_is_well_while_nothing_is_wrong() {
        let readiness = Readiness::of(checks(&figures()));

        let names: Vec<_> = readiness.checks.iter().map(|check| check.name).collect();
        assert_eq!(names, ["postgres", "readModel", "nats", "relay"]);
        assert_eq!(readiness.status, PartState::Ok);
    }

    #[test]
    fn a_database_that_takes_no_commands_is_unavailable() {
        let cases = [
            (
                with_store(|store| (store.is_standby, store.is_read_only) = (true, true)),
                "it is a standby and takes no commands",
            ),
            (
                with_store(|store| store.is_read_only = true),
                "it is read-only and takes no commands",
            ),
            (
                with(|figures| figures.append_failure = Some(("the disk is full", 3 * SECOND))),
                "commands have failed for 3 s: the disk is full",
            ),
        ];
        for (figures, words) in cases {
            let unavailable = ("postgres", PartState::Unavailable, words.to_owned());
            assert_eq!(problem(&figures), unavailable);
        }
    }

    #[test]
    fn without_an_answer_of_the_database_the_other_parts_are_not_guessed() {
        let away = "PostgreSQL does not answer";
        let store = with(|figures| figures.store = Err(away));
        let replica = with(|figures| figures.read_model = Err(away));

        let states = |figures| {
            let states: Vec<_> = checks(figures).iter().map(|check| check.status).collect();
            states
        };
        assert_eq!(states(&store), [Unavailable, Ok, Ok, Degraded]);
        assert_eq!(states(&replica), [Ok, Unavailable, Ok, Ok]);
    }

    #[test]
    fn whatever_is_late_stuck_or_parked_is_degraded() {
        let late = Lag {
            events: 4,
            late: 6 * SECOND,
        };
        let cases = [
            (
                with_read_model(|model| model.lag = late),
                "readModel",
                "4 events and 6 s behind",
            ),
            (
                with_read_model(|model| model.parked = 2),
                "readModel",
                "2 orders are parked",
            ),
            (
                with_read_model(|model| model.position = position(12)),
                "readModel",
                "ends beyond the store, which ends at 9",
            ),
            (
                with(|figures| figures.projector_alarm = Some("cannot read".to_owned())),
                "readModel",
                "cannot read",
            ),
            (
                with_store(|store| store.projector_lease_expired_for = 3 * SECOND),
                "readModel",
                "no process has renewed the projector's lease for 3 s",
            ),
            (
                with(|figures| figures.is_nats_connected = false),
                "nats",
                "not connected",
            ),
            (
                with_store(|store| store.relay.lag = late),
                "relay",
                "4 events and 6 s behind",
            ),
            (
                with_store(|store| store.relay.failure = Some((3 * SECOND, "full".to_owned()))),
                "relay",
                "has failed for 3 s: full",
            ),
            (
                with_store(|store| store.relay.lease_expired_for = 3 * SECOND),
                "relay",
                "no process has renewed the relay's lease for 3 s",
            ),
        ];
        for (figures, part, words) in cases {
            let (name, state, detail) = problem(&figures);
            assert_eq!((name, state), (part, PartState::Degraded), "{detail}");
            assert!(detail.contains(words), "{detail}");
        }
    }

    #[test]
    fn what_lasts_only_a_moment_is_no_problem() {
        let moment = Lag {
            events: 4,
            late: SECOND,
        };
        for figures in [
            with_read_model(|model| model.lag = moment),
            with_store(|store| store.relay.lag = moment),
            with_store(|store| store.relay.failure = Some((SECOND, "new leader".to_owned()))),
            with_store(|store| store.relay.lease_expired_for = SECOND),
            with_store(|store| store.projector_lease_expired_for = SECOND),
        ] {
            assert_eq!(Readiness::of(checks(&figures)).status, PartState::Ok);
        }
    }
}
