//! Rows of a store of many events in a separate database: loads, rebuild and verification. The
//! service is idle meanwhile.

mod generator;
mod loading;
mod rebuilding;

use std::sync::Arc;

use orders::{
    live::FreshEvents,
    order::upcasters::upcasters,
    postgres::{self, PgEventStore, Writer, writer::WriterOptions},
    read_model::Projector,
};
use sqlx::{AssertSqlSafe, Executor, PgPool};

use super::{Bench, report::Report};

/// The name of the separate database.
const DATABASE: &str = "bench_store";

/// The separate database, and its event store.
struct Store {
    pool: PgPool,
    events: PgEventStore,
}

impl Store {
    /// Creates the database.
    async fn open(bench: &Bench) -> anyhow::Result<Self> {
        let create = format!("create database {DATABASE}");
        bench.servers.pool.execute(AssertSqlSafe(create)).await?;
        let connect = postgres::connect_options(bench.servers.database_url())?.database(DATABASE);
        postgres::prepare(&connect, false).await?;
        let options = WriterOptions::default();
        let key_ttl = options.key_ttl;
        let (writer, handle) = Writer::new(connect.clone(), options, FreshEvents::default());
        tokio::spawn(writer.run());
        let pool = postgres::pool(connect, 8);
        Ok(Self {
            events: PgEventStore::new(pool.clone(), handle, key_ttl),
            pool,
        })
    }

    fn projector(&self) -> anyhow::Result<Projector<PgEventStore>> {
        let upcasters = Arc::new(upcasters("EUR".parse()?)?);
        let pool = self.pool.clone();
        Ok(Projector::new(pool, self.events.clone(), upcasters))
    }
}

const LOADS: [&str; 2] = [loading::WITH_SNAPSHOT, loading::WITHOUT];
const REBUILDS: [&str; 4] = [
    rebuilding::CATCH_UP,
    rebuilding::REBUILD,
    rebuilding::REBUILD_BESIDE_READERS,
    rebuilding::VERIFY,
];

/// The names of all rows.
pub fn names() -> Vec<String> {
    let names = LOADS.iter().chain(&REBUILDS);
    names.map(ToString::to_string).collect()
}

/// Measures the wanted rows: all loads or none, and all rebuilds or none.
pub async fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let wants = |names: &[&str]| names.iter().any(|name| bench.options.wants(name));
    let (with_loads, with_rebuilds) = (wants(&LOADS), wants(&REBUILDS));
    if !with_loads && !with_rebuilds {
        return Ok(());
    }
    let store = Store::open(bench).await?;
    if with_loads {
        loading::measure(&store, report).await?;
    }
    if with_rebuilds {
        generator::fill(&store, bench.options.rebuilt_events).await?;
        rebuilding::measure(bench, &store, report).await?;
    }
    store.pool.close().await;
    Ok(())
}
