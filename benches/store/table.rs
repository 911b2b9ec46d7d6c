//! One table: each figure, its floor, and their ratio.

use serde_json::json;

/// A measured figure beside its floor.
#[derive(Debug, Clone)]
struct Row {
    what: String,
    figure: f64,
    unit: &'static str,
    floor: Option<(String, f64)>,
}

/// What was measured.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// Adds a figure without a floor.
    pub fn add(&mut self, what: impl Into<String>, figure: f64, unit: &'static str) {
        self.rows.push(Row {
            what: what.into(),
            figure,
            unit,
            floor: None,
        });
    }

    /// Adds a figure beside its floor, in the same unit.
    pub fn compare(
        &mut self,
        what: impl Into<String>,
        figure: f64,
        unit: &'static str,
        floor: impl Into<String>,
        floor_figure: f64,
    ) {
        let floor = Some((floor.into(), floor_figure));
        self.rows.push(Row {
            what: what.into(),
            figure,
            unit,
            floor,
        });
    }

    /// Prints it.
    pub fn print(&self) {
        println!(
            "\n{:<52} {:>12} {:<9} {:>7}  floor",
            "", "figure", "unit", "ratio"
        );
        for Row {
            what,
            figure,
            unit,
            floor,
        } in &self.rows
        {
            match floor {
                Some((name, value)) => {
                    let ratio = figure / value;
                    println!(
                        "{what:<52} {figure:>12.1} {unit:<9} {ratio:>7.3}  {name}: {value:.1}"
                    );
                }
                None => println!("{what:<52} {figure:>12.1} {unit:<9}"),
            }
        }
    }

    /// The same for programs.
    pub fn json(&self) -> String {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "what": row.what, "figure": row.figure, "unit": row.unit,
                    "floor": row.floor.as_ref().map(|floor| &floor.0),
                    "floorFigure": row.floor.as_ref().map(|floor| floor.1),
                })
            })
            .collect();
        json!(rows).to_string()
    }
}

/// The median of some figures.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
