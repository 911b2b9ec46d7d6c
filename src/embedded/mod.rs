//! Embedded mode: a private PostgreSQL and a private nats-server as child processes. How the
//! service uses them does not belong here.
//!
//! `orders serve` without `DATABASE_URL` and `NATS_URL` uses these servers, and so do the tests and
//! the benchmarks. They are the real servers with durable settings. Nothing listens on a network:
//! PostgreSQL has a unix socket that only its own user can open; nats-server has a loopback port, and a
//! random password in a file that only its own user and root can read.
//!
//! # Guarantees
//! - One service at a time: it holds a lock on the data directory and one on each server's
//!   directory. The kernel releases them when the service dies.
//! - No server outlives the service, even a killed one (see `supervisor`). If one does all the
//!   same, it is stopped before a new one uses its data (see `orphan`).
//! - A server that ends while the service runs is started again at the same address, with log lines
//!   and growing pauses (see `restarts`).
//! - Acknowledged data survives all of this. A first start that is killed before its end leaves
//!   nothing that the next one would use (see `postgres_init`).
//!
//! # Layout of the data directory
//! ```text
//! lock                     pid of the service, locked while it runs
//! postgres/                owned by PostgreSQL's user; for root possibly a link into /var/lib/orders
//!   data/  orders.conf     PostgreSQL's data directory, and the generated settings that it includes
//!   postgresql.log
//! nats/                    owned by the same user
//!   jetstream/  nats-server.conf  nats-server.log
//!   url                    the address with user and password, for other programs
//! ```

mod directory;
mod error;
mod nats;
mod options;
mod orphan;
mod postgres;
mod postgres_init;
mod postgres_settings;
mod postgres_socket;
mod programs;
mod restarts;
mod server_home;
mod supervisor;
mod system_user;

use tokio::try_join;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::directory::DirectoryLock;
pub use self::error::EmbeddedError;
pub use self::nats::PrivateNats;
pub use self::options::EmbeddedOptions;
pub use self::postgres::PrivatePostgres;

/// Both private servers. They are restarted when they end, until they are stopped.
///
/// Dropping the value stops them without waiting for their end.
#[derive(Debug)]
pub struct Embedded {
    database_url: String,
    nats_url: String,
    restarters: TaskTracker,
    stop: DropGuard,
    _lock: DirectoryLock,
}

impl Embedded {
    /// Starts both servers at the same time, and waits until both accept connections.
    ///
    /// # Errors
    /// Another process uses the data directory, a program is missing, or a server ends before it is
    /// ready. A server that was started is then stopped.
    pub async fn start(options: &EmbeddedOptions) -> Result<Self, EmbeddedError> {
        let data_dir = directory::make(&options.data_dir)?;
        let lock = DirectoryLock::take(&data_dir)?;
        let (postgres, nats) =
            try_join!(PrivatePostgres::start(options), PrivateNats::start(options))?;
        let (database_url, nats_url) = (postgres.database_url(), nats.nats_url());
        let (restarters, stop) = (TaskTracker::new(), CancellationToken::new());
        restarters.spawn(restarts::keep_running(postgres, stop.clone()));
        restarters.spawn(restarts::keep_running(nats, stop.clone()));
        restarters.close();
        Ok(Self {
            database_url,
            nats_url,
            restarters,
            stop: stop.drop_guard(),
            _lock: lock,
        })
    }

    /// The database URL, for `sqlx` and `psql`. It stays the same over restarts.
    #[must_use]
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// The NATS URL. It stays the same over restarts.
    #[must_use]
    pub fn nats_url(&self) -> &str {
        &self.nats_url
    }

    /// Stops both servers cleanly and waits for their end. A server that does not end within about
    /// ten seconds is killed.
    pub async fn stop(self) {
        drop(self.stop);
        self.restarters.wait().await;
    }
}
