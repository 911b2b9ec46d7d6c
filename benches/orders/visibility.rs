//! Rows of visibility: how long a command takes until reads show it, at a tenth of the service's
//! highest rate and at 5,000 events a second.

use super::{
    Bench,
    report::{Details, Figure, Report, percentiles},
    scripts::Visibility,
};

/// How many connections send commands. Some of them wait for a read.
const CONNECTIONS: usize = 128;
/// How many commands a second are followed by a read: few, because waiting reads cost time, too.
const SAMPLES: f64 = 200.0;
/// Events a second in the busy row.
const BUSY: f64 = 5000.0;

const TENTH: &str = "visible@10%";
const AT_BUSY: &str = "visible@5000/s";

/// The names of all rows.
pub fn names() -> Vec<String> {
    vec![TENTH.to_owned(), AT_BUSY.to_owned()]
}

/// Measures the wanted rows.
pub async fn measure(bench: &mut Bench, report: &mut Report) -> anyhow::Result<()> {
    for name in [TENTH, AT_BUSY] {
        if !bench.options.wants(name) {
            continue;
        }
        for _ in 0..bench.options.rounds {
            bench.renew_grown_orders().await?;
            let rate = if name == TENTH {
                let full = bench
                    .load(CONNECTIONS)
                    .run(&mut bench.add_item(CONNECTIONS, false))?;
                bench.added += full.micros.len();
                full.rate() / 10.0
            } else {
                BUSY
            };
            round(bench, report, name, rate).await?;
        }
    }
    Ok(())
}

/// One round: the floor, then commands on a schedule, some of them followed by a read.
async fn round(
    bench: &mut Bench,
    report: &mut Report,
    name: &str,
    rate: f64,
) -> anyhow::Result<()> {
    let floor = bench.floors.load_and_insert(1, bench.options.duration)?;
    let [floor, ..] = percentiles(&floor.micros);
    bench.caught_up().await?;
    let before = bench.usage()?;
    let commands = bench.add_item(CONNECTIONS, false);
    let every = (rate / SAMPLES) as usize;
    let mut script = Visibility::new(commands, every, bench.orders.start, CONNECTIONS);
    let mut load = bench.load(CONNECTIONS);
    load.rate = Some(rate);
    let run = load.run(&mut script)?;
    let used = bench.usage()?.since(before);
    bench.added += run.micros.len();
    let [p50, p99, _] = percentiles(&script.micros);
    for (what, micros) in [("p50", p50), ("p99", p99)] {
        let figure = Figure {
            value: micros / 1000.0,
            unit: "ms",
            floor: "1b p50, 1 client",
            floor_value: floor / 1000.0,
        };
        let details = Details::of_latencies(&script.micros).with_usage(used, run.micros.len());
        report.add(&format!("{name} {what}"), figure, details);
    }
    // If the service cannot keep up with the schedule, this rate is lower.
    let figure = Figure {
        value: run.rate(),
        unit: "/s",
        floor: "its schedule",
        floor_value: rate,
    };
    let details = Details::of_latencies(&run.micros);
    report.add(&format!("{name} commands"), figure, details);
    Ok(())
}
