//! `make bench`: what the store, the rebuild and the verification give, each beside its floor.
//!
//! Starts its own PostgreSQL through the embedded module, makes a store of many events, measures,
//! and prints one table of ratios. It fails on errors, never on speed. Only ratios within one run
//! mean anything: machines differ, and so do moments.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark talks to the database directly, and to people"
)]

mod generator;
mod loading;
mod rebuilding;
mod table;

use std::{path::Path, sync::Arc};

use anyhow::Context;
use orders::{
    embedded::{EmbeddedOptions, PrivatePostgres},
    order::upcasters::upcasters,
    postgres::{self, PgEventStore, Writer, writer::WriterOptions},
    read_model::Projector,
};
use sqlx::PgPool;
use tokio::sync::Notify;

use table::Table;

/// What the measurements work on.
struct Bench {
    pool: PgPool,
    store: PgEventStore,
    /// How many events the store gets.
    events: u64,
}

impl Bench {
    fn projector(&self) -> anyhow::Result<Projector<PgEventStore>> {
        let upcasters = Arc::new(upcasters("EUR".parse()?)?);
        Ok(Projector::new(
            self.pool.clone(),
            self.store.clone(),
            upcasters,
        ))
    }
}

fn main() -> anyhow::Result<()> {
    // cargo passes `--bench`; `make bench-quick` passes `quick`.
    let is_quick = std::env::args().any(|argument| argument == "quick");
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(run(if is_quick { 100_000 } else { 1_000_000 }))
}

async fn run(events: u64) -> anyhow::Result<()> {
    let directory = tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    open_to_all(directory.path())?;
    let mut server = PrivatePostgres::start(&EmbeddedOptions::new(directory.path())).await?;
    let connect = postgres::connect_options(&server.database_url())?;
    postgres::prepare(&connect, false).await?;
    let (writer, handle) = Writer::new(
        connect.clone(),
        WriterOptions::default(),
        Arc::new(Notify::new()),
    );
    tokio::spawn(writer.run());
    let pool = postgres::pool(connect, 8);
    let store = PgEventStore::new(pool.clone(), handle, WriterOptions::default().key_ttl);
    let bench = Bench {
        pool,
        store,
        events,
    };

    let mut table = Table::default();
    let measured = measure(&bench, &mut table).await;
    table.print();
    let report = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench.json");
    std::fs::write(&report, table.json()).context("the report cannot be written")?;
    println!("\nalso in {}", report.display());
    bench.pool.close().await;
    server.stop().await;
    measured
}

async fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    loading::measure(bench, table).await?;
    generator::fill(bench).await?;
    rebuilding::measure(bench, table).await
}

/// PostgreSQL runs as another user where this runs as root.
fn open_to_all(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755))
}
