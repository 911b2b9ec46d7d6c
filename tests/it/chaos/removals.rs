//! Checks the checker: each safeguard is taken out once, on a schedule that needs it, and the
//! checker must notice. The same schedule with the safeguard in its place must be clean.

use std::time::Duration;

use super::{
    checker::Rule,
    fleet::Servers,
    round::Round,
    sabotage::Safeguard,
    schedule::{Fault, Schedule},
};

/// How often a removal may stay unnoticed because nobody happened to need the safeguard.
const TRIES: u64 = 4;

/// A safeguard, what needs it, and what is broken without it.
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
                &[Rule::Stream, Rule::View],
            ),
            // Two clients that are one: the workload sends keys to both instances at once.
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

    /// Plays with and without the safeguard. `first` and the numbers after it must be new to the
    /// servers.
    async fn is_noticed(&self, servers: &Servers, first: u64) -> bool {
        let control = self.round(first, None).play(servers).await;
        eprintln!("with {:?}: {control}", self.safeguard);
        // Somebody sets the checkpoint back on purpose, and that is all that may be noticed.
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
                .steps
                .iter()
                .any(|step| sets_back(&step.fault))
    }
}

/// Takes each of these out, one after the other.
async fn are_noticed(name: &str, safeguards: &[Safeguard]) {
    let servers = Servers::start(name).await;
    for (first, safeguard) in (1..).step_by(10).zip(safeguards) {
        if !Removal::of(*safeguard).is_noticed(&servers, first).await {
            let kept = servers.data.keep();
            panic!(
                "nobody notices that {safeguard:?} is gone ({})",
                kept.display()
            );
        }
    }
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn safeguards_taken_out_are_noticed() {
    let in_the_database = [
        Safeguard::AppendLock,
        Safeguard::KeyInTheAppend,
        Safeguard::ExpectedVersion,
    ];
    are_noticed("chaos-database", &in_the_database).await;
    // Only a program built for it can do without these: make chaos-sabotage.
    if cfg!(feature = "sabotage") {
        let in_the_program = [
            Safeguard::ExpectedSequence,
            Safeguard::CheckpointInTheTransaction,
            Safeguard::EpochFence,
            Safeguard::VersionGuard,
        ];
        are_noticed("chaos-program", &in_the_program).await;
    }
}
