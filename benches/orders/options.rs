//! The command line: what to measure, and how long.

use std::time::Duration;

use anyhow::bail;

/// The help text.
const USAGE: &str =
    "usage: cargo bench --bench orders -- [--quick|--smoke] [--only NAME,NAME…] [--list]

  --quick  fewer and shorter repetitions, fewer orders, at most 64 connections, no further servers
  --smoke  the shortest run that uses all rows
  --only   only rows whose name contains one of these texts
  --list   print the names of the rows and exit";

/// The options of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// A row is measured if its name contains one of these texts; all rows if there are none.
    pub only: Vec<String>,
    /// Whether to only print the names of the rows.
    pub is_list: bool,
    /// How often each row and its floor are measured.
    pub rounds: usize,
    /// How long each measurement of a rate takes.
    pub duration: Duration,
    /// The largest number of connections for commands.
    pub most_connections: usize,
    /// How many orders commands and reads are spread over.
    pub orders: u64,
    /// How many events are in the store that is rebuilt and verified.
    pub rebuilt_events: u64,
    /// How many orders are cached in the row that measures memory.
    pub cached_orders: u64,
    /// Whether rows that need further servers are measured if `only` is empty.
    pub has_further_servers: bool,
}

impl Options {
    /// Reads the command line. Cargo adds `--bench`.
    pub fn from_arguments(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut options = Self {
            only: vec![],
            is_list: false,
            rounds: 5,
            duration: Duration::from_secs(2),
            most_connections: 256,
            orders: 10_000,
            rebuilt_events: 500_000,
            cached_orders: 100_000,
            has_further_servers: true,
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" => {}
                "--quick" => {
                    options.rounds = 3;
                    options.duration = Duration::from_secs(1);
                    options.most_connections = 64;
                    options.orders = 4_000;
                    options.rebuilt_events = 100_000;
                    options.cached_orders = 10_000;
                    options.has_further_servers = false;
                }
                "--smoke" => {
                    options.rounds = 1;
                    options.duration = Duration::from_millis(100);
                    options.orders = 300;
                    options.rebuilt_events = 5_000;
                    options.cached_orders = 300;
                }
                "--list" => options.is_list = true,
                "--only" => {
                    let names = arguments.next().unwrap_or_default();
                    options.only = names.split(',').map(str::to_owned).collect();
                }
                other => bail!("unknown argument {other:?}\n{USAGE}"),
            }
        }
        Ok(options)
    }

    /// Whether a row of this name is wanted.
    pub fn wants(&self, row: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|text| row.contains(text.as_str()))
    }
}
