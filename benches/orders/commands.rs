//! Rows of commands. Each is measured twice: until all commands are answered, and *sustained*, until
//! the read model shows them all. Relay and projector run in both.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::ensure;

use super::{
    Bench,
    floors::Floor,
    load::{Load, Run, Script},
    report::{Details, Figure, Report, percentiles},
    scripts::{AddItem, Create, HotOrder, Mix},
    streams::Streams,
};

/// The numbers of connections at which commands are measured.
const CONNECTIONS: [usize; 4] = [1, 16, 64, 256];
/// The most clients of a floor: the private server accepts no more. The floor's rate does not rise
/// beyond 64 clients.
const MOST_CLIENTS: usize = 150;
/// How long the read model may take to catch up. It is slow with a NATS cluster.
const PATIENCE: Duration = Duration::from_mins(3);

/// A row of commands, without its number of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Adds real lines, spread over all orders.
    AddItem,
    /// The same, with an `Idempotency-Key`.
    AddItemKeyed,
    /// The same as `AddItem`, while many clients follow one order each and one client follows all.
    AddItemStreamed,
    /// Creates orders of five real lines.
    Create,
    /// Creates, changes and completes or cancels real orders.
    Mix,
    /// Changes one order from all connections.
    HotOrder,
}

const KINDS: [(Kind, &str); 6] = [
    (Kind::AddItem, "add-item"),
    (Kind::AddItemKeyed, "add-item-keyed"),
    (Kind::Create, "create-5"),
    (Kind::Mix, "mix"),
    (Kind::HotOrder, "hot-order"),
    (Kind::AddItemStreamed, "add-item-101-streams"),
];

/// How many clients follow one order each.
const STREAMS: u64 = 100;

/// The rows at a number of connections. Some rows are measured only at 64.
fn kinds_at(connections: usize) -> impl Iterator<Item = (Kind, String)> {
    let kinds = KINDS.iter().filter(move |(kind, _)| {
        connections == 64 || matches!(kind, Kind::AddItem | Kind::AddItemKeyed | Kind::Create)
    });
    kinds.map(move |(kind, name)| (*kind, format!("{name}@{connections}")))
}

fn insert_at(connections: usize) -> String {
    format!("floor-1a@{connections}")
}

/// The names of all rows.
pub fn names() -> Vec<String> {
    let at = |connections| {
        let commands = kinds_at(connections).map(|(_, name)| name);
        std::iter::once(insert_at(connections)).chain(commands)
    };
    CONNECTIONS.into_iter().flat_map(at).collect()
}

/// The result of sending commands.
pub struct Measured {
    pub run: Run,
    /// The time until the read model showed the last command.
    sustained_seconds: f64,
    details: Details,
}

impl Measured {
    /// Commands a second, until the read model showed the last one.
    pub fn sustained(&self) -> f64 {
        self.run.micros.len() as f64 / self.sustained_seconds
    }
}

/// Measures all wanted kinds at all numbers of connections.
pub async fn measure(bench: &mut Bench, report: &mut Report) -> anyhow::Result<()> {
    let most = bench.options.most_connections;
    for connections in CONNECTIONS.into_iter().filter(|&count| count <= most) {
        let kinds: Vec<_> = kinds_at(connections)
            .filter(|(_, name)| bench.options.wants(name))
            .collect();
        let with_insert = bench.options.wants(&insert_at(connections));
        if kinds.is_empty() && !with_insert {
            continue;
        }
        for _ in 0..bench.options.rounds {
            round(bench, report, connections, &kinds, with_insert).await?;
        }
    }
    Ok(())
}

/// One round: the floors, then each kind. Rounds are repeated, so that all rows see the same load of
/// the machine.
async fn round(
    bench: &mut Bench,
    report: &mut Report,
    connections: usize,
    kinds: &[(Kind, String)],
    with_insert: bool,
) -> anyhow::Result<()> {
    bench.renew_grown_orders().await?;
    let duration = bench.options.duration;
    let clients = connections.min(MOST_CLIENTS);
    let before = bench.usage()?;
    let floor = bench.floors.load_and_insert(clients, duration)?;
    let used = bench.usage()?.since(before);
    let details = Details::of_latencies(&floor.micros).with_usage(used, floor.micros.len());
    let name = format!("floor-1b@{connections}");
    report.add(&name, Figure::alone(floor.rate, "/s"), details);
    if with_insert {
        let insert = bench.floors.insert(clients, duration)?;
        let details = Details::of_latencies(&insert.micros);
        report.add(&insert_at(connections), rate(insert.rate, &floor), details);
    }
    for (kind, name) in kinds {
        let measured = bench.send_kind(*kind, connections).await?;
        add(report, name, &measured, &floor);
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
    let sustained = rate(measured.sustained(), floor);
    report.add(&format!("{name} sustained"), sustained, Details::default());
    let latency = match name {
        "add-item@1" => (0, "p50"),
        "add-item@64" => (1, "p99"),
        _ => return,
    };
    let (index, what) = latency;
    let milliseconds = |micros: &[f64]| percentiles(micros)[index] / 1000.0;
    let figure = Figure {
        value: milliseconds(&run.micros),
        unit: "ms",
        floor: "1b, same clients",
        floor_value: milliseconds(&floor.micros),
    };
    report.add(&format!("{name} {what}"), figure, Details::default());
}

impl Bench {
    async fn send_kind(&mut self, kind: Kind, connections: usize) -> anyhow::Result<Measured> {
        let load = self.load(connections);
        match kind {
            Kind::AddItem | Kind::AddItemKeyed => {
                let mut script = self.add_item(connections, kind == Kind::AddItemKeyed);
                let measured = self.send(&load, &mut script).await?;
                self.added += measured.run.micros.len();
                Ok(measured)
            }
            Kind::AddItemStreamed => {
                let followed = self.orders.clone().take(STREAMS as usize);
                let streams = Streams::open(self.service.address, followed)?;
                let mut script = self.add_item(connections, false);
                let measured = self.send(&load, &mut script).await?;
                self.added += measured.run.micros.len();
                streams.close()?;
                Ok(measured)
            }
            Kind::Create => {
                let mut script = Create::new(Rc::clone(&self.lines), self.next_order..u64::MAX);
                let measured = self.send(&load, &mut script).await;
                self.next_order = script.next;
                measured
            }
            Kind::Mix => {
                let lines = Rc::clone(&self.lines);
                let mut script = Mix::new(lines, self.next_order, connections);
                let measured = self.send(&load, &mut script).await;
                self.next_order = script.next;
                measured
            }
            Kind::HotOrder => {
                let mut script = HotOrder::new(self.next_order);
                self.next_order += 1;
                self.send(&self.load(1).until_the_end(), &mut script)
                    .await?;
                self.send(&load, &mut script.created()).await
            }
        }
    }

    /// The script that adds lines to the current orders.
    pub fn add_item(&self, connections: usize, is_keyed: bool) -> AddItem {
        let (orders, bodies) = (self.orders.clone(), Rc::clone(&self.bodies));
        AddItem::new(orders, bodies, connections, is_keyed)
    }

    /// Sends commands and waits until the read model shows them.
    pub async fn send(&self, load: &Load, script: &mut dyn Script) -> anyhow::Result<Measured> {
        self.caught_up().await?;
        let before = self.usage()?;
        let began = Instant::now();
        let run = load.clone().run(script)?;
        self.caught_up().await?;
        let sustained_seconds = began.elapsed().as_secs_f64();
        let used = self.usage()?.since(before);
        let details = Details::of_latencies(&run.micros).with_usage(used, run.micros.len());
        Ok(Measured {
            run,
            sustained_seconds,
            details,
        })
    }

    /// Waits until the read model holds every event.
    pub async fn caught_up(&self) -> anyhow::Result<()> {
        let last: i64 = sqlx::query_scalar("select coalesce(max(position), 0) from events")
            .fetch_one(&self.servers.pool)
            .await?;
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
}
