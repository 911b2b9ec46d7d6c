//! The servers of the benchmark: a private PostgreSQL and NATS, and the real program.

use std::{
    fs::{self, File},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use orders::{
    embedded::{Embedded, EmbeddedOptions},
    postgres,
};
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use super::usage::Usage;

/// How long a start or a stop may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// PostgreSQL and NATS, with durable settings.
pub struct Servers {
    embedded: Embedded,
    directory: TempDir,
    /// The benchmark's own connections.
    pub pool: PgPool,
    /// The process id of PostgreSQL.
    pub postgres_pid: u32,
    nats_pid: u32,
}

impl Servers {
    /// Starts both on a new directory under `target`.
    pub async fn start() -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("bench-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        // If this runs as root, PostgreSQL runs as another user, who must be able to enter.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let embedded = Embedded::start(&EmbeddedOptions::new(directory.path())).await?;
        let connect = postgres::connect_options(embedded.database_url())?;
        postgres::prepare(&connect, false).await?;
        let pid = |file: &str| pid_in(&directory.path().join(file));
        Ok(Self {
            postgres_pid: pid("postgres/data/postmaster.pid")?,
            nats_pid: pid("nats/nats-server.pid")?,
            pool: postgres::pool(connect, 8),
            embedded,
            directory,
        })
    }

    /// The database's URL. libpq understands it, too.
    pub fn database_url(&self) -> &str {
        self.embedded.database_url()
    }

    /// A directory for the benchmark's own files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The folder of the running PostgreSQL's programs.
    pub fn postgres_programs(&self) -> anyhow::Result<PathBuf> {
        let program = fs::read_link(format!("/proc/{}/exe", self.postgres_pid))?;
        Ok(program
            .parent()
            .context("a program in a folder")?
            .to_owned())
    }

    /// The processor time that these servers and a service have used so far.
    pub fn usage(&self, service: &Service) -> anyhow::Result<Usage> {
        Usage::now(service.pid, self.postgres_pid, self.nats_pid)
    }

    /// Stops both.
    pub async fn stop(self) {
        self.pool.close().await;
        self.embedded.stop().await;
        // As root, the data may be elsewhere, behind a link.
        if let Ok(elsewhere) = fs::canonicalize(self.directory.path().join("postgres")) {
            let _ = fs::remove_dir_all(elsewhere);
        }
    }
}

fn pid_in(file: &Path) -> anyhow::Result<u32> {
    let text =
        fs::read_to_string(file).with_context(|| format!("{} is missing", file.display()))?;
    let line = text.lines().next().context("an empty file")?;
    Ok(line.trim().parse()?)
}

/// The program, with an empty environment: this process's configuration must not reach it.
fn program(servers: &Servers, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orders"));
    command
        .args(arguments)
        .env_clear()
        .env("DATABASE_URL", servers.embedded.database_url())
        .kill_on_drop(true)
        .stdin(Stdio::null());
    command
}

/// Runs `orders verify`.
///
/// # Errors
/// If it finds a difference.
pub async fn verify(servers: &Servers) -> anyhow::Result<()> {
    let output = program(servers, &["verify"]).output().await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "orders verify: {text}{errors}");
    Ok(())
}

/// A running `orders serve`.
pub struct Service {
    child: Child,
    /// Its process id.
    pub pid: u32,
    /// Where it listens.
    pub address: SocketAddr,
    /// How long it took from its start until it listened.
    pub started_in: Duration,
}

impl Service {
    /// Starts it on the servers, with these further environment variables.
    pub async fn start(servers: &Servers, variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        let log = File::create(servers.directory().join("service.log"))?;
        let began = Instant::now();
        let mut child = program(servers, &["serve", "--listen", "127.0.0.1:0"])
            .env("NATS_URL", servers.embedded.nats_url())
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let pid = child.id().context("it runs")?;
        let mut output = BufReader::new(child.stdout.take().context("a pipe")?).lines();
        let line = timeout(PATIENCE, output.next_line()).await??;
        let started_in = began.elapsed();
        let line = line.context("the service ended before it listened")?;
        let address = line
            .strip_prefix("listening on http://")
            .with_context(|| format!("unexpected output {line:?}"))?
            .parse()?;
        Ok(Self {
            child,
            pid,
            address,
            started_in,
        })
    }

    /// Stops it with SIGTERM.
    ///
    /// # Errors
    /// If it does not end with success.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        kill(Pid::from_raw(self.pid.cast_signed()), Signal::SIGTERM)?;
        let status = timeout(PATIENCE, self.child.wait()).await??;
        ensure!(status.success(), "the service ended with {status}");
        Ok(())
    }
}
