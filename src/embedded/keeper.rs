//! Keeps a private server running.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::select;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::error::EmbeddedError;
use super::nats::PrivateNats;
use super::postgres::PrivatePostgres;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A server that ran this long before it ended again does not count as one that cannot run.
const HEALTHY: Duration = Duration::from_secs(30);

/// What keeping a server running takes.
pub(super) trait Server: Send {
    /// The server's name in the log.
    const NAME: &'static str;

    /// Waits for an unexpected end and says how the server ended.
    fn exited(&mut self) -> impl Future<Output = String> + Send;

    /// Starts it again.
    fn restart(&mut self) -> impl Future<Output = Result<(), EmbeddedError>> + Send;

    /// Stops it cleanly.
    fn stop(&mut self) -> impl Future<Output = ()> + Send;
}

/// Starts the server again whenever it ends, and stops it when `stop` says so.
pub(super) async fn keep<S: Server>(mut server: S, stop: CancellationToken) {
    let mut pause = FIRST_PAUSE;
    let mut started = Instant::now();
    loop {
        let status = select! {
            () = stop.cancelled() => break,
            status = server.exited() => status,
        };
        error!(
            server = S::NAME,
            status, "an embedded server ended unexpectedly, restarting it"
        );
        if started.elapsed() > HEALTHY {
            pause = FIRST_PAUSE;
        }
        let restarted = select! {
            () = stop.cancelled() => break,
            () = restart(&mut server, &mut pause) => Instant::now(),
        };
        warn!(server = S::NAME, "the embedded server runs again");
        started = restarted;
    }
    server.stop().await;
}

/// Tries until the server runs, with growing pauses.
async fn restart<S: Server>(server: &mut S, pause: &mut Duration) {
    loop {
        sleep(*pause).await;
        *pause = (*pause * 2).min(LONGEST_PAUSE);
        match server.restart().await {
            Ok(()) => return,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                error!(server = S::NAME, error, retry_in = ?*pause, "cannot restart it");
            }
        }
    }
}

impl Server for PrivatePostgres {
    const NAME: &'static str = "PostgreSQL";

    async fn exited(&mut self) -> String {
        self.exited().await
    }

    async fn restart(&mut self) -> Result<(), EmbeddedError> {
        self.restart().await
    }

    async fn stop(&mut self) {
        self.stop().await;
    }
}

impl Server for PrivateNats {
    const NAME: &'static str = "NATS";

    async fn exited(&mut self) -> String {
        self.exited().await
    }

    async fn restart(&mut self) -> Result<(), EmbeddedError> {
        self.restart().await
    }

    async fn stop(&mut self) {
        self.stop().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A server that ends at once twice, of which the first restart fails.
    struct Flaky {
        ends_left: u32,
        restarts: Arc<AtomicU32>,
        stops: Arc<AtomicU32>,
        all_restarted: CancellationToken,
    }

    impl Server for Flaky {
        const NAME: &'static str = "flaky";

        async fn exited(&mut self) -> String {
            if self.ends_left == 0 {
                self.all_restarted.cancel();
                std::future::pending::<()>().await;
            }
            self.ends_left -= 1;
            "exit status 1".to_owned()
        }

        async fn restart(&mut self) -> Result<(), EmbeddedError> {
            match self.restarts.fetch_add(1, Ordering::Relaxed) {
                0 => Err(EmbeddedError::NoAccount),
                _ => Ok(()),
            }
        }

        async fn stop(&mut self) {
            self.stops.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_server_is_restarted_until_it_runs_and_stopped_at_the_end() {
        let (restarts, stops) = (Arc::default(), Arc::default());
        let (stop, all_restarted) = (CancellationToken::new(), CancellationToken::new());
        let server = Flaky {
            ends_left: 2,
            restarts: Arc::clone(&restarts),
            stops: Arc::clone(&stops),
            all_restarted: all_restarted.clone(),
        };

        tokio::join!(keep(server, stop.clone()), async {
            all_restarted.cancelled().await;
            stop.cancel();
        });

        assert_eq!(restarts.load(Ordering::Relaxed), 3);
        assert_eq!(stops.load(Ordering::Relaxed), 1);
    }
}
