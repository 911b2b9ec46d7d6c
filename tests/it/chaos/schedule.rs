//! The schedule of a round's faults: made from a seed, or by hand.

use std::{fmt, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::support::proxy::Mode;

/// Pauses in milliseconds that are longer than the leases of relay and projector (five seconds).
const LONGER_THAN_THE_LEASE: std::ops::Range<u64> = 5400..6800;
/// How long NATS is away, in milliseconds: longer than a read waits.
const LONG_AWAY: std::ops::Range<u64> = 4000..12000;
/// How long a disk is full, in milliseconds.
const FULL: std::ops::Range<u64> = 500..4000;
/// When faults begin, in milliseconds.
const BEGIN: std::ops::Range<u64> = 300..4500;

/// The server at the end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerKind {
    Postgres,
    Nats,
}

/// A fault. An instance is named by its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// No fault, for this time.
    Calm(Duration),
    /// `kill -9` of an instance, which is started again.
    KillInstance(usize),
    /// SIGSTOP of an instance, and SIGCONT after this time.
    PauseInstance(usize, Duration),
    /// `kill -9` of nats-server, which is started again.
    KillNats,
    /// SIGSTOP of nats-server, and SIGCONT after this time.
    PauseNats(Duration),
    /// nats-server is stopped for this time.
    StopNats(Duration),
    /// A program that is not ours publishes this many messages that look like events.
    ForgeMessages(usize),
    /// `kill -9` of nats-server, which is started again on an empty directory.
    LoseNatsStore,
    /// All messages of the stream are purged.
    PurgeStream,
    /// The stream is deleted.
    DeleteStream,
    /// `kill -9` of PostgreSQL's postmaster, which is started again.
    KillPostmaster,
    /// `kill -9` of one backend. PostgreSQL then ends all others and recovers.
    KillBackend,
    /// SIGSTOP of the postmaster, and SIGCONT after this time. Open connections keep working.
    PausePostmaster(Duration),
    /// SIGSTOP of one backend, if possible during an append, and SIGCONT after this time.
    PauseBackend(Duration),
    /// `pg_terminate_backend` of all connections, this many times.
    TerminateBackends(usize),
    /// A link is in this mode for this time.
    Link(usize, ServerKind, Mode, Duration),
    /// The disk of this server is full for this time.
    FillDisk(ServerKind, Duration),
    /// All leases are set to expired, this many times: what they see of a clock that was set forward.
    ExpireLeases(usize),
    /// All leases end an hour later than they should: what they see of a clock that was set back.
    PostponeLeases,
    /// Commits of appends are slow (up to this time) until the faults are over.
    SlowCommits(Duration),
    /// The projection's checkpoint is set back by this number of positions.
    SetBackCheckpoint(i64),
}

/// A fault and when it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduledFault {
    pub at: Duration,
    pub fault: Fault,
}

/// The faults of a round.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schedule {
    pub faults: Vec<ScheduledFault>,
}

impl Schedule {
    /// The schedule of a seed.
    pub fn seeded(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let count = random.random_range(4..=9);
        let mut faults: Vec<_> = (0..count)
            .map(|_| ScheduledFault {
                at: milliseconds(&mut random, BEGIN),
                fault: Fault::any(&mut random),
            })
            .collect();
        faults.sort_by_key(|scheduled| scheduled.at);
        Self { faults }
    }

    /// A schedule made by hand: pairs of begin in milliseconds and fault.
    pub fn of(faults: impl IntoIterator<Item = (u64, Fault)>) -> Self {
        let faults = faults.into_iter().map(|(at, fault)| ScheduledFault {
            at: Duration::from_millis(at),
            fault,
        });
        Self {
            faults: faults.collect(),
        }
    }
}

impl Fault {
    /// The kind of the fault, without its instance and its time.
    pub fn kind(&self) -> String {
        match self {
            Self::Link(_, server, mode, _) => {
                let mode = format!("{mode:?}");
                let mode = mode.split('(').next().unwrap_or_default().to_owned();
                format!("{server:?} {mode}")
            }
            Self::FillDisk(server, _) => format!("{server:?} disk full"),
            other => {
                let fault = format!("{other:?}");
                fault.split('(').next().unwrap_or_default().to_owned()
            }
        }
    }

    fn any(random: &mut StdRng) -> Self {
        let instance = random.random_range(0..2);
        match random.random_range(0..27) {
            0 | 1 => Self::KillInstance(instance),
            2 => Self::PauseInstance(instance, milliseconds(random, LONGER_THAN_THE_LEASE)),
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
                    instance,
                    ServerKind::Postgres,
                    mode,
                    milliseconds(random, 500..6000),
                )
            }
            20 => Self::StopNats(milliseconds(random, LONG_AWAY)),
            21 => Self::ForgeMessages(random.random_range(1..20)),
            22 => Self::FillDisk(ServerKind::Postgres, milliseconds(random, FULL)),
            23 => Self::FillDisk(ServerKind::Nats, milliseconds(random, FULL)),
            24 => Self::PostponeLeases,
            _ => {
                let mode = any_mode(random);
                Self::Link(
                    instance,
                    ServerKind::Nats,
                    mode,
                    milliseconds(random, 500..6000),
                )
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
        for scheduled in &self.faults {
            writeln!(
                f,
                "  {:>5} ms  {:?}",
                scheduled.at.as_millis(),
                scheduled.fault
            )?;
        }
        Ok(())
    }
}

#[test]
fn a_seed_makes_the_same_schedule_each_time() {
    assert_eq!(Schedule::seeded(7), Schedule::seeded(7));
    assert_ne!(Schedule::seeded(7), Schedule::seeded(8));
}
