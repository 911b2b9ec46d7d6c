//! What to measure, and how long.

use std::time::Duration;

use anyhow::bail;

/// How to use it, in the words of its own flags.
const USAGE: &str =
    "usage: cargo bench --bench orders -- [--quick|--smoke] [--only NAME,NAME…] [--list]

  --quick  fewer and shorter repetitions, fewer orders, at most 64 connections, no further servers
  --smoke  as little as shows that all rows work
  --only   only rows whose name holds one of these texts
  --list   name the rows and end";

/// What the command line asks for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Texts one of which a row's name must hold; all rows where there are none.
    pub only: Vec<String>,
    /// Whether to only name the rows.
    pub is_list: bool,
    /// How often each row and its floor are measured.
    pub rounds: usize,
    /// How long each measurement of a rate takes.
    pub duration: Duration,
    /// At how many connections commands are measured at most.
    pub most_connections: usize,
    /// Orders in the store that commands and reads are spread over.
    pub orders: u64,
    /// Events in the store that is rebuilt and verified.
    pub rebuilt_events: u64,
    /// Orders that are held in memory where that is measured.
    pub cached_orders: u64,
    /// Whether further servers are measured without being asked for.
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

    /// Whether a row of this name is asked for.
    pub fn wants(&self, row: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|text| row.contains(text.as_str()))
    }
}
