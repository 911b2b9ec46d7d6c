//! The program under real orders while it or a server is killed, stopped or cut off: no
//! acknowledged command is lost, and none is applied twice.

mod command_line;
mod nats_stopped;
mod postgres_killed;
mod postgres_silent;
mod rolling_restart;
mod service_killed;
mod signals;
mod streams;
mod two_services;

use std::time::Duration;

use sqlx::PgPool;

use crate::support::{retail, service::DataDir, shop::Shop, truth};

/// After how many acknowledged commands, of about five hundred, the fault is injected.
const MIDDLE: usize = 150;
/// How long a clean stop may take.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// Checks store, read model and stream after a load on an embedded service.
async fn assert_all_is_well(shop: &Shop, data: &DataDir, url: &str) {
    let database = data.database();
    let nats_url = data.nats_url().expect("NATS runs");
    assert_orders_are_well(shop, &database, &nats_url, "EVENTS", url).await;
    data.assert_verifies().await;
}

/// Checks store, read model and stream after a load.
async fn assert_orders_are_well(
    shop: &Shop,
    database: &PgPool,
    nats_url: &str,
    stream: &str,
    url: &str,
) {
    truth::caught_up(database).await;
    truth::assert_store_is_what_was_acknowledged(shop, database).await;
    truth::assert_views_are_what_the_file_says(shop, url).await;
    truth::assert_stream_holds_the_store(nats_url, stream, database).await;
}

/// The orders of one load.
fn orders() -> Vec<retail::Invoice> {
    retail::excerpt().0
}
