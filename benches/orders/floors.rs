//! Floors: what PostgreSQL alone gives on the same machine, server and settings, by `pgbench`.
//!
//! *1a* is one plain insert; *1b* a transaction that loads a stream and inserts its next event: what
//! a service costs that does nothing but that. They work on a table of their own with the columns
//! and indexes of `events`, filled alike, without its triggers.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, ensure};
use sqlx::{AssertSqlSafe, Executor, PgPool};

use super::servers::Servers;

/// As many plain inserts as there are connections at once.
pub const INSERT: &str = "\
insert into floor.events (event_id, aggregate_type, aggregate_id, version, type, schema_version,
                          data, metadata, created_at)
values (gen_random_uuid(), 'Order', gen_random_uuid(), 1, 'OrderItemAdded', 1, DATA, METADATA, now());
";

/// Load a stream, insert its next event. Each client has its own share of the streams: a conflict
/// would end it.
pub const LOAD_AND_INSERT: &str = "\
\\set n random(0, :orders / :clients - 1) * :clients + :client_id
begin;
select version, type, schema_version, data, created_at
from floor.events where aggregate_id = md5(:n ::text)::uuid order by version \\aset
\\set next :version + 1
insert into floor.events (event_id, aggregate_type, aggregate_id, version, type, schema_version,
                          data, metadata, created_at)
values (gen_random_uuid(), 'Order', md5(:n ::text)::uuid, :next, 'OrderItemAdded', 1, DATA, METADATA,
        now());
commit;
";

/// An event as the service stores it; the blanks keep `pgbench` from seeing variables.
const DATA: &str = r#"'{"itemId": "019aaf00-0000-7000-8000-0000000000b1","productId": "85123A","quantity": 6,"price": "2.55","currency": "GBP"}'"#;
const METADATA: &str = r#"'{"actor": null,"requestId": "019aaf00-0000-7000-8000-0000000000b1","correlationId": "019aaf00-0000-7000-8000-0000000000b1","causationId": null,"traceparent": null}'"#;

/// What a floor gave.
#[derive(Debug, Clone, Default)]
pub struct Floor {
    /// Transactions a second.
    pub rate: f64,
    /// How long each took, in microseconds.
    pub micros: Vec<f64>,
}

/// Runs `pgbench`.
#[derive(Debug, Clone)]
pub struct Floors {
    pgbench: PathBuf,
    directory: PathBuf,
    url: String,
    /// Streams in the floor's table.
    pub streams: usize,
}

impl Floors {
    /// Makes the floor's table with as many events as the store has.
    pub async fn prepare(servers: &Servers) -> anyhow::Result<Self> {
        let beside_the_server = servers.postgres_programs()?.join("pgbench");
        let pgbench = if beside_the_server.exists() {
            beside_the_server
        } else {
            PathBuf::from("pgbench")
        };
        let mut floors = Self {
            pgbench,
            directory: servers.directory().to_owned(),
            url: servers.database_url().to_owned(),
            streams: 0,
        };
        floors.fill(&servers.pool, 0).await?;
        Ok(floors)
    }

    /// Fills the table anew with the events of the streams that begin after a position.
    pub async fn fill(&mut self, pool: &PgPool, after: i64) -> anyhow::Result<()> {
        let mut connection = pool.acquire().await?;
        let fill = format!(
            "create schema if not exists floor;
             drop table if exists floor.events;
             create table floor.events (like events including all);
             insert into floor.events (event_id, aggregate_type, aggregate_id, version, type,
                                       schema_version, data, metadata, created_at)
             select event_id, aggregate_type, md5((n - 1)::text)::uuid, version, type,
                    schema_version, data, metadata, created_at
             from (select e.*, dense_rank() over (order by aggregate_id) as n
                   from events e where position > {after}) e
             order by position;
             analyze floor.events;"
        );
        connection.execute(AssertSqlSafe(fill)).await?;
        let streams: i64 =
            sqlx::query_scalar("select count(*) from floor.events where version = 1")
                .fetch_one(&mut *connection)
                .await?;
        self.streams = usize::try_from(streams)?;
        connection.close_on_drop();
        Ok(())
    }

    /// Runs a script for a while.
    pub fn run(&self, script: &str, clients: usize, duration: Duration) -> anyhow::Result<Floor> {
        let file = self.directory.join("floor.sql");
        let script = script.replace("METADATA", METADATA).replace("DATA", DATA);
        fs::write(&file, script)?;
        let log = self.directory.join("floor-log");
        fs::create_dir_all(&log)?;
        // pgbench takes whole seconds.
        let seconds = duration.as_secs_f64().ceil();
        let output = Command::new(&self.pgbench)
            .args(["-n", "-M", "prepared", "-l", "-j", "1"])
            .args(["-c", &clients.to_string(), "-T", &seconds.to_string()])
            .args(["-D", &format!("clients={clients}")])
            .args(["-D", &format!("orders={}", self.streams)])
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
        let mut micros = vec![];
        for entry in fs::read_dir(&log)? {
            let file = entry?.path();
            for line in fs::read_to_string(&file)?.lines() {
                let taken = line.split_whitespace().nth(2).context("a short log line")?;
                micros.push(taken.parse()?);
            }
            fs::remove_file(file)?;
        }
        Ok(Floor {
            rate: rate.context("pgbench says no rate")?.parse()?,
            micros,
        })
    }
}
