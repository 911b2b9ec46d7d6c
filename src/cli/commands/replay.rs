//! `orders replay`: applies the events that the read model lacks, or rebuilds the read model.

use super::{
    offline_store::OfflineStore,
    output::{CommandOutcome, print_line},
};
use crate::{
    cli::{arguments::ReplayArgs, progress::Progress},
    postgres,
    read_model::{Phase, Rebuild, RebuildProgress},
};

/// Applies the events that the read model lacks; with `--full`, rebuilds the read model.
///
/// # Errors
/// The database fails, or another rebuild is running.
pub async fn replay(args: &ReplayArgs) -> anyhow::Result<CommandOutcome> {
    let store = OfflineStore::open(&args.store).await?;
    let progress = Progress::start("events");
    if args.full {
        rebuild(&store, args.dry_run, &progress).await?;
    } else {
        catch_up(&store, &progress).await?;
    }
    store.close().await;
    Ok(CommandOutcome::Success)
}

async fn catch_up(store: &OfflineStore, progress: &Progress) -> anyhow::Result<()> {
    let last = postgres::last_position(&store.pool)
        .await?
        .get()
        .unsigned_abs();
    let show = |position: i64| progress.set(position.unsigned_abs(), last);
    let reached = store
        .projector()
        .catch_up(|position| show(position.get()))
        .await?;
    progress.finish();
    print_line(&format!(
        "the read model holds every event up to position {reached}"
    ))
}

async fn rebuild(
    store: &OfflineStore,
    is_dry_run: bool,
    progress: &Progress,
) -> anyhow::Result<()> {
    let show = |at: RebuildProgress| {
        progress.phase(match at.phase {
            Phase::Fill => "folding",
            Phase::Index => "indexing",
            Phase::Compare => "comparing",
            Phase::Switch => "switching",
        });
        progress.set(
            at.position.get().unsigned_abs(),
            at.target.get().unsigned_abs(),
        );
    };
    let rebuilt = Rebuild::new(store.projector())
        .run(is_dry_run, show)
        .await?;
    progress.finish();
    let seconds = progress.elapsed().as_secs_f64();
    let (events, differing) = (rebuilt.events, rebuilt.differing);
    print_line(&format!(
        "{events} events folded in {seconds:.1} s; {differing} orders differed"
    ))?;
    for difference in &rebuilt.examples {
        let (order, field) = (difference.order_id, &difference.field);
        let live = difference.live.as_deref().unwrap_or("nothing");
        let rebuilt = difference.rebuilt.as_deref().unwrap_or("nothing");
        print_line(&format!(
            "  order {order}: {field} was {live}, is {rebuilt}"
        ))?;
    }
    print_line(if rebuilt.is_switched {
        "the rebuilt tables are in use now"
    } else {
        "dry run: the live tables are unchanged"
    })
}
