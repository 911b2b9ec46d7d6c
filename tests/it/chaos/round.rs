//! One round: start the fleet, run the clients while faults happen, wait until all has caught up,
//! check.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinSet, time::sleep};

use super::{
    checker::{self, Rule, Violation},
    client::Client,
    fleet::{Fleet, Servers},
    history::{Answer, History},
    observe::{self, Observed},
    poller::Poller,
    sabotage::Safeguard,
    schedule::Schedule,
    workload::{Customer, Shared},
};

/// How many clients run at once.
const CUSTOMERS: u64 = 16;
/// How many readers poll each instance.
const POLLERS: u64 = 4;
/// How long the clients continue after the last fault: the load after a recovery is checked, too.
const AFTER_FAULTS: Duration = Duration::from_millis(700);
/// How many violations are shown.
const SHOWN: usize = 12;

/// A round to be played.
pub struct Round {
    pub seed: u64,
    pub schedule: Schedule,
    /// The safeguard that is removed from the service.
    pub without: Option<Safeguard>,
}

/// Prints the seed and the schedule if the test itself panics.
struct PrintOnPanic(u64, Schedule);

impl Drop for PrintOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in the round of seed {}:\n{}", self.0, self.1);
        }
    }
}

/// The result of a round.
#[derive(Debug)]
pub struct Report {
    seed: u64,
    pub schedule: Schedule,
    commands: usize,
    acknowledged: usize,
    unknown: usize,
    events: usize,
    reads: usize,
    elapsed: Duration,
    pub violations: Vec<Violation>,
}

impl Round {
    /// The round of a seed.
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            schedule: Schedule::seeded(seed),
            without: None,
        }
    }

    /// Plays it on these servers.
    pub async fn play(self, servers: &Servers) -> Report {
        let _print_on_panic = PrintOnPanic(self.seed, self.schedule.clone());
        let began = Instant::now();
        let sql = self.without.map(Safeguard::sql).unwrap_or_default();
        let variable = self.without.and_then(Safeguard::name);
        let variables: Vec<_> = variable
            .map(|name| ("ORDERS_SABOTAGE", name))
            .into_iter()
            .collect();
        let name = format!("round_{}", self.seed);
        let fleet = Fleet::start(servers, &name, &sql, &variables).await;
        let history = Arc::new(History::new());
        self.run_clients(&fleet, &history).await;

        let quiet = observe::wait_until_quiet(&fleet).await;
        let mut observed = match observe::observe(&fleet, &history).await {
            Ok(observed) => observed,
            Err(error) => Observed {
                failures: vec![format!("nothing can be observed: {error:#}")],
                ..Observed::default()
            },
        };
        observed.failures.extend(quiet.err());
        observed.failures.extend(fleet.stop().await);
        let report = self.report(&observed, began.elapsed());
        if report.violations.is_empty() {
            servers.drop_database(&name).await;
        }
        report
    }

    /// Runs the clients while the faults happen.
    async fn run_clients(&self, fleet: &Fleet<'_>, history: &Arc<History>) {
        let shared = Shared::default();
        let (stop, stopped) = watch::channel(false);
        let mut clients = JoinSet::new();
        for number in 0..CUSTOMERS {
            let client = Client::new(fleet.urls(), Arc::clone(history));
            let customer = Customer::new(self.seed, number, client, Arc::clone(&shared));
            clients.spawn(customer.run(stopped.clone()));
        }
        for number in 0..2 * POLLERS {
            let client = Client::new(fleet.urls(), Arc::clone(history));
            let poller = Poller::new(self.seed, number, client, Arc::clone(&shared));
            clients.spawn(poller.run(stopped.clone()));
        }
        for mut url in fleet.urls() {
            let up = url.wait_for(Option::is_some).await;
            drop(up.expect("the instance is supervised"));
        }
        fleet.play(&self.schedule).await;
        sleep(AFTER_FAULTS).await;
        stop.send_replace(true);
        clients.join_all().await;
    }

    fn report(&self, observed: &Observed, elapsed: Duration) -> Report {
        let mut is_acknowledged = vec![false; observed.commands.len()];
        let mut is_unknown = is_acknowledged.clone();
        for attempt in &observed.attempts {
            match attempt.answer {
                Answer::Applied(_) | Answer::AppliedBefore => {
                    is_acknowledged[attempt.command] = true;
                }
                Answer::Unknown(_) => is_unknown[attempt.command] = true,
                _ => {}
            }
        }
        let count = |those: &[bool]| those.iter().filter(|is| **is).count();
        Report {
            seed: self.seed,
            schedule: self.schedule.clone(),
            commands: observed.commands.len(),
            acknowledged: count(&is_acknowledged),
            unknown: count(&is_unknown),
            events: observed.events.len(),
            reads: observed.reads.len(),
            elapsed,
            violations: checker::check(observed),
        }
    }
}

impl Report {
    /// Whether one of these rules was broken.
    pub fn breaks(&self, rules: &[Rule]) -> bool {
        self.violations
            .iter()
            .any(|violation| rules.contains(&violation.rule))
    }

    /// Whether the fleet took long to recover. That is no violation.
    pub fn is_slow(&self) -> bool {
        self.elapsed > Duration::from_secs(20)
    }

    /// The schedule, the first violations, and how to play the round again.
    pub fn details(&self) -> String {
        let mut text = format!("{self}\nschedule:\n{}", self.schedule);
        for violation in self.violations.iter().take(SHOWN) {
            text = format!("{text}{violation}\n");
        }
        let more = self.violations.len().saturating_sub(SHOWN);
        text + &format!(
            "and {more} more; play again: make chaos SEED={} ROUNDS=1",
            self.seed
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {}: {} commands, {} acknowledged, {} once unknown, {} events, {} reads, {} faults, \
             {} violations, {:.1} s",
            self.seed,
            self.commands,
            self.acknowledged,
            self.unknown,
            self.events,
            self.reads,
            self.schedule.faults.len(),
            self.violations.len(),
            self.elapsed.as_secs_f64(),
        )
    }
}
