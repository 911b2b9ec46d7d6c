//! The plan of a round's faults: made from a seed, or by hand for a purpose.

use std::{fmt, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::support::proxy::Mode;

/// Longer than the leases of relay and projector (five seconds).
const LONGER_THAN_THE_LEASE: std::ops::Range<u64> = 5400..6800;
/// When faults begin.
const BEGIN: std::ops::Range<u64> = 300..4500;

/// One of the two instances of the service.
pub type Which = usize;

/// What a link leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    Postgres,
    Nats,
}

/// Something that goes wrong, or nothing at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing, for so long.
    Calm(Duration),
    /// `kill -9` of an instance, which is started again.
    KillInstance(Which),
    /// SIGSTOP of an instance, and SIGCONT so much later.
    PauseInstance(Which, Duration),
    /// `kill -9` of nats-server, which is started again.
    KillNats,
    /// SIGSTOP of nats-server, and SIGCONT so much later.
    PauseNats(Duration),
    /// `kill -9` of nats-server, which is started again on an empty directory.
    LoseNatsStore,
    /// All messages of the stream are purged.
    PurgeStream,
    /// The stream is deleted.
    DeleteStream,
    /// `kill -9` of PostgreSQL's postmaster, which is started again.
    KillPostmaster,
    /// `kill -9` of one backend, at which PostgreSQL ends all others and recovers.
    KillBackend,
    /// SIGSTOP of the postmaster, and SIGCONT so much later: who is connected stays so.
    PausePostmaster(Duration),
    /// SIGSTOP of one backend, if possible in the middle of an append, and SIGCONT so much later.
    PauseBackend(Duration),
    /// `pg_terminate_backend` of all connections, again and again.
    TerminateBackends(usize),
    /// A link does this for so long.
    Link(Which, Server, Mode, Duration),
    /// The database's clock jumps so that both leases have run out, again and again.
    ExpireLeases(usize),
    /// Commits of appends take their time (up to so long) until the faults are over.
    SlowCommits(Duration),
    /// The projection's checkpoint is set back by so many positions.
    SetBackCheckpoint(i64),
}

/// A fault and when it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub at: Duration,
    pub fault: Fault,
}

/// What goes wrong in a round, and when.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schedule {
    pub steps: Vec<Step>,
}

impl Schedule {
    /// The schedule of a seed: always the same.
    pub fn seeded(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let count = random.random_range(4..=9);
        let mut steps: Vec<_> = (0..count)
            .map(|_| Step {
                at: milliseconds(&mut random, BEGIN),
                fault: Fault::any(&mut random),
            })
            .collect();
        steps.sort_by_key(|step| step.at);
        Self { steps }
    }

    /// A schedule made by hand: milliseconds and faults.
    pub fn of(steps: impl IntoIterator<Item = (u64, Fault)>) -> Self {
        let steps = steps.into_iter().map(|(at, fault)| Step {
            at: Duration::from_millis(at),
            fault,
        });
        Self {
            steps: steps.collect(),
        }
    }
}

impl Fault {
    /// What kind of fault it is, whatever it is done to and for how long.
    pub fn kind(&self) -> String {
        match self {
            Self::Link(_, server, mode, _) => {
                let mode = format!("{mode:?}");
                let mode = mode.split('(').next().unwrap_or_default().to_owned();
                format!("{server:?} {mode}")
            }
            other => {
                let fault = format!("{other:?}");
                fault.split('(').next().unwrap_or_default().to_owned()
            }
        }
    }

    fn any(random: &mut StdRng) -> Self {
        let which = random.random_range(0..2);
        match random.random_range(0..22) {
            0 | 1 => Self::KillInstance(which),
            2 => Self::PauseInstance(which, milliseconds(random, LONGER_THAN_THE_LEASE)),
            3 => Self::KillNats,
            4 => Self::PauseNats(milliseconds(random, LONGER_THAN_THE_LEASE)),
            5 => Self::LoseNatsStore,
            6 => Self::PurgeStream,
            7 => Self::DeleteStream,
            8 => Self::KillPostmaster,
            9 => Self::KillBackend,
            10 => Self::TerminateBackends(random.random_range(1..8)),
            11 => Self::ExpireLeases(random.random_range(1..300)),
            12 => Self::SlowCommits(milliseconds(random, 5..60)),
            13 => Self::PausePostmaster(milliseconds(random, LONGER_THAN_THE_LEASE)),
            14 => Self::PauseBackend(milliseconds(random, LONGER_THAN_THE_LEASE)),
            15..=19 => {
                let mode = any_mode(random);
                Self::Link(
                    which,
                    Server::Postgres,
                    mode,
                    milliseconds(random, 500..6000),
                )
            }
            _ => {
                let mode = any_mode(random);
                Self::Link(which, Server::Nats, mode, milliseconds(random, 500..6000))
            }
        }
    }
}

fn any_mode(random: &mut StdRng) -> Mode {
    match random.random_range(0..6) {
        0 => Mode::CutBefore(random.random_range(3..30)),
        1 => Mode::CutAfter(random.random_range(3..30)),
        2 => Mode::Delay(milliseconds(random, 5..200)),
        3 => Mode::Hold,
        4 => Mode::Blackhole,
        _ => Mode::Refuse,
    }
}

fn milliseconds(random: &mut StdRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(random.random_range(range))
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "  {:>5} ms  {:?}", step.at.as_millis(), step.fault)?;
        }
        Ok(())
    }
}

#[test]
fn a_seed_makes_the_same_schedule_each_time() {
    assert_eq!(Schedule::seeded(7), Schedule::seeded(7));
    assert_ne!(Schedule::seeded(7), Schedule::seeded(8));
}
