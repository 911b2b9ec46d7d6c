//! Floors: what PostgreSQL alone does on the same machine, server and settings, measured with
//! `pgbench`.
//!
//! *1a* is one plain insert. *1b* is a transaction that loads a stream and inserts its next event:
//! the least that any service must do for a command. Both use a separate table with the columns,
//! indexes and rows of `events`, without its triggers.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor, PgPool};

use super::{scripts::order_id, servers::Servers};

/// One plain insert.
const INSERT: &str = "\
insert into floor.events (event_id, aggregate_type, aggregate_id, version, type, schema_version,
                          data, metadata, created_at)
values (gen_random_uuid(), 'Order', gen_random_uuid(), 1, 'OrderItemAdded', 1, DATA, METADATA, now());
";

/// Load a stream, insert its next event. Each client has its own streams: a version conflict would
/// end the client.
const LOAD_AND_INSERT: &str = "\
\\set n random(0, :orders / :clients - 1) * :clients + :client_id + :first
begin;
select version, type, schema_version, data, created_at
from floor.events where aggregate_id = ID order by version \\aset
\\set next :version + 1
insert into floor.events (event_id, aggregate_type, aggregate_id, version, type, schema_version,
                          data, metadata, created_at)
values (gen_random_uuid(), 'Order', ID, :next, 'OrderItemAdded', 1, DATA, METADATA, now());
commit;
";

/// The id of order `n`: see `scripts::order_id`.
const ID: &str = "('019aaf00-0000-7000-8000-' || lpad(to_hex(:n ::bigint), 12, '0'))::uuid";

/// An event as the service stores it. Without the blanks, `pgbench` would see variables.
const DATA: &str = r#"'{"itemId": "019aaf00-0000-7000-8000-0000000000b1","productId": "85123A","quantity": 6,"price": "2.55","currency": "GBP"}'"#;
const METADATA: &str = r#"'{"actor": null,"requestId": "019aaf00-0000-7000-8000-0000000000b1","correlationId": "019aaf00-0000-7000-8000-0000000000b1","causationId": null,"traceparent": null}'"#;

/// The result of a floor.
#[derive(Debug, Clone, Default)]
pub struct Floor {
    /// Transactions a second.
    pub rate: f64,
    /// How long each took, in microseconds.
    pub micros: Vec<f64>,
}

/// Runs `pgbench`: on the floor's table for commands, on the service's tables for reads.
#[derive(Debug, Clone)]
pub struct Floors {
    pgbench: PathBuf,
    directory: PathBuf,
    url: String,
    orders: Range<u64>,
}

impl Floors {
    /// Finds `pgbench`.
    pub fn new(servers: &Servers) -> anyhow::Result<Self> {
        let beside_the_server = servers.postgres_programs()?.join("pgbench");
        let pgbench = if beside_the_server.exists() {
            beside_the_server
        } else {
            PathBuf::from("pgbench")
        };
        Ok(Self {
            pgbench,
            directory: servers.directory().to_owned(),
            url: servers.database_url().to_owned(),
            orders: 0..0,
        })
    }

    /// Creates the floor's table again, with the events of these orders.
    pub async fn fill(&mut self, pool: &PgPool, orders: Range<u64>) -> anyhow::Result<()> {
        let (first, end) = (order_id(orders.start), order_id(orders.end));
        let fill = format!(
            "create schema if not exists floor;
             drop table if exists floor.events;
             create table floor.events (like events including all);
             insert into floor.events (event_id, aggregate_type, aggregate_id, version, type,
                                       schema_version, data, metadata, created_at)
             select event_id, aggregate_type, aggregate_id, version, type, schema_version, data,
                    metadata, created_at
             from events where aggregate_id >= '{first}' and aggregate_id < '{end}'
             order by position;
             analyze floor.events, events, order_views, order_items;"
        );
        pool.execute(AssertSqlSafe(fill)).await?;
        self.orders = orders;
        Ok(())
    }

    /// The floor of commands: see [`LOAD_AND_INSERT`].
    pub fn load_and_insert(&self, clients: usize, duration: Duration) -> anyhow::Result<Floor> {
        self.run(LOAD_AND_INSERT, &self.orders, clients, duration)
    }

    /// See [`INSERT`].
    pub fn insert(&self, clients: usize, duration: Duration) -> anyhow::Result<Floor> {
        self.run(INSERT, &self.orders, clients, duration)
    }

    /// The floor of reads: the service's own statement that reads an order, for random orders.
    pub fn find(
        &self,
        orders: &Range<u64>,
        clients: usize,
        duration: Duration,
    ) -> anyhow::Result<Floor> {
        let find = query_with(
            &["left join order_views v on v.id = $1", "i.order_id = $1"],
            &[],
        )?;
        let find = find.replace("$1", ID).replace("$2", "'orders'");
        let script = format!("\\set n random(0, :orders - 1) + :first\n{find};\n");
        self.run(&script, orders, clients, duration)
    }

    /// The floor of lists: the service's own statement that lists the newest twenty orders.
    pub fn list(
        &self,
        with_items: bool,
        clients: usize,
        duration: Duration,
    ) -> anyhow::Result<Floor> {
        let is_list = ["limit $11", "order by v.created_at desc, v.id desc"];
        let mut list = query_with(&is_list, &["exists (select from order_items"])?;
        let values = [
            "false",
            "null",
            "null",
            "null",
            "null",
            "null",
            "null",
            "null",
            "null",
            "null",
            "21",
            "0",
            if with_items { "true" } else { "false" },
            "'orders'",
        ];
        for (index, value) in values.iter().enumerate().rev() {
            list = list.replace(&format!("${}", index + 1), value);
        }
        self.run(&format!("{list};\n"), &self.orders, clients, duration)
    }

    /// Runs a `pgbench` script for this duration.
    fn run(
        &self,
        script: &str,
        orders: &Range<u64>,
        clients: usize,
        duration: Duration,
    ) -> anyhow::Result<Floor> {
        let file = self.directory.join("floor.sql");
        let script = script.replace("METADATA", METADATA).replace("DATA", DATA);
        fs::write(&file, script.replace("ID", ID))?;
        let log = self.directory.join("floor-log");
        fs::create_dir_all(&log)?;
        // pgbench takes whole seconds. Many clients need a second to connect, which it does not
        // count.
        let connecting = if clients > 64 { 1.0 } else { 0.0 };
        let seconds = duration.as_secs_f64().ceil() + connecting;
        let output = Command::new(&self.pgbench)
            .args(["-n", "-M", "prepared", "-l", "-j", "1"])
            .args(["-c", &clients.to_string(), "-T", &seconds.to_string()])
            .args(["-D", &format!("clients={clients}")])
            .args(["-D", &format!("orders={}", orders.end - orders.start)])
            .args(["-D", &format!("first={}", orders.start)])
            .arg("-f")
            .arg(&file)
            .arg("--log-prefix")
            .arg(log.join("log"))
            .arg(&self.url)
            .output()
            .with_context(|| format!("{} does not run", self.pgbench.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "pgbench failed: {errors}{text}");
        let rate = text.lines().find_map(|line| line.strip_prefix("tps = "));
        let rate = rate.and_then(|rest| rest.split_whitespace().next());
        Ok(Floor {
            rate: rate.context("pgbench printed no rate")?.parse()?,
            micros: latencies(&log)?,
        })
    }
}

/// Reads the latencies from a directory of `pgbench` logs, and removes the logs.
fn latencies(log: &Path) -> anyhow::Result<Vec<f64>> {
    let mut micros = vec![];
    for entry in fs::read_dir(log)? {
        let file = entry?.path();
        for line in fs::read_to_string(&file)?.lines() {
            let taken = line.split_whitespace().nth(2).context("a short log line")?;
            micros.push(taken.parse()?);
        }
        fs::remove_file(file)?;
    }
    Ok(micros)
}

/// The service's statement that contains all of `texts` and none of `others`.
fn query_with(texts: &[&str], others: &[&str]) -> anyhow::Result<String> {
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx"))? {
        let described: Value = serde_json::from_str(&fs::read_to_string(entry?.path())?)?;
        let query = described["query"].as_str().unwrap_or_default();
        let holds = |text: &str| query.contains(text);
        if texts.iter().all(|text| holds(text)) && !others.iter().any(|text| holds(text)) {
            return Ok(query.to_owned());
        }
    }
    bail!("no statement of the service contains {texts:?}")
}
