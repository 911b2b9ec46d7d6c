//! A full rebuild while readers read, beside a plain COPY of as many rows; and a verification.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use orders::read_model::{ListQuery, OrderViews, Rebuild, Verify};
use sqlx::{AssertSqlSafe, Executor};
use tokio::task::JoinHandle;

use super::{Bench, table::Table};

/// Measures the floor, catching up, the rebuild, and the verification.
pub async fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let events: i64 = sqlx::query_scalar("select count(*) from events")
        .fetch_one(&bench.pool)
        .await?;
    let events = events as f64;
    let floor = events / copy(bench).await?;
    let floor_name = "COPY of as many rows";

    let began = Instant::now();
    bench.projector()?.catch_up(|_| {}).await?;
    let rate = events / began.elapsed().as_secs_f64();
    table.compare(
        "replay: catching up from nothing",
        rate,
        "events/s",
        floor_name,
        floor,
    );

    let is_done = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicU64::new(0));
    let reader = read(bench, Arc::clone(&is_done), Arc::clone(&reads));
    let began = Instant::now();
    let rebuilt = Rebuild::new(bench.projector()?).run(false, |_| {}).await?;
    let seconds = began.elapsed().as_secs_f64();
    is_done.store(true, Ordering::Relaxed);
    reader.await??;
    anyhow::ensure!(
        rebuilt.differing == 0,
        "{} orders differ",
        rebuilt.differing
    );
    table.compare(
        "replay --full, with a reader beside it",
        events / seconds,
        "events/s",
        floor_name,
        floor,
    );
    table.add(
        "  reads beside it, none failed",
        reads.load(Ordering::Relaxed) as f64 / seconds,
        "reads/s",
    );

    let began = Instant::now();
    let report = Verify::new(bench.projector()?)
        .run(false, |_| {}, |_| {})
        .await?;
    let rate = events / began.elapsed().as_secs_f64();
    anyhow::ensure!(report.is_clean(), "{report:?}");
    table.compare("verify", rate, "events/s", floor_name, floor);
    Ok(())
}

/// The floor: how long PostgreSQL takes to copy as many rows into a bare table, in seconds.
async fn copy(bench: &Bench) -> anyhow::Result<f64> {
    let file: String = sqlx::query_scalar("select current_setting('data_directory') || '/copy'")
        .fetch_one(&bench.pool)
        .await?;
    let mut connection = bench.pool.acquire().await?;
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

/// Polls an order and a list until told to stop; the first error ends it.
fn read(
    bench: &Bench,
    is_done: Arc<AtomicBool>,
    reads: Arc<AtomicU64>,
) -> JoinHandle<anyhow::Result<()>> {
    let views = OrderViews::new(bench.pool.clone(), bench.pool.clone());
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
                .unwrap_or_default();
            anyhow::ensure!(
                views.find(first).await?.order.is_some(),
                "order {first} is gone"
            );
            reads.fetch_add(2, Ordering::Relaxed);
        }
        Ok(())
    })
}
