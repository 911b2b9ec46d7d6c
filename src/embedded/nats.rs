//! A private nats-server with JetStream.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tracing::debug;

use super::directory::{self, DirectoryLock, rotate_log, short_hash};
use super::error::EmbeddedError;
use super::options::EmbeddedOptions;
use super::orphan::OrphanServer;
use super::programs::find_nats_server;
use super::server_home::make_home;
use super::supervisor::{Program, StopStep, SupervisedServer};
use super::system_user::SystemUser;

/// A clean shutdown writes JetStream's state; after a kill the next start reads all files.
const STOP_STEPS: &[StopStep] = &[
    (Signal::SIGTERM, Duration::from_secs(5)),
    (Signal::SIGKILL, Duration::from_secs(2)),
];
const READY_POLL_INTERVAL: Duration = Duration::from_millis(3);
/// Ports outside the range that systems use for outgoing connections. A client that reconnects to a
/// port in that range may get the same port for its own end: it would talk to itself, and the
/// server could not use the port again.
const PORTS: std::ops::Range<u16> = 20_000..30_000;
/// The server uses a quarter of the machine's processors. Its threads wake each other for every
/// message, which costs a quarter less on fewer processors. One processor passes on several times
/// as many events as PostgreSQL stores.
const PROCESSOR_SHARE: usize = 4;
/// The one user of the server.
const USER: &str = "orders";
/// How many ports are tried.
const PORT_ATTEMPTS: u32 = 20;

/// A private nats-server on a loopback port that is chosen at the start and kept over restarts.
///
/// Dropping the value stops the server without waiting for its end.
#[derive(Debug)]
pub struct PrivateNats {
    program: PathBuf,
    home: PathBuf,
    server_name: String,
    user: Option<SystemUser>,
    port: u16,
    /// Random, and new at each start of the service.
    password: String,
    process: Option<SupervisedServer>,
    _lock: DirectoryLock,
}

impl PrivateNats {
    /// Starts the server on `<data_dir>/nats` and a free port, and waits until it accepts
    /// connections. Only programs that can read the URL in `<data_dir>/nats/url` can use it.
    ///
    /// # Errors
    /// The program is missing, the directory is in use or cannot be used, or the server ends before
    /// it is ready.
    pub async fn start(options: &EmbeddedOptions) -> Result<Self, EmbeddedError> {
        let data_dir = directory::make(&options.data_dir)?;
        let user = SystemUser::for_server(&data_dir.join("nats"))?;
        let home = make_home(&data_dir, "nats", user).await?;
        let lock = DirectoryLock::take(&home)?;
        let program = find_nats_server(options, user).await?;
        let server_name = format!("orders-{}", short_hash(&home));
        let mut nats = Self {
            program,
            home,
            server_name,
            user,
            port: 0,
            password: format!("{:032x}", rand::random::<u128>()),
            process: None,
            _lock: lock,
        };
        let mut attempt = 1;
        loop {
            nats.port = free_port();
            match nats.launch().await {
                // Another program took the port after it was chosen.
                Err(EmbeddedError::EndedAtStart { tail, .. })
                    if tail.contains("address already in use") && attempt < PORT_ATTEMPTS =>
                {
                    debug!(port = nats.port, "the port is in use, trying another one");
                    attempt += 1;
                }
                Err(error) => return Err(error),
                Ok(()) => return Ok(nats),
            }
        }
    }

    /// Starts the server again on the same data and port, after `stop`, `kill` or a crash. Stops it
    /// first if it runs.
    ///
    /// # Errors
    /// The server ends before it is ready, for example because another program uses its port.
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

    /// Kills the server with SIGKILL.
    pub async fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill().await;
        }
    }

    /// Waits until the server ends without being asked to, and returns its exit status as text.
    /// Never completes if no server runs.
    pub async fn exited(&mut self) -> String {
        match &mut self.process {
            Some(process) => process.exited().await,
            None => std::future::pending().await,
        }
    }

    /// The server's process id; `None` after `stop` and `kill`.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.process.as_ref().map(SupervisedServer::pid)
    }

    /// The server's URL, with user and password. It stays the same over restarts.
    #[must_use]
    pub fn nats_url(&self) -> String {
        let (password, host, port) = (&self.password, Ipv4Addr::LOCALHOST, self.port);
        format!("nats://{USER}:{password}@{host}:{port}")
    }

    async fn launch(&mut self) -> Result<(), EmbeddedError> {
        let pid_file = self.home.join("nats-server.pid");
        let conf = self.home.join("nats-server.conf");
        let log = self.home.join("nats-server.log");
        let orphan = OrphanServer {
            pid_file: &pid_file,
            program: "nats-server",
            data: &conf,
            stop_steps: STOP_STEPS,
        };
        orphan.stop().await?;
        directory::write_private(&conf, &self.settings())?;
        if let Some(user) = self.user {
            user.own(&conf)?;
        }
        directory::write_private(&self.home.join("url"), &self.nats_url())?;
        rotate_log(&log);
        let program = Program {
            name: "nats-server",
            file: &self.program,
            arguments: vec!["--config".into(), conf.clone().into()],
            environment: vec![("GOMAXPROCS", processors().to_string())],
            directory: &self.home,
            log,
            user: self.user,
            stop_steps: STOP_STEPS,
        };
        let (port, name) = (self.port, &self.server_name);
        let process = SupervisedServer::start(&program, |_pid| wait_until_ready(port, name));
        self.process = Some(process.await?);
        Ok(())
    }

    /// The text of the configuration file, which is written at each start.
    fn settings(&self) -> String {
        format!(
            "\
# Generated at each start by `orders serve`.
server_name: {name}
# Private: only programs on this machine that know the password can connect. The file `url` beside this
# one has it.
listen: \"127.0.0.1:{port}\"
authorization {{ user: {USER}, password: \"{password}\" }}
pid_file: {pid_file}
# The creation of an order with two thousand lines is one message of about half a megabyte. This is
# the largest size that nats-server does not warn about.
max_payload: 8388608
# JetStream's sync_interval keeps its default: events that NATS loses in a power cut are published
# again from the event store.
jetstream {{
  store_dir: {store}
}}
",
            name = self.server_name,
            password = self.password,
            port = self.port,
            pid_file = quoted(&self.home.join("nats-server.pid")),
            store = quoted(&self.home),
        )
    }
}

/// A path as a string of the configuration language, which has the escapes of JSON.
fn quoted(path: &Path) -> String {
    format!("{:?}", path.to_string_lossy())
}

/// A port that no program listens on at the moment.
fn free_port() -> u16 {
    let candidates = std::iter::repeat_with(|| rand::random_range(PORTS));
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    candidates.take(1000).find(free).unwrap_or(PORTS.start)
}

/// Waits until the server of this name greets on its port. nats-server opens the port only after
/// JetStream has read its store.
async fn wait_until_ready(port: u16, server_name: &str) {
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
        sleep(READY_POLL_INTERVAL).await;
    }
}

/// How many processors the server may use.
fn processors() -> usize {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    (all / PROCESSOR_SHARE).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_quotes_stays_one_string() {
        assert_eq!(quoted(Path::new("/a b/\"c\"")), r#""/a b/\"c\"""#);
    }

    #[test]
    fn a_chosen_port_is_free_and_outside_the_range_of_outgoing_connections() {
        let port = free_port();

        assert!(PORTS.contains(&port));
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
    }
}
