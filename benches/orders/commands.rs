//! Rows of commands: each as commands answered, and as commands *sustained*, which counts the time
//! until the read model shows them all. Relay and projector run in both.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::{
    Bench,
    floors::{self, Floor},
    load::{Load, Run, Script},
    report::{Details, Figure, Report, percentiles},
    scripts::{AddItem, Create},
};

/// At how many connections commands are measured.
const CONNECTIONS: [usize; 4] = [1, 16, 64, 256];
/// How long the read model may take to catch up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A kind of command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    AddItem,
    AddItemKeyed,
    Create,
}

const KINDS: [(Kind, &str); 3] = [
    (Kind::AddItem, "add-item"),
    (Kind::AddItemKeyed, "add-item-keyed"),
    (Kind::Create, "create-5"),
];

/// The names of all rows.
pub fn names() -> Vec<String> {
    let all = CONNECTIONS.iter().flat_map(|&connections| {
        let rows = KINDS
            .iter()
            .map(move |&(_, name)| format!("{name}@{connections}"));
        [format!("floor-1a@{connections}")].into_iter().chain(rows)
    });
    all.collect()
}

/// What commands gave.
pub struct Measured {
    run: Run,
    /// Until the read model showed the last one.
    sustained_seconds: f64,
    details: Details,
}

/// Measures all kinds that are asked for, at all numbers of connections.
pub async fn measure(bench: &mut Bench, report: &mut Report) -> anyhow::Result<()> {
    for connections in CONNECTIONS {
        let is_wanted = |(_, name): &&(Kind, &'static str)| {
            bench.options.wants(&format!("{name}@{connections}"))
        };
        let kinds: Vec<_> = KINDS.iter().filter(is_wanted).copied().collect();
        let with_insert = bench.options.wants(&format!("floor-1a@{connections}"));
        if kinds.is_empty() && !with_insert {
            continue;
        }
        for _ in 0..bench.options.rounds {
            round(bench, report, connections, &kinds, with_insert).await?;
        }
    }
    Ok(())
}

/// The floors, then each kind: A B C A B C …
async fn round(
    bench: &mut Bench,
    report: &mut Report,
    connections: usize,
    kinds: &[(Kind, &str)],
    with_insert: bool,
) -> anyhow::Result<()> {
    bench.renew_orders_where_grown().await?;
    let duration = bench.options.duration;
    let floor = bench
        .floors
        .run(floors::LOAD_AND_INSERT, connections, duration)?;
    if with_insert {
        let insert = bench.floors.run(floors::INSERT, connections, duration)?;
        let details = Details {
            micros: Some(percentiles(&insert.micros)),
            processor: None,
        };
        let name = format!("floor-1a@{connections}");
        report.add(&name, rate(insert.rate, &floor), details);
    }
    for &(kind, name) in kinds {
        let measured = bench.send_kind(kind, connections).await?;
        add(report, &format!("{name}@{connections}"), &measured, &floor);
    }
    Ok(())
}

fn rate(value: f64, floor: &Floor) -> Figure {
    Figure {
        value,
        unit: "/s",
        floor: "1b, same clients",
        floor_value: floor.rate,
    }
}

/// The rows of one kind at one number of connections.
fn add(report: &mut Report, name: &str, measured: &Measured, floor: &Floor) {
    let run = &measured.run;
    report.add(name, rate(run.rate(), floor), measured.details);
    let sustained = run.micros.len() as f64 / measured.sustained_seconds;
    let name_of = |what: &str| format!("{name} {what}");
    report.add(
        &name_of("sustained"),
        rate(sustained, floor),
        Details::default(),
    );
    let (own, floors) = (percentiles(&run.micros), percentiles(&floor.micros));
    for (index, what) in ["p50", "p99"].into_iter().enumerate() {
        let figure = Figure {
            value: own[index] / 1000.0,
            unit: "ms",
            floor: "1b, same clients",
            floor_value: floors[index] / 1000.0,
        };
        report.add(&name_of(what), figure, Details::default());
    }
}

impl Bench {
    async fn send_kind(&mut self, kind: Kind, connections: usize) -> anyhow::Result<Measured> {
        let duration = Some(self.options.duration);
        match kind {
            Kind::AddItem | Kind::AddItemKeyed => {
                let (orders, bodies) = (self.orders.clone(), self.bodies.clone());
                let is_keyed = kind == Kind::AddItemKeyed;
                let mut script = AddItem::new(&orders, &bodies, connections, is_keyed);
                let measured = self.send(connections, duration, &mut script).await?;
                self.added += measured.run.micros.len();
                Ok(measured)
            }
            Kind::Create => {
                let lines = self.lines.clone();
                let mut script = Create::new(&lines, usize::MAX, false);
                self.send(connections, duration, &mut script).await
            }
        }
    }

    /// Sends commands and waits until the read model shows them.
    pub async fn send(
        &self,
        connections: usize,
        duration: Option<Duration>,
        script: &mut dyn Script,
    ) -> anyhow::Result<Measured> {
        self.caught_up().await?;
        let before = self.servers.usage(&self.service)?;
        let load = Load {
            address: self.service.address,
            connections,
            duration,
            rate: None,
        };
        let began = Instant::now();
        let run = load.run(script)?;
        self.caught_up().await?;
        let sustained_seconds = began.elapsed().as_secs_f64();
        let used = self.servers.usage(&self.service)?.since(before);
        let milliseconds = 1000.0 / run.micros.len() as f64;
        let details = Details {
            micros: Some(percentiles(&run.micros)),
            processor: Some([used.service * milliseconds, used.postgres * milliseconds]),
        };
        Ok(Measured {
            run,
            sustained_seconds,
            details,
        })
    }

    /// Waits until the read model holds every event.
    pub async fn caught_up(&self) -> anyhow::Result<()> {
        let last = self.last_position().await?;
        let began = Instant::now();
        loop {
            let reached: i64 =
                sqlx::query_scalar("select max(position) from projection_checkpoint")
                    .fetch_one(&self.servers.pool)
                    .await?;
            if reached >= last {
                return Ok(());
            }
            ensure!(
                began.elapsed() < PATIENCE,
                "the read model stays at {reached}, the store is at {last}"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The last event's position.
    pub async fn last_position(&self) -> anyhow::Result<i64> {
        let last = sqlx::query_scalar("select coalesce(max(position), 0) from events");
        Ok(last.fetch_one(&self.servers.pool).await?)
    }
}
