//! `orders migrate`: brings the database schema up to date.

use super::{
    offline_store::OfflineStore,
    output::{CommandOutcome, print_line},
};
use crate::app::config::StoreArgs;

/// Brings the database schema up to date.
///
/// # Errors
/// The database cannot be reached or used.
pub async fn migrate(args: &StoreArgs) -> anyhow::Result<CommandOutcome> {
    OfflineStore::open(args).await?.close().await;
    print_line("the schema is up to date")?;
    Ok(CommandOutcome::Success)
}
