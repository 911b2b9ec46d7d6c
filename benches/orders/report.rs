//! The report: each figure, its floor, their ratio with its spread, and its target.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{
    targets::{self, Target},
    usage::Spent,
};

/// What the columns mean.
const LEGEND: &str = "\
Medians over the rounds; min–max: the ratio's spread over them.
svc, pg and nats: processor milliseconds of the service, PostgreSQL and NATS for each answer.
others: processors used by processes outside the benchmark; if that is much, the figures mean
little.";

/// What was measured beside a figure.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Details {
    /// Median, 99th and 99.9th percentile of the answers' times, in microseconds.
    pub micros: Option<[f64; 3]>,
    /// Processor milliseconds for each answer, of service, PostgreSQL and NATS.
    pub processor: Option<[f64; 3]>,
    /// How many processors other processes used meanwhile.
    pub others: Option<f64>,
}

impl Details {
    /// The details of these latencies.
    pub fn of_latencies(micros: &[f64]) -> Self {
        Self {
            micros: Some(percentiles(micros)),
            ..Self::default()
        }
    }

    /// Adds the processor time for this number of answers.
    pub fn with_usage(mut self, used: Spent, count: usize) -> Self {
        self.others = Some(used.others);
        let all = [used.service, used.postgres, used.nats];
        self.processor = Some(all.map(|seconds| seconds * 1000.0 / count as f64));
        self
    }
}

/// A row: a figure and its floor for each round.
#[derive(Debug, Clone)]
struct Row {
    name: String,
    unit: &'static str,
    floor: &'static str,
    figures: Vec<f64>,
    floors: Vec<f64>,
    details: Vec<Details>,
}

/// All rows.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
    /// How many processors other processes used during the run.
    pub others: f64,
}

/// A figure and its floor.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    /// The figure.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// What the floor is.
    pub floor: &'static str,
    /// The floor, in the same unit; NaN if there is none.
    pub floor_value: f64,
}

impl Figure {
    /// A figure without a floor.
    pub fn alone(value: f64, unit: &'static str) -> Self {
        Self {
            value,
            unit,
            floor: "",
            floor_value: f64::NAN,
        }
    }
}

impl Report {
    /// Adds one round's figure to a row.
    pub fn add(&mut self, name: &str, figure: Figure, details: Details) {
        let index = self.rows.iter().position(|row| row.name == name);
        let index = index.unwrap_or_else(|| {
            self.rows.push(Row {
                name: name.to_owned(),
                unit: figure.unit,
                floor: figure.floor,
                figures: vec![],
                floors: vec![],
                details: vec![],
            });
            self.rows.len() - 1
        });
        let row = &mut self.rows[index];
        row.figures.push(figure.value);
        row.floors.push(figure.floor_value);
        row.details.push(details);
    }

    /// Adds a figure without a floor.
    pub fn add_alone(&mut self, name: &str, value: f64, unit: &'static str) {
        self.add(name, Figure::alone(value, unit), Details::default());
    }

    /// The table as text.
    pub fn table(&self) -> String {
        let mut table = format!(
            "{:<34} {:>10} {:<8} {:>10}  {:<19} {:>6} {:>13} {:>8} {:>5} {:<7} {:>8} {:>8} {:>8} \
             {:>6} {:>6} {:>6} {:>6}\n",
            "row",
            "figure",
            "unit",
            "floor",
            "",
            "ratio",
            "min–max",
            "at least",
            "aim",
            "reached",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "svc ms",
            "pg ms",
            "nats",
            "others"
        );
        for row in &self.rows {
            let _ = writeln!(table, "{}", row.line());
        }
        let _ = writeln!(table, "\n{LEGEND}\nOver the whole run: {:.2}.", self.others);
        table
    }

    /// The report as JSON.
    pub fn json(&self) -> String {
        let rows: Vec<_> = self.rows.iter().map(Row::json).collect();
        serde_json::to_string_pretty(
            &json!({ "rows": rows, "processorsTakenByOthers": self.others }),
        )
        .unwrap_or_default()
    }
}

impl Row {
    fn ratios(&self) -> Vec<f64> {
        let pairs = self.figures.iter().zip(&self.floors);
        pairs.map(|(figure, floor)| figure / floor).collect()
    }

    fn has_floor(&self) -> bool {
        self.floors.iter().all(|floor| floor.is_finite())
    }

    /// The value that the target is about: the ratio, or the figure if there is no floor.
    fn target_value(&self) -> f64 {
        if self.has_floor() {
            median(self.ratios())
        } else {
            median(self.figures.clone())
        }
    }

    fn latency(&self, index: usize) -> Option<f64> {
        let values = self.details.iter().filter_map(|all| all.micros);
        some_median(values.map(|micros| micros[index] / 1000.0).collect())
    }

    fn processor(&self, index: usize) -> Option<f64> {
        let values = self.details.iter().filter_map(|all| all.processor);
        some_median(values.map(|processor| processor[index]).collect())
    }

    fn others(&self) -> Option<f64> {
        some_median(self.details.iter().filter_map(|all| all.others).collect())
    }

    fn line(&self) -> String {
        let (name, unit, floor) = (&self.name, self.unit, self.floor);
        let figure = shown(Some(median(self.figures.clone())));
        let (mut floor_value, mut ratio, mut spread) = Default::default();
        if self.has_floor() {
            let ratios = self.ratios();
            let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
            let high = ratios.iter().copied().fold(0.0, f64::max);
            floor_value = shown(Some(median(self.floors.clone())));
            ratio = shown(Some(median(ratios)));
            spread = format!("{}–{}", shown(Some(low)), shown(Some(high)));
        }
        let target = targets::of(name);
        let reached = target.map_or("", |target| target.verdict(self.target_value()));
        let least = shown(target.map(|target| target.least));
        let aim = shown(target.map(|target| target.aim));
        let [p50, p99, p999] = [0, 1, 2].map(|index| shown(self.latency(index)));
        let others = shown(self.others());
        let [service, postgres, nats] = [0, 1, 2].map(|index| shown(self.processor(index)));
        format!(
            "{name:<34} {figure:>10} {unit:<8} {floor_value:>10}  {floor:<19} {ratio:>6} \
             {spread:>13} {least:>8} {aim:>5} {reached:<7} {p50:>8} {p99:>8} {p999:>8} \
             {service:>6} {postgres:>6} {nats:>6} {others:>6}"
        )
    }

    fn json(&self) -> Value {
        let target = targets::of(&self.name).map(|target: Target| {
            json!({ "atLeast": target.least, "aim": target.aim,
                    "reached": target.verdict(self.target_value()) })
        });
        let floors: Vec<_> = self
            .floors
            .iter()
            .filter(|floor| floor.is_finite())
            .collect();
        json!({
            "name": self.name, "unit": self.unit, "figure": median(self.figures.clone()),
            "figures": self.figures, "floor": self.floor, "floors": floors,
            "ratio": self.has_floor().then(|| median(self.ratios())), "ratios":
                if self.has_floor() { self.ratios() } else { vec![] },
            "target": target,
            "latencyMs": { "p50": self.latency(0), "p99": self.latency(1), "p99.9": self.latency(2) },
            "processorMs": { "service": self.processor(0), "postgres": self.processor(1),
                             "nats": self.processor(2) },
            "processorsTakenByOthers": self.others(),
        })
    }
}

/// A number with about three significant digits.
fn shown(number: Option<f64>) -> String {
    match number {
        None => String::new(),
        Some(number) if number.abs() >= 100.0 => format!("{number:.0}"),
        Some(number) if number.abs() >= 10.0 => format!("{number:.1}"),
        Some(number) if number.abs() >= 0.1 => format!("{number:.2}"),
        Some(number) => format!("{number:.3}"),
    }
}

fn some_median(figures: Vec<f64>) -> Option<f64> {
    (!figures.is_empty()).then(|| median(figures))
}

/// The median of some figures.
pub fn median(figures: Vec<f64>) -> f64 {
    quantile(figures, 0.5)
}

/// The value below which this share of the figures is.
pub fn quantile(mut figures: Vec<f64>, share: f64) -> f64 {
    if figures.is_empty() {
        return f64::NAN;
    }
    let index = ((figures.len() - 1) as f64 * share).round() as usize;
    let (_, value, _) = figures.select_nth_unstable_by(index, f64::total_cmp);
    *value
}

/// Median, 99th and 99.9th percentile.
pub fn percentiles(figures: &[f64]) -> [f64; 3] {
    [0.5, 0.99, 0.999].map(|share| quantile(figures.to_vec(), share))
}
