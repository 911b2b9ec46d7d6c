//! Restarts a private server when it ends unexpectedly.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::select;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::error::EmbeddedError;
use super::nats::PrivateNats;
use super::postgres::PrivatePostgres;

/// The pause before the first restart. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// After this time without an unexpected end, the pause is the first one again.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);

/// A server that can be restarted.
pub(super) trait RestartableServer: Send {
    /// The server's name in the log.
    const NAME: &'static str;

    /// Waits for an unexpected end and returns the exit status as text.
    fn exited(&mut self) -> impl Future<Output = String> + Send;

    /// Starts it again.
    fn restart(&mut self) -> impl Future<Output = Result<(), EmbeddedError>> + Send;

    /// Stops it cleanly.
    fn stop(&mut self) -> impl Future<Output = ()> + Send;
}

/// Restarts the server whenever it ends, until `stop` is cancelled; then stops it.
pub(super) async fn keep_running<S: RestartableServer>(mut server: S, stop: CancellationToken) {
    let mut pause = FIRST_PAUSE;
    let mut started = Instant::now();
    loop {
        let status = select! {
            () = stop.cancelled() => break,
            status = server.exited() => status,
        };
        error!(
            server = S::NAME,
            status, "embedded server ended unexpectedly, restarting it"
        );
        if started.elapsed() > HEALTHY_AFTER {
            pause = FIRST_PAUSE;
        }
        let restarted = select! {
            () = stop.cancelled() => break,
            () = restart(&mut server, &mut pause) => Instant::now(),
        };
        warn!(server = S::NAME, "embedded server runs again");
        started = restarted;
    }
    server.stop().await;
}

/// Tries to start the server until it runs, with growing pauses.
async fn restart<S: RestartableServer>(server: &mut S, pause: &mut Duration) {
    loop {
        sleep(*pause).await;
        *pause = (*pause * 2).min(LONGEST_PAUSE);
        match server.restart().await {
            Ok(()) => return,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                error!(server = S::NAME, error, retry_in = ?*pause, "cannot restart the embedded server");
            }
        }
    }
}

impl RestartableServer for PrivatePostgres {
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

impl RestartableServer for PrivateNats {
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

    /// A server that ends twice. Its first restart fails.
    struct UnstableServer {
        ends_left: u32,
        restarts: Arc<AtomicU32>,
        stops: Arc<AtomicU32>,
        all_restarted: CancellationToken,
    }

    impl RestartableServer for UnstableServer {
        const NAME: &'static str = "unstable";

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
                0 => Err(EmbeddedError::NoSystemUser),
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
        let server = UnstableServer {
            ends_left: 2,
            restarts: Arc::clone(&restarts),
            stops: Arc::clone(&stops),
            all_restarted: all_restarted.clone(),
        };

        tokio::join!(keep_running(server, stop.clone()), async {
            all_restarted.cancelled().await;
            stop.cancel();
        });

        assert_eq!(restarts.load(Ordering::Relaxed), 3);
        assert_eq!(stops.load(Ordering::Relaxed), 1);
    }
}
