//! `orders verify`: checks the event store and compares the read model with it.

use super::{
    offline_store::OfflineStore,
    output::{CommandOutcome, print_line},
};
use crate::{
    cli::{arguments::VerifyArgs, progress::Progress},
    read_model::Verify,
};

/// Checks the event store and compares the read model with it. A difference is an
/// [`CommandOutcome::Problem`].
///
/// # Errors
/// The database fails.
pub async fn verify(args: &VerifyArgs) -> anyhow::Result<CommandOutcome> {
    let store = OfflineStore::open(&args.store).await?;
    let progress = Progress::start("orders");
    let report = Verify::new(store.projector())
        .run(
            args.repair,
            |at| progress.set(at.done, at.total),
            |finding| {
                // The verification continues when standard output is closed.
                let _ = print_line(&finding.to_string());
            },
        )
        .await?;
    progress.finish();
    store.close().await;
    let (orders, events) = (report.orders, report.events);
    print_line(&format!(
        "{orders} orders and {events} events verified: {} differences in the event store, {} in \
         the read model ({} orders, {} repaired)",
        report.in_store, report.in_read_model, report.differing_orders, report.repaired
    ))?;
    Ok(CommandOutcome::from_success(report.is_clean()))
}
