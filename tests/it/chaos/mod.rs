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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_whatever_is_killed_when() {
    let servers = Servers::start("chaos-short").await;
    for seed in SHORT {
        let report = Round::seeded(seed).play(&servers).await;
        eprintln!("{report}");
        report.assert_clean();
    }
    servers.stop().await;
}

/// `make chaos`: as many rounds as one likes, until one fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a quarter of a minute a round; make chaos runs it"]
async fn many_rounds() {
    let number = |name: &str, default| match env::var(name) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => default,
    };
    let first: u64 = number("ORDERS_CHAOS_SEED", 1);
    let rounds: u64 = number("ORDERS_CHAOS_ROUNDS", 100);
    let servers = Servers::start("chaos-long").await;
    for seed in first..first + rounds {
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
