//! The fault harness: real servers, two real instances, a link of our own between each of them, and
//! a seed that says what goes wrong when.
//!
//! A round plays a [`schedule`] of [`faults`] on a [`fleet`] while the [`workload`] orders; what was
//! asked and answered is the [`history`]. When all is quiet, the [`checker`] holds history, store,
//! stream and read tables against one another. [`sabotage`] takes out one safeguard after the
//! other, and the checker must notice.
//!
//! `make chaos ROUNDS=100 SEED=1` plays many rounds; a seed plays the same schedule and the same
//! clients again (but not the same timing, which is the machine's).

mod checker;
mod client;
mod faults;
mod fleet;
mod history;
mod instance;
mod observe;
mod removals;
mod round;
mod sabotage;
mod schedule;
mod workload;

use std::{collections::BTreeSet, env};

use self::{fleet::Servers, round::Round, schedule::Schedule};

/// The seeds of the short run.
const SHORT: [u64; 3] = [14, 21, 280];

#[test]
fn the_short_run_has_nearly_all_kinds_of_faults() {
    let schedules = SHORT.map(Schedule::seeded);
    let steps = schedules.iter().flat_map(|schedule| &schedule.steps);
    let kinds: BTreeSet<_> = steps.map(|step| step.fault.kind()).collect();

    // Of 26: fourteen, and six modes of the links to PostgreSQL and to NATS.
    assert_eq!(kinds.len(), 24, "{kinds:?}");
}

/// Plays the short run; `make chaos` says which seeds it plays instead, until one fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_whatever_is_killed_when() {
    let servers = Servers::start("chaos").await;
    for seed in seeds() {
        let report = Round::seeded(seed).play(&servers).await;
        eprintln!("{report}");
        if report.is_slow() {
            eprintln!("that took its time:\n{}", report.schedule);
        }
        if !report.violations.is_empty() {
            let kept = servers.data.keep();
            panic!(
                "{}\nits data and logs: {}",
                report.details(),
                kept.display()
            );
        }
    }
    servers.stop().await;
}

fn seeds() -> Vec<u64> {
    let number = |name: &str| {
        let text = env::var(name).ok()?;
        Some(text.parse::<u64>().expect("a number"))
    };
    let first = number("ORDERS_CHAOS_SEED").unwrap_or(1);
    match number("ORDERS_CHAOS_ROUNDS") {
        Some(rounds) => (first..first + rounds).collect(),
        None => SHORT.to_vec(),
    }
}
