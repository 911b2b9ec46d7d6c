//! The store that a command works on.

use std::{path::Path, sync::Arc};

use anyhow::bail;
use sqlx::PgPool;

use crate::{
    app::{config::StoreArgs, wait_for_database},
    embedded::{EmbeddedOptions, PrivatePostgres},
    event_sourcing::upcast::UpcasterChain,
    live::FreshEvents,
    order::upcasters::upcasters,
    postgres::{self, PgEventStore, Writer, writer::WriterOptions},
    read_model::Projector,
};

/// Connections of a command.
const CONNECTIONS: u32 = 8;

/// A store for a command: an up-to-date database, with a writer of its own.
pub(super) struct OfflineStore {
    pub(super) pool: PgPool,
    pub(super) store: PgEventStore,
    pub(super) upcasters: Arc<UpcasterChain>,
    /// The embedded PostgreSQL, if this command started it.
    postgres: Option<PrivatePostgres>,
}

impl OfflineStore {
    /// Opens the store, and brings the database schema up to date.
    ///
    /// # Errors
    /// There is no database, or it cannot be reached or used.
    pub(super) async fn open(args: &StoreArgs) -> anyhow::Result<Self> {
        let (url, postgres) = match args.database_url.as_ref().filter(|url| !url.is_empty()) {
            Some(url) => (url.clone(), None),
            None => embedded_postgres(&args.data_dir).await?,
        };
        let connect = postgres::connect_options(&url)?;
        wait_for_database(&connect, args.allow_unsafe_database).await?;
        let options = WriterOptions::default();
        let key_ttl = options.key_ttl;
        let (writer, handle) = Writer::new(connect.clone(), options, FreshEvents::default());
        #[expect(
            clippy::disallowed_methods,
            reason = "ends when its last handle is dropped"
        )]
        tokio::spawn(writer.run());
        let pool = postgres::pool(connect, CONNECTIONS);
        let store = PgEventStore::new(pool.clone(), handle, key_ttl);
        let upcasters = Arc::new(upcasters(args.currency()?)?);
        Ok(Self {
            pool,
            store,
            upcasters,
            postgres,
        })
    }

    pub(super) fn projector(&self) -> Projector<PgEventStore> {
        Projector::new(
            self.pool.clone(),
            self.store.clone(),
            Arc::clone(&self.upcasters),
        )
    }

    /// Closes the connections, and stops the embedded PostgreSQL if this command started it.
    pub(super) async fn close(mut self) {
        self.pool.close().await;
        if let Some(postgres) = &mut self.postgres {
            postgres.stop().await;
        }
    }
}

/// The URL of the embedded PostgreSQL of a data directory. If no service runs, starts PostgreSQL
/// and returns it too.
async fn embedded_postgres(data_dir: &Path) -> anyhow::Result<(String, Option<PrivatePostgres>)> {
    if !data_dir.join("postgres").exists() {
        bail!(
            "DATABASE_URL is not set, and {} holds no embedded database",
            data_dir.display()
        );
    }
    let options = EmbeddedOptions::new(data_dir);
    if let Some(url) = PrivatePostgres::running(&options)? {
        return Ok((url, None));
    }
    let postgres = PrivatePostgres::start(&options).await?;
    Ok((postgres.database_url(), Some(postgres)))
}
