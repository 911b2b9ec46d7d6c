//! Rows of reads, compared with `GET /health/live`, which costs only HTTP, and with their own SQL
//! statements.

use std::process::Command;

use super::{
    Bench,
    load::{Load, Run, Script},
    report::{Details, Figure, Report},
    scripts::{Etags, Get, Repeat, Unchanged},
};

/// How many connections read.
const CONNECTIONS: usize = 64;
/// How many orders the hot reads are spread over.
const HOT: u64 = 1000;
/// A path that costs only HTTP.
const LIVE: &str = "/health/live";

/// The rows.
const NAMES: [&str; 6] = [
    "generator",
    "get hot",
    "get hot 304",
    "get uniform",
    "list of 20",
    "list of 20 full",
];

/// The names of all rows.
pub fn names() -> Vec<String> {
    NAMES.map(str::to_owned).to_vec()
}

/// Measures the wanted reads.
pub fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let rows: Vec<_> = NAMES
        .into_iter()
        .filter(|name| bench.options.wants(name))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let hot = bench.orders.start..bench.orders.end.min(bench.orders.start + HOT);
    let mut etags = Etags::new(hot.clone());
    bench.load(1).until_the_end().run(&mut etags)?;
    for _ in 0..bench.options.rounds {
        let live = bench.load(CONNECTIONS).run(&mut Repeat(LIVE))?.rate();
        for row in &rows {
            let (figure, details) = match *row {
                "generator" => bench.generator(live)?,
                "get hot" => bench.compare_with_live(live, &mut Get::new(hot.clone()))?,
                "get hot 304" => {
                    bench.compare_with_live(live, &mut Unchanged::new(&etags, CONNECTIONS))?
                }
                "get uniform" => bench.uniform()?,
                "list of 20" => bench.list("/v1/orders")?,
                _ => bench.list("/v1/orders?view=full")?,
            };
            report.add(row, figure, details);
        }
    }
    Ok(())
}

impl Bench {
    /// A load without a schedule, for as long as each measurement takes.
    pub fn load(&self, connections: usize) -> Load {
        Load {
            addresses: vec![self.service.address],
            connections,
            duration: Some(self.options.duration),
            rate: None,
        }
    }

    fn read(&self, script: &mut dyn Script) -> anyhow::Result<(Run, Details)> {
        let before = self.usage()?;
        let run = self.load(CONNECTIONS).run(script)?;
        let used = self.usage()?.since(before);
        let details = Details::of_latencies(&run.micros).with_usage(used, run.micros.len());
        Ok((run, details))
    }

    fn compare_with_live(
        &self,
        live: f64,
        script: &mut dyn Script,
    ) -> anyhow::Result<(Figure, Details)> {
        let (run, details) = self.read(script)?;
        Ok((figure(run.rate(), "GET /health/live", live), details))
    }

    /// Reads of all orders in the store.
    fn uniform(&self) -> anyhow::Result<(Figure, Details)> {
        let (all, duration) = (0..self.next_order, self.options.duration);
        let floor = self.floors.find(&all, CONNECTIONS, duration)?;
        let (run, details) = self.read(&mut Get::new(all))?;
        Ok((figure(run.rate(), "its SQL", floor.rate), details))
    }

    fn list(&self, path: &'static str) -> anyhow::Result<(Figure, Details)> {
        let with_items = path.contains("full");
        let duration = self.options.duration;
        let floor = self.floors.list(with_items, CONNECTIONS, duration)?;
        let (run, details) = self.read(&mut Repeat(path))?;
        Ok((figure(run.rate(), "its SQL", floor.rate), details))
    }

    /// Compares the load generator with `wrk`, if that is installed: the generator must not be the
    /// bottleneck.
    fn generator(&self, live: f64) -> anyhow::Result<(Figure, Details)> {
        let seconds = self.options.duration.as_secs_f64().ceil();
        let wrk = Command::new("wrk")
            .args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{seconds}")])
            .arg(format!("http://{}{LIVE}", self.service.address))
            .output();
        let text = wrk.map_or_else(
            |_| String::new(),
            |output| String::from_utf8_lossy(&output.stdout).into_owned(),
        );
        let rate = text
            .lines()
            .find_map(|line| line.strip_prefix("Requests/sec:"));
        let rate = rate.map_or(Ok(f64::NAN), |rate| rate.trim().parse())?;
        Ok((figure(live, "wrk", rate), Details::default()))
    }
}

fn figure(value: f64, floor: &'static str, floor_value: f64) -> Figure {
    Figure {
        value,
        unit: "/s",
        floor,
        floor_value,
    }
}
