//! What processes have used, read from `/proc`: processor time, and the memory of the service.

use std::{fs, time::Instant};

use anyhow::Context;

/// Clock ticks a second in `/proc`: a constant of the kernel's interface.
const TICKS: f64 = 100.0;

/// Processor seconds used so far.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    at: Instant,
    /// By the service.
    service: f64,
    /// By all processes of PostgreSQL, including those that have ended.
    postgres: f64,
    /// By nats-server.
    nats: f64,
    /// By the benchmark and the tools that it has run.
    own: f64,
    /// By all processes of the machine, and by the hypervisor.
    all: f64,
}

/// What was used between two points in time.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    /// Processor seconds of the service.
    pub service: f64,
    /// Of PostgreSQL.
    pub postgres: f64,
    /// Of nats-server.
    pub nats: f64,
    /// How many processors other processes used on average. They disturb the measurement.
    pub others: f64,
}

impl Usage {
    /// What these processes have used until now.
    pub fn now(service: u32, postgres: u32, nats: u32) -> anyhow::Result<Self> {
        let benchmark = stat(std::process::id())?;
        Ok(Self {
            at: Instant::now(),
            service: stat(service)?.own,
            postgres: of_process_and_children(postgres)?,
            nats: stat(nats)?.own,
            own: benchmark.own + benchmark.ended_children,
            all: of_all_processes()?,
        })
    }

    /// What was used since an earlier look.
    pub fn since(self, before: Self) -> Spent {
        let [service, postgres, nats] = [
            self.service - before.service,
            self.postgres - before.postgres,
            self.nats - before.nats,
        ];
        let ours = service + postgres + nats + self.own - before.own;
        let seconds = (self.at - before.at).as_secs_f64();
        let others = (self.all - before.all - ours) / seconds;
        Spent {
            service,
            postgres,
            nats,
            others: others.max(0.0),
        }
    }
}

fn of_all_processes() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("an empty file")?;
    let ticks = line.split_whitespace().skip(1).map(str::parse::<f64>);
    let ticks = ticks.collect::<Result<Vec<_>, _>>()?;
    // user nice system idle iowait irq softirq steal
    let busy = [0, 1, 2, 5, 6, 7].into_iter();
    let busy: f64 = busy.filter_map(|index| ticks.get(index)).sum();
    Ok(busy / TICKS)
}

/// A process as `/proc/<pid>/stat` shows it.
#[derive(Debug, Clone, Copy)]
struct Stat {
    parent: u32,
    own: f64,
    ended_children: f64,
}

/// Processor seconds of a process and its children, including children that have ended.
fn of_process_and_children(pid: u32) -> anyhow::Result<f64> {
    let parent = stat(pid)?;
    let mut seconds = parent.own + parent.ended_children;
    for entry in fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name();
        let Some(child) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A child that has just ended is counted with the ended children next time.
        if let Ok(child) = stat(child)
            && child.parent == pid
        {
            seconds += child.own;
        }
    }
    Ok(seconds)
}

/// The largest amount of memory that a process has used so far, in MB.
pub fn peak_memory(pid: u32) -> anyhow::Result<f64> {
    status_field(pid, "VmHWM:")
}

/// The memory that a process uses, in MB.
pub fn memory(pid: u32) -> anyhow::Result<f64> {
    status_field(pid, "VmRSS:")
}

fn status_field(pid: u32, field: &str) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    let kilobytes: f64 = kilobytes.context("no such field")?.parse()?;
    Ok(kilobytes / 1024.0)
}

fn stat(pid: u32) -> anyhow::Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may contain any characters.
    let (_, rest) = text.rsplit_once(") ").context("a name in parentheses")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |index: usize| -> anyhow::Result<f64> {
        Ok(fields.get(index).context("too few fields")?.parse()?)
    };
    Ok(Stat {
        parent: fields.get(1).context("too few fields")?.parse()?,
        own: (ticks(11)? + ticks(12)?) / TICKS,
        ended_children: (ticks(13)? + ticks(14)?) / TICKS,
    })
}
