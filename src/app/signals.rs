//! SIGTERM and SIGINT: the first one asks for a clean stop, the second one ends the process at
//! once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

/// The signals that stop the process.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Starts to listen. From now on the signals do not end the process by themselves.
    ///
    /// # Errors
    /// The system refuses to install the handlers.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next signal and returns its name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Waits for the first signal. After that, a second one ends the process with exit status 1.
    pub async fn wait_for_stop(mut self) {
        let name = self.next().await;
        info!("{name} received, stopping; a second signal ends the process at once");
        #[expect(
            clippy::disallowed_methods,
            reason = "must run until the process ends, beside everything that stops"
        )]
        tokio::spawn(async move {
            let name = self.next().await;
            warn!("{name} received again, ending the process at once");
            std::process::exit(1);
        });
    }
}
