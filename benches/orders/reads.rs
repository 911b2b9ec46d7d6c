//! Rows of reads, beside `GET /health/live` for what HTTP alone costs.

use super::{
    Bench,
    load::{Load, Run, Script},
    report::{Details, Figure, Report, percentiles},
    scripts::{Get, Same},
};

/// Over how many connections reads come.
const CONNECTIONS: usize = 64;
/// How many orders are hot.
const HOT: usize = 1000;

/// The names of all rows.
pub fn names() -> Vec<String> {
    vec!["get hot".to_owned()]
}

/// Measures the reads that are asked for.
pub fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    if !bench.options.wants("get hot") {
        return Ok(());
    }
    let hot = &bench.orders[..HOT.min(bench.orders.len())];
    for _ in 0..bench.options.rounds {
        let live = bench.read(&mut Same("/health/live"))?;
        let (run, details) = bench.read_with_usage(&mut Get::new(hot, CONNECTIONS))?;
        let figure = Figure {
            value: run.rate(),
            unit: "/s",
            floor: "GET /health/live",
            floor_value: live.rate(),
        };
        report.add("get hot", figure, details);
    }
    Ok(())
}

impl Bench {
    fn read(&self, script: &mut dyn Script) -> anyhow::Result<Run> {
        let load = Load {
            address: self.service.address,
            connections: CONNECTIONS,
            duration: Some(self.options.duration),
            rate: None,
        };
        load.run(script)
    }

    fn read_with_usage(&self, script: &mut dyn Script) -> anyhow::Result<(Run, Details)> {
        let before = self.servers.usage(&self.service)?;
        let run = self.read(script)?;
        let used = self.servers.usage(&self.service)?.since(before);
        let milliseconds = 1000.0 / run.micros.len() as f64;
        let details = Details {
            micros: Some(percentiles(&run.micros)),
            processor: Some([used.service * milliseconds, used.postgres * milliseconds]),
        };
        Ok((run, details))
    }
}
