//! Embedded mode: a private PostgreSQL and a private nats-server as child processes.
//!
//! `orders serve` without `DATABASE_URL` and `NATS_URL` runs on these, and so do the tests and the
//! benchmarks. They are the real servers with durable settings, not imitations: what holds here
//! holds in production. Nothing listens on a network: PostgreSQL has a unix socket that only its
//! own user can open, nats-server a loopback port.
//!
//! # What is guaranteed
//! - One service at a time: a lock on the data directory, which the kernel lets go of when its
//!   holder dies, and one on each server's own directory.
//! - No server outlives the service, even a killed one (see `supervisor`), and a server that was
//!   left behind all the same is stopped before a new one touches its data (see `leftover`).
//! - A server that ends while the service runs is started again on the same address, loudly and
//!   with growing pauses.
//! - Data survives all of it; a first start that is killed half way leaves nothing behind
//!   (see `cluster`).
//!
//! # Layout of the data directory
//! ```text
//! lock                     pid of the service, locked while it runs
//! postgres/                owned by PostgreSQL's user; as root perhaps a link into /var/lib/orders
//!   data/  orders.conf     the data directory and the generated settings that it includes
//!   postgresql.log
//! nats/                    jetstream/  nats-server.conf  nats-server.log
//! ```

mod account;
mod cluster;
mod directory;
mod error;
mod keeper;
mod leftover;
mod nats;
mod options;
mod postgres;
mod postgres_settings;
mod programs;
mod supervisor;

use tokio::try_join;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::directory::DirectoryLock;
pub use self::error::EmbeddedError;
pub use self::nats::PrivateNats;
pub use self::options::EmbeddedOptions;
pub use self::postgres::PrivatePostgres;

/// Both private servers, kept running until they are stopped.
///
/// Dropping it stops them as well, without waiting for their end.
#[derive(Debug)]
pub struct Embedded {
    database_url: String,
    nats_url: String,
    keepers: TaskTracker,
    stop: DropGuard,
    _lock: DirectoryLock,
}

impl Embedded {
    /// Starts both servers, at the same time, and waits until both take connections.
    ///
    /// # Errors
    /// When another process uses the data directory, a program is missing, or a server ends before
    /// it is ready. Whatever was started is stopped then.
    pub async fn start(options: &EmbeddedOptions) -> Result<Self, EmbeddedError> {
        let data_dir = directory::make(&options.data_dir)?;
        let lock = DirectoryLock::take(&data_dir)?;
        let (postgres, nats) =
            try_join!(PrivatePostgres::start(options), PrivateNats::start(options))?;
        let (database_url, nats_url) = (postgres.database_url(), nats.nats_url());
        let (keepers, stop) = (TaskTracker::new(), CancellationToken::new());
        keepers.spawn(keeper::keep(postgres, stop.clone()));
        keepers.spawn(keeper::keep(nats, stop.clone()));
        keepers.close();
        Ok(Self {
            database_url,
            nats_url,
            keepers,
            stop: stop.drop_guard(),
            _lock: lock,
        })
    }

    /// The address of the database, for `sqlx` and `psql`. The same over restarts.
    #[must_use]
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// The address of NATS. The same over restarts.
    #[must_use]
    pub fn nats_url(&self) -> &str {
        &self.nats_url
    }

    /// Stops both servers cleanly and waits for their end: at most about ten seconds, then they
    /// are killed.
    pub async fn stop(self) {
        drop(self.stop);
        self.keepers.wait().await;
    }
}
