//! Full rebuilds, alone and while clients read, and verifications, compared with a plain COPY of as
//! many rows and with the floor of commands.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use anyhow::Context as _;
use orders::read_model::{ListQuery, OrderViews, Rebuild, Verify};
use sqlx::{AssertSqlSafe, Executor};
use tokio::task::JoinHandle;

use super::Store;
use crate::{
    Bench,
    report::{Details, Figure, Report},
};

pub const CATCH_UP: &str = "catch-up from nothing";
pub const REBUILD: &str = "rebuild";
pub const REBUILD_BESIDE_READERS: &str = "rebuild beside readers";
pub const VERIFY: &str = "verify";
const READS: &str = "reads beside the rebuild";

/// How many clients the floor of commands has.
const CLIENTS: usize = 64;

/// Measures all rows on the events of the store.
pub async fn measure(bench: &Bench, store: &Store, report: &mut Report) -> anyhow::Result<()> {
    let events: i64 = sqlx::query_scalar("select count(*) from events")
        .fetch_one(&store.pool)
        .await?;
    let events = events as f64;
    let copied = events / copy(store).await?;
    let began = Instant::now();
    store.projector()?.catch_up(|_| {}).await?;
    let rate = events / began.elapsed().as_secs_f64();
    add(report, CATCH_UP, rate, "COPY", copied);
    for _ in 0..bench.options.rounds {
        let commands = bench
            .floors
            .load_and_insert(CLIENTS, bench.options.duration)?;
        let rate = events / rebuild(store).await?;
        add(report, REBUILD, rate, "1b, 64 clients", commands.rate);
        let copied = events / copy(store).await?;
        let (seconds, reads) = rebuild_beside_readers(store).await?;
        let rate = events / seconds;
        add(report, REBUILD_BESIDE_READERS, rate, "COPY", copied);
        report.add_alone(READS, reads as f64 / seconds, "/s");
        let rate = events / verify(store).await?;
        add(report, VERIFY, rate, "COPY", copied);
    }
    Ok(())
}

fn add(report: &mut Report, name: &str, value: f64, floor: &'static str, floor_value: f64) {
    let figure = Figure {
        value,
        unit: "ev./s",
        floor,
        floor_value,
    };
    report.add(name, figure, Details::default());
}

/// How many seconds a rebuild takes, from its start to the switch of the tables.
async fn rebuild(store: &Store) -> anyhow::Result<f64> {
    let began = Instant::now();
    let rebuilt = Rebuild::new(store.projector()?).run(false, |_| {}).await?;
    let differing = rebuilt.differing;
    anyhow::ensure!(differing == 0, "{differing} orders differ");
    Ok(began.elapsed().as_secs_f64())
}

/// The same while clients read; also returns the number of reads. No read may fail.
async fn rebuild_beside_readers(store: &Store) -> anyhow::Result<(f64, u64)> {
    let is_done = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicU64::new(0));
    let reader = read(store, Arc::clone(&is_done), Arc::clone(&reads));
    let seconds = rebuild(store).await?;
    is_done.store(true, Ordering::Relaxed);
    reader.await??;
    Ok((seconds, reads.load(Ordering::Relaxed)))
}

async fn verify(store: &Store) -> anyhow::Result<f64> {
    let began = Instant::now();
    let verify = Verify::new(store.projector()?);
    let report = verify.run(false, |_| {}, |_| {}).await?;
    anyhow::ensure!(report.is_clean(), "{report:?}");
    Ok(began.elapsed().as_secs_f64())
}

/// The floor: how long PostgreSQL takes to copy as many rows into a table without indexes, in
/// seconds.
async fn copy(store: &Store) -> anyhow::Result<f64> {
    let file: String = sqlx::query_scalar("select current_setting('data_directory') || '/copy'")
        .fetch_one(&store.pool)
        .await?;
    let mut connection = store.pool.acquire().await?;
    connection.execute("set statement_timeout = 0").await?;
    connection
        .execute(AssertSqlSafe(format!("copy events to '{file}'")))
        .await?;
    connection
        .execute("create table copied (like events)")
        .await?;
    let began = Instant::now();
    connection
        .execute(AssertSqlSafe(format!("copy copied from '{file}'")))
        .await?;
    let seconds = began.elapsed().as_secs_f64();
    connection.execute("drop table copied").await?;
    connection.close_on_drop();
    Ok(seconds)
}

/// Reads a list and an order repeatedly until `is_done`. The first error ends it.
fn read(
    store: &Store,
    is_done: Arc<AtomicBool>,
    reads: Arc<AtomicU64>,
) -> JoinHandle<anyhow::Result<()>> {
    let views = OrderViews::new(store.pool.clone(), store.pool.clone());
    tokio::spawn(async move {
        let query = ListQuery {
            limit: 20,
            ..ListQuery::default()
        };
        while !is_done.load(Ordering::Relaxed) {
            let page = views.list(&query).await?;
            anyhow::ensure!(
                page.orders.len() == 20,
                "a page with {} orders",
                page.orders.len()
            );
            let first = page
                .orders
                .first()
                .map(|order| order.order.id)
                .context("an empty page")?;
            anyhow::ensure!(
                views.find(first).await?.order.is_some(),
                "order {first} is gone"
            );
            reads.fetch_add(2, Ordering::Relaxed);
        }
        Ok(())
    })
}
