//! A private PostgreSQL server.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::account::Account;
use super::cluster;
use super::directory::{self, DirectoryLock, log_length, log_tail, rotate_log, short_hash};
use super::error::EmbeddedError;
use super::leftover::Leftover;
use super::options::EmbeddedOptions;
use super::postgres_settings::settings;
use super::programs::find_postgres;
use super::supervisor::{Program, StopStep, Supervised};

/// The port that names the socket file; no network port is opened.
pub(super) const PORT: u16 = 5432;
/// Where root keeps the data of a service whose own directory PostgreSQL's user cannot reach.
const ROOT_DATA: &str = "/var/lib/orders";
/// Fast shutdown (sessions are ended, a checkpoint is written), immediate shutdown (recovery at the
/// next start), and the signal that cannot be refused.
const STOP_STEPS: &[StopStep] = &[
    (Signal::SIGINT, Duration::from_secs(5)),
    (Signal::SIGQUIT, Duration::from_secs(2)),
    (Signal::SIGKILL, Duration::from_secs(2)),
];
/// A start after a crash replays up to `max_wal_size` of log.
const START_LIMIT: Duration = Duration::from_mins(1);
/// How long backends of a killed server may take to notice; until then a new one refuses to start.
const BACKENDS_LIMIT: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(3);

/// A PostgreSQL server of our own: one directory, one unix socket, one database `orders`.
///
/// The socket's place depends only on the data directory, so the address stays the same over
/// restarts. Dropping it stops the server without waiting for its end.
#[derive(Debug)]
pub struct PrivatePostgres {
    bin: PathBuf,
    home: PathBuf,
    socket_directory: PathBuf,
    account: Option<Account>,
    process: Option<Supervised>,
    _lock: DirectoryLock,
}

impl PrivatePostgres {
    /// Starts the server on `<data_dir>/postgres` and waits until it takes connections. The first
    /// start creates the data directory.
    ///
    /// # Errors
    /// When the program is missing, the directory is in use or unusable, or the server ends before
    /// it is ready.
    pub async fn start(options: &EmbeddedOptions) -> Result<Self, EmbeddedError> {
        let data_dir = directory::make(&options.data_dir)?;
        let account = Account::for_postgres(&data_dir.join("postgres"))?;
        let home = home(&data_dir, account).await?;
        let lock = DirectoryLock::take(&home)?;
        let data = home.join("data");
        let bin = find_postgres(options, account, cluster::major_version(&data)).await?;
        if !data.exists() {
            cluster::create(&bin, &home, account).await?;
        }
        let socket_directory = socket_directory(&home);
        let mut postgres = Self {
            bin,
            home,
            socket_directory,
            account,
            process: None,
            _lock: lock,
        };
        postgres.launch().await?;
        Ok(postgres)
    }

    /// The address of the server of this data directory, where one runs for another process.
    ///
    /// # Errors
    /// When the data directory cannot be used.
    pub fn running(options: &EmbeddedOptions) -> Result<Option<String>, EmbeddedError> {
        let link = options.data_dir.join("postgres");
        let Ok(home) = fs::canonicalize(&link) else {
            return Ok(None);
        };
        match DirectoryLock::take(&home) {
            Ok(_free) => Ok(None),
            Err(EmbeddedError::InUse { .. }) => Ok(Some(address(&socket_directory(&home)))),
            Err(error) => Err(error),
        }
    }

    /// Starts the server again on the same data and socket, after `stop`, `kill` or a crash; a
    /// server that still runs is stopped first.
    ///
    /// # Errors
    /// When the server ends before it is ready.
    pub async fn restart(&mut self) -> Result<(), EmbeddedError> {
        self.stop().await;
        self.launch().await
    }

    /// Stops the server cleanly: a fast shutdown, after five seconds an immediate one.
    pub async fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop().await;
        }
        // The socket file is gone with the server, unless that was killed.
        let _ = fs::remove_dir(&self.socket_directory);
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

    /// The address of the database, for `sqlx` and `psql`. The same over restarts.
    #[must_use]
    pub fn database_url(&self) -> String {
        address(&self.socket_directory)
    }

    /// Starts the server, again and again while backends of a killed one are still ending.
    async fn launch(&mut self) -> Result<(), EmbeddedError> {
        let data = self.home.join("data");
        let pid_file = data.join("postmaster.pid");
        let leftover = Leftover {
            pid_file: &pid_file,
            program: "postgres",
            data: &data,
            stop_steps: STOP_STEPS,
        };
        leftover.stop().await?;
        self.prepare_socket_directory()?;
        let settings_file = self.home.join("orders.conf");
        directory::write_new(&settings_file, &settings(&self.socket_directory))?;
        rotate_log(&self.log());
        let deadline = Instant::now() + BACKENDS_LIMIT;
        loop {
            match self.launch_once(leftover.recorded_pid()).await {
                Err(EmbeddedError::EndedAtStart { tail, .. })
                    if tail.contains("pre-existing shared memory block")
                        && Instant::now() < deadline =>
                {
                    debug!("waiting for the backends of a killed PostgreSQL");
                    sleep(Duration::from_millis(50)).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn launch_once(&mut self, stale_pid: Option<i32>) -> Result<(), EmbeddedError> {
        let began = Instant::now();
        let data = self.home.join("data");
        let mut environment = Vec::new();
        if let Some(pid) = stale_pid {
            // By now the recorded pid may be any process's, and PostgreSQL would take that for a
            // running server. It overlooks the pid that this variable names (meant for pg_ctl's
            // callers). Removing the file instead would also remove PostgreSQL's own protection
            // against backends that are still alive.
            environment.push(("PG_GRANDPARENT_PID", pid.to_string()));
        }
        let log_start = log_length(&self.log());
        let file = self.bin.join("postgres");
        let program = Program {
            file: &file,
            arguments: vec!["-D".into(), data.clone().into()],
            environment,
            directory: &self.home,
            log: self.log(),
            account: self.account,
            stop_steps: STOP_STEPS,
        };
        let mut process = Supervised::spawn(&program).await?;
        let pid = process.pid();
        let pid_file = data.join("postmaster.pid");
        tokio::select! {
            status = process.exited() => {
                let log = self.log();
                let tail = log_tail(&log, log_start);
                return Err(EmbeddedError::EndedAtStart { server: "PostgreSQL", status, log, tail });
            }
            () = ready(&pid_file, pid) => {}
            () = sleep(START_LIMIT) => {
                let log = self.log();
                let tail = log_tail(&log, log_start);
                let waited = START_LIMIT;
                return Err(EmbeddedError::NotReady { server: "PostgreSQL", waited, log, tail });
            }
        }
        let elapsed = began.elapsed();
        info!(pid, ?elapsed, directory = %self.home.display(), "private PostgreSQL is ready");
        self.process = Some(process);
        Ok(())
    }

    /// Makes the socket directory, which is short enough for the 104 bytes of a socket's address
    /// however long the data directory's name is. Others can write to `/tmp` as well: a directory
    /// that is not private to the server's user is refused.
    fn prepare_socket_directory(&self) -> Result<(), EmbeddedError> {
        let path = &self.socket_directory;
        let user = self
            .account
            .map_or_else(|| nix::unistd::geteuid().as_raw(), Account::uid);
        directory::make_private(path)?;
        let mut found = fs::symlink_metadata(path).map_err(EmbeddedError::file("look at", path))?;
        if let Some(account) = self.account
            && found.is_dir()
            && found.uid() == 0
        {
            account.own(path)?;
            found = fs::symlink_metadata(path).map_err(EmbeddedError::file("look at", path))?;
        }
        if !found.is_dir() || found.uid() != user || found.mode() & 0o077 != 0 {
            return Err(EmbeddedError::SocketDirectory {
                path: path.clone(),
                user,
            });
        }
        // No server of ours runs now: what is left here is a killed one's.
        for name in [format!(".s.PGSQL.{PORT}"), format!(".s.PGSQL.{PORT}.lock")] {
            let _ = fs::remove_file(path.join(name));
        }
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.home.join("postgresql.log")
    }
}

/// Waits until the server says in its pid file that it takes connections, which is what
/// `pg_ctl --wait` looks at.
async fn ready(pid_file: &Path, pid: i32) {
    loop {
        if fs::read_to_string(pid_file).is_ok_and(|text| says_ready(&text, pid)) {
            return;
        }
        sleep(POLL).await;
    }
}

/// The first line is the pid, the eighth the state.
fn says_ready(pid_file: &str, pid: i32) -> bool {
    let mut lines = pid_file.lines().map(str::trim);
    lines.next() == Some(pid.to_string().as_str()) && lines.nth(6) == Some("ready")
}

/// Where the socket of the server of this directory is: a short path, for they have 107 bytes.
fn socket_directory(home: &Path) -> PathBuf {
    PathBuf::from(format!("/tmp/orders-{}", short_hash(home)))
}

/// The address behind a socket. The port and TLS mode are named, or PGPORT and PGSSLMODE would
/// choose them.
fn address(socket_directory: &Path) -> String {
    format!(
        "postgres:///{database}?host={}&port={PORT}&user={}&sslmode=disable",
        socket_directory.display(),
        cluster::SUPERUSER,
        database = cluster::DATABASE,
    )
}

/// The directory that holds everything of PostgreSQL: `<data_dir>/postgres`, or a symbolic link
/// there to a place that PostgreSQL's user can reach.
async fn home(data_dir: &Path, account: Option<Account>) -> Result<PathBuf, EmbeddedError> {
    let home = data_dir.join("postgres");
    if fs::symlink_metadata(&home).is_err() {
        match account {
            Some(account) if !account.can_enter(data_dir).await => {
                let shared = directory::make(Path::new(ROOT_DATA))?;
                let target = shared.join(short_hash(data_dir));
                warn!(
                    data_dir = %data_dir.display(), target = %target.display(),
                    "PostgreSQL's user cannot enter the data directory, its data goes elsewhere"
                );
                directory::make_private(&target)?;
                account.own(&target)?;
                symlink(&target, &home).map_err(EmbeddedError::file("create", &home))?;
            }
            _ => directory::make_private(&home)?,
        }
    }
    let home = fs::canonicalize(&home).map_err(EmbeddedError::file("resolve", &home))?;
    if let Some(account) = account {
        account.own(&home)?;
    }
    Ok(home)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_ready_when_its_own_pid_file_says_so() {
        let text = "77\n/data\n1700000000\n5432\n/tmp/x\n\n  1 2\nready   \n";

        assert!(says_ready(text, 77));
        assert!(!says_ready(text, 78));
        assert!(!says_ready(&text.replace("ready", "starting"), 77));
        assert!(!says_ready("77\n/data\n", 77));
    }
}
