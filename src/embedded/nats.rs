//! A private nats-server with JetStream.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tracing::{debug, info};

use super::directory::{self, DirectoryLock, log_length, log_tail, rotate_log, short_hash};
use super::error::EmbeddedError;
use super::leftover::Leftover;
use super::options::EmbeddedOptions;
use super::programs::find_nats_server;
use super::supervisor::{Program, StopStep, Supervised};

/// A clean shutdown writes JetStream's state, a killed server reads its files again.
const STOP_STEPS: &[StopStep] = &[
    (Signal::SIGTERM, Duration::from_secs(5)),
    (Signal::SIGKILL, Duration::from_secs(2)),
];
/// A start reads the whole store once where the last end was not a clean one.
const START_LIMIT: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(3);
/// Ports outside the range that systems give to outgoing connections. A client that reconnects to
/// a port of that range may be given the same one for its own end and talk to itself, and the
/// server could not have it back.
const PORTS: std::ops::Range<u16> = 20_000..30_000;
/// On how many processors the server may run at once, a quarter of the machine's: its threads wake one
/// another for every message, and on fewer processors that costs a quarter less. One processor passes
/// on several times what PostgreSQL stores.
const MACHINE_SHARE: usize = 4;
/// How many ports are tried.
const PORT_ATTEMPTS: u32 = 20;

/// A nats-server of our own, on a loopback port that is chosen at the start and kept over restarts.
///
/// Dropping it stops the server without waiting for its end.
#[derive(Debug)]
pub struct PrivateNats {
    program: PathBuf,
    home: PathBuf,
    server_name: String,
    port: u16,
    process: Option<Supervised>,
    _lock: DirectoryLock,
}

impl PrivateNats {
    /// Starts the server on `<data_dir>/nats` and a free port, and waits until it takes
    /// connections.
    ///
    /// # Errors
    /// When the program is missing, the directory is in use or unusable, or the server ends before
    /// it is ready.
    pub async fn start(options: &EmbeddedOptions) -> Result<Self, EmbeddedError> {
        let data_dir = directory::make(&options.data_dir)?;
        let home = data_dir.join("nats");
        directory::make_private(&home)?;
        let home = directory::make(&home)?;
        let lock = DirectoryLock::take(&home)?;
        let program = find_nats_server(options).await?;
        let server_name = format!("orders-{}", short_hash(&home));
        let mut nats = Self {
            program,
            home,
            server_name,
            port: 0,
            process: None,
            _lock: lock,
        };
        let mut attempt = 1;
        loop {
            nats.port = free_port();
            match nats.launch().await {
                // Somebody else took the port between our look and the server's.
                Err(EmbeddedError::EndedAtStart { tail, .. })
                    if tail.contains("address already in use") && attempt < PORT_ATTEMPTS =>
                {
                    debug!(port = nats.port, "the port is taken, trying another one");
                    attempt += 1;
                }
                Err(error) => return Err(error),
                Ok(()) => return Ok(nats),
            }
        }
    }

    /// Starts the server again on the same data and port, after `stop`, `kill` or a crash; a
    /// server that still runs is stopped first.
    ///
    /// # Errors
    /// When the server ends before it is ready, because its port was taken meanwhile, say.
    pub async fn restart(&mut self) -> Result<(), EmbeddedError> {
        self.stop().await;
        self.launch().await
    }

    /// Stops the server cleanly.
    pub async fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop().await;
        }
    }

    /// Kills the server with SIGKILL, as a crash would.
    pub async fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill().await;
        }
    }

    /// Waits until the running server has ended by itself and says how; for ever while none runs.
    pub async fn exited(&mut self) -> String {
        match &mut self.process {
            Some(process) => process.exited().await,
            None => std::future::pending().await,
        }
    }

    /// The server's process id, while it is meant to run.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.process.as_ref().map(Supervised::pid)
    }

    /// The server's address. The same over restarts.
    #[must_use]
    pub fn nats_url(&self) -> String {
        format!("nats://{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    async fn launch(&mut self) -> Result<(), EmbeddedError> {
        let began = Instant::now();
        let pid_file = self.home.join("nats-server.pid");
        let conf = self.home.join("nats-server.conf");
        let log = self.home.join("nats-server.log");
        let leftover = Leftover {
            pid_file: &pid_file,
            program: "nats-server",
            data: &conf,
            stop_steps: STOP_STEPS,
        };
        leftover.stop().await?;
        directory::write_new(&conf, &self.settings())?;
        rotate_log(&log);
        let log_start = log_length(&log);
        let program = Program {
            file: &self.program,
            arguments: vec!["--config".into(), conf.clone().into()],
            environment: vec![("GOMAXPROCS", processors().to_string())],
            directory: &self.home,
            log: log.clone(),
            account: None,
            stop_steps: STOP_STEPS,
        };
        let mut process = Supervised::spawn(&program).await?;
        tokio::select! {
            status = process.exited() => {
                let tail = log_tail(&log, log_start);
                return Err(EmbeddedError::EndedAtStart { server: "nats-server", status, log, tail });
            }
            () = ready(self.port, &self.server_name) => {}
            () = sleep(START_LIMIT) => {
                let tail = log_tail(&log, log_start);
                let waited = START_LIMIT;
                return Err(EmbeddedError::NotReady { server: "nats-server", waited, log, tail });
            }
        }
        let (pid, port, elapsed) = (process.pid(), self.port, began.elapsed());
        info!(pid, port, ?elapsed, directory = %self.home.display(), "private NATS is ready");
        self.process = Some(process);
        Ok(())
    }

    /// The configuration file, rewritten at each start.
    fn settings(&self) -> String {
        format!(
            "\
# Generated at each start by `orders serve`.
server_name: {name}
# Private: nobody but programs of this machine.
listen: \"127.0.0.1:{port}\"
pid_file: {pid_file}
# The creation of an order with two thousand lines is one message of about half a megabyte; this
# leaves room, and is the largest size that nats-server itself does not advise against.
max_payload: 8388608
# JetStream's sync_interval stays at its default: the event store is the truth, and what NATS loses
# in a power cut is published again.
jetstream {{
  store_dir: {store}
}}
",
            name = self.server_name,
            port = self.port,
            pid_file = quoted(&self.home.join("nats-server.pid")),
            store = quoted(&self.home),
        )
    }
}

/// A path as a string of the configuration language, which takes the escapes of JSON.
fn quoted(path: &Path) -> String {
    format!("{:?}", path.to_string_lossy())
}

/// A port that nobody listens on at the moment.
fn free_port() -> u16 {
    let candidates = std::iter::repeat_with(|| rand::random_range(PORTS));
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    candidates.take(1000).find(free).unwrap_or(PORTS.start)
}

/// Waits until the server of that name greets on its port. nats-server opens the port only after
/// JetStream has read its store.
async fn ready(port: u16, server_name: &str) {
    let name = format!("\"server_name\":\"{server_name}\"");
    loop {
        if let Ok(mut connection) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
            let mut greeting = Vec::new();
            while connection
                .read_buf(&mut greeting)
                .await
                .is_ok_and(|read| read > 0)
            {
                let text = String::from_utf8_lossy(&greeting);
                if text.starts_with("INFO ") && text.contains(&name) {
                    return;
                }
                if text.contains('\n') {
                    break;
                }
            }
        }
        sleep(POLL).await;
    }
}

fn processors() -> usize {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    (all / MACHINE_SHARE).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_quotes_stays_one_string() {
        assert_eq!(quoted(Path::new("/a b/\"c\"")), r#""/a b/\"c\"""#);
    }

    #[test]
    fn a_chosen_port_is_free_and_none_for_outgoing_connections() {
        let port = free_port();

        assert!(PORTS.contains(&port));
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
    }
}
