//! Tests of the checker: each safeguard is removed once, on a schedule that needs it, and the checker
//! must find violations. The same schedule with the safeguard must be clean.

use std::time::Duration;

use super::{
    checker::Rule,
    fleet::Servers,
    round::Round,
    sabotage::Safeguard,
    schedule::{Fault, Schedule},
};

/// How many rounds are tried: in some rounds no command happens to need the safeguard.
const TRIES: u64 = 8;

/// A safeguard, a schedule that needs it, and the rules that are broken without it.
struct Removal {
    safeguard: Safeguard,
    schedule: Schedule,
    breaks: &'static [Rule],
}

impl Removal {
    fn of(safeguard: Safeguard) -> Self {
        let calm = (0, Fault::Calm(Duration::from_secs(3)));
        let (faults, breaks): (_, &[Rule]) = match safeguard {
            Safeguard::AppendLock => (
                vec![calm, (0, Fault::SlowCommits(Duration::from_millis(60)))],
                &[Rule::Positions, Rule::Stream, Rule::View, Rule::Read],
            ),
            // The workload sends some commands to both instances at once, with the same key.
            Safeguard::KeyInTheAppend => (vec![calm], &[Rule::Doubled]),
            Safeguard::ExpectedVersion => (vec![calm], &[Rule::Versions]),
            Safeguard::ExpectedSequence => (vec![(500, Fault::ExpireLeases(400))], &[Rule::Stream]),
            Safeguard::CheckpointInTheTransaction => {
                (vec![(300, Fault::TerminateBackends(20))], &[Rule::View])
            }
            Safeguard::EpochFence => (vec![(500, Fault::ExpireLeases(400))], &[Rule::Checkpoint]),
            Safeguard::VersionGuard => (
                vec![calm, (1500, Fault::SetBackCheckpoint(50))],
                &[Rule::Parked, Rule::View],
            ),
            // The rows stay, and the checkpoint that reads report goes back.
            Safeguard::ShownPosition => (
                vec![calm, (1500, Fault::SetBackCheckpoint(50))],
                &[Rule::WentBack],
            ),
        };
        Self {
            safeguard,
            schedule: Schedule::of(faults),
            breaks,
        }
    }

    fn round(&self, seed: u64, without: Option<Safeguard>) -> Round {
        let schedule = self.schedule.clone();
        Round {
            seed,
            schedule,
            without,
        }
    }

    /// Plays with and without the safeguard. No round of these servers may have used `first` or the
    /// seeds after it.
    async fn is_noticed(&self, servers: &Servers, first: u64) -> bool {
        let control = self.round(first, None).play(servers).await;
        eprintln!("with {:?}: {control}", self.safeguard);
        // A schedule that sets the checkpoint back breaks this one rule itself.
        let unexpected = control.violations.iter();
        let unexpected = unexpected.filter(|violation| !self.excuses(violation.rule));
        assert_eq!(unexpected.count(), 0, "{}", control.details());
        for seed in first + 1..=first + TRIES {
            let report = self.round(seed, Some(self.safeguard)).play(servers).await;
            eprintln!("without {:?}: {report}", self.safeguard);
            if report.breaks(self.breaks) {
                return true;
            }
        }
        false
    }

    fn excuses(&self, rule: Rule) -> bool {
        let sets_back = |fault: &Fault| matches!(fault, Fault::SetBackCheckpoint(_));
        rule == Rule::Checkpoint
            && self
                .schedule
                .faults
                .iter()
                .any(|scheduled| sets_back(&scheduled.fault))
    }
}

/// Removes each of these safeguards, one after the other.
async fn are_noticed(name: &str, safeguards: &[Safeguard]) {
    let servers = Servers::start(name).await;
    for (first, safeguard) in (1..).step_by(10).zip(safeguards) {
        if !Removal::of(*safeguard).is_noticed(&servers, first).await {
            let kept = servers.data.keep();
            panic!(
                "the checker does not notice that {safeguard:?} is removed ({})",
                kept.display()
            );
        }
    }
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_checker_notices_a_removed_safeguard() {
    let in_the_database = [
        Safeguard::AppendLock,
        Safeguard::KeyInTheAppend,
        Safeguard::ExpectedVersion,
    ];
    are_noticed("chaos-database", &in_the_database).await;
    // The program must be built with the feature `sabotage`: make chaos-sabotage.
    if cfg!(feature = "sabotage") {
        let in_the_program = [
            Safeguard::ExpectedSequence,
            Safeguard::CheckpointInTheTransaction,
            Safeguard::EpochFence,
            Safeguard::VersionGuard,
            Safeguard::ShownPosition,
        ];
        are_noticed("chaos-program", &in_the_program).await;
    }
}
