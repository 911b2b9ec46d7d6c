//! Signals: the first asks for a clean stop, the second ends the process at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

/// SIGTERM and SIGINT.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Waits for the first signal; from then on a second one ends the process.
    pub async fn first(mut self) {
        let name = self.next().await;
        info!("{name}: stopping; once more stops at once");
        #[expect(
            clippy::disallowed_methods,
            reason = "must outlive everything that is waited for"
        )]
        tokio::spawn(async move {
            let name = self.next().await;
            warn!("{name} again: stopping at once");
            std::process::exit(1);
        });
    }
}
