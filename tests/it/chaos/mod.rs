//! Tests with faults: real servers, two real instances, a proxy on each connection between them, and
//! a seed that decides which faults happen when.
//!
//! A [`round`] plays a [`schedule`] of [`faults`] on a [`fleet`] while the clients of the [`workload`]
//! send commands and reads, and each [`poller`] reads. The [`history`] records these and their answers. When the fleet has
//! caught up, the [`checker`] compares history, store, stream and read model with each other.
//! [`removals`] removes one safeguard after the other; the checker must find what that breaks.
//!
//! `make chaos ROUNDS=100 SEED=1` plays many rounds. A seed always gives the same schedule and the
//! same clients, but not the same timing.

mod checker;
mod client;
mod faults;
mod fleet;
mod history;
mod instance;
mod observe;
mod poller;
mod removals;
mod round;
mod sabotage;
mod schedule;
mod workload;

use std::{collections::BTreeSet, env};

use self::{fleet::Servers, round::Round, schedule::Schedule};

/// The seeds of the short run: with these, nearly all kinds of faults happen.
const SHORT: [u64; 4] = [22, 128, 471, 2508];

#[test]
fn the_short_run_has_nearly_all_kinds_of_faults() {
    let schedules = SHORT.map(Schedule::seeded);
    let faults = schedules.iter().flat_map(|schedule| &schedule.faults);
    let kinds: BTreeSet<_> = faults.map(|scheduled| scheduled.fault.kind()).collect();

    // There are 31 kinds: nineteen, and six modes each of the links to PostgreSQL and to NATS.
    assert_eq!(kinds.len(), 30, "{kinds:?}");
}

/// Plays the short run, or the seeds that `make chaos` sets, until one fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_command_is_lost_or_doubled_under_any_faults() {
    let servers = Servers::start("chaos").await;
    for seed in seeds() {
        let report = Round::seeded(seed).play(&servers).await;
        eprintln!("{report}");
        if report.is_slow() {
            eprintln!("this round was slow:\n{}", report.schedule);
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
