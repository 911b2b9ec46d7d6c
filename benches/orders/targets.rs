//! The targets of rows. A missed target is shown but fails nothing: machines differ, and their load
//! changes.

/// What a row's ratio must reach, or its figure if it has no floor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// The least that is acceptable.
    pub least: f64,
    /// The aim.
    pub aim: f64,
}

/// Rows with targets. If the aim is the smaller number, less is better.
const TARGETS: &[(&str, Target)] = &[
    ("add-item@16", target(1.5, 2.0)),
    ("add-item@64", target(2.5, 3.5)),
    ("add-item-keyed@64", target(2.0, 3.0)),
    ("add-item@64 sustained", target(1.3, 2.0)),
    ("add-item@64 p99", target(0.6, 0.4)),
    ("add-item@1 p50", target(1.2, 1.0)),
    ("rebuild", target(10.0, 15.0)),
    ("get hot", target(0.5, 0.8)),
    ("get uniform", target(0.38, 0.6)),
    ("list of 20", target(0.5, 0.7)),
    ("visible@5000/s p99", target(20.0, 10.0)),
    ("service peak memory", target(300.0, 150.0)),
];

const fn target(least: f64, aim: f64) -> Target {
    Target { least, aim }
}

/// The target of a row.
pub fn of(row: &str) -> Option<Target> {
    let found = TARGETS.iter().find(|(name, _)| *name == row);
    found.map(|(_, target)| *target)
}

impl Target {
    /// Whether a value reaches the aim, only the least, or nothing.
    pub fn verdict(self, value: f64) -> &'static str {
        let reaches = |goal: f64| {
            if self.aim < self.least {
                value <= goal
            } else {
                value >= goal
            }
        };
        match (reaches(self.least), reaches(self.aim)) {
            (_, true) => "aim",
            (true, false) => "yes",
            (false, false) => "no",
        }
    }
}
