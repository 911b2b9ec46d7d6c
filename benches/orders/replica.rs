//! A standby of the private PostgreSQL on the same machine, made by `pg_basebackup`.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::ensure;
use sqlx::{Executor, PgPool};
use tempfile::TempDir;

use super::servers::Servers;

/// How long the standby may take to catch up.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running standby.
pub struct Replica {
    directory: TempDir,
    process: Child,
    pool: PgPool,
}

impl Replica {
    /// Copies the primary and follows it, asynchronously at first.
    pub async fn start(servers: &Servers) -> anyhow::Result<Self> {
        let programs = servers.postgres_programs()?;
        // PostgreSQL refuses to run as root, and its user cannot read root's directories.
        let owner = fs::metadata(format!("/proc/{}", servers.postgres_pid))?;
        let directory = tempfile::Builder::new()
            .prefix("bench-standby-")
            .tempdir()?;
        chown(directory.path(), Some(owner.uid()), Some(owner.gid()))?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700))?;
        let run = |program: &str, arguments: &[&OsStr]| {
            let mut command = Command::new(programs.join(program));
            command
                .args(arguments)
                .current_dir(directory.path())
                .uid(owner.uid())
                .gid(owner.gid())
                .stdin(Stdio::null())
                .stdout(Stdio::null());
            command
        };
        let data = directory.path().join("data");
        let url = servers.database_url();
        let copied = run(
            "pg_basebackup",
            &[
                "--checkpoint=fast".as_ref(),
                "--write-recovery-conf".as_ref(),
                "--dbname".as_ref(),
                url.as_ref(),
                "--pgdata".as_ref(),
                data.as_ref(),
            ],
        )
        .status()?;
        ensure!(copied.success(), "pg_basebackup ended with {copied}");
        // The copied configuration includes this file from beside the data.
        let settings = format!(
            "listen_addresses = ''\nunix_socket_directories = '{}'\nshared_buffers = 64MB\n\
             max_connections = 200\nlogging_collector = on\n",
            directory.path().display()
        );
        fs::write(directory.path().join("orders.conf"), settings)?;
        let process = run("postgres", &["-D".as_ref(), data.as_ref()])
            .stderr(Stdio::null())
            .spawn()?;
        let replica = Self {
            directory,
            process,
            pool: servers.pool.clone(),
        };
        replica.wait_for("async").await?;
        Ok(replica)
    }

    /// Sets whether a commit waits until the standby has flushed it.
    pub async fn set_synchronous(&self, is_synchronous: bool) -> anyhow::Result<()> {
        let (names, state) = if is_synchronous {
            ("alter system set synchronous_standby_names = '*'", "sync")
        } else {
            ("alter system set synchronous_standby_names = ''", "async")
        };
        self.pool.execute(names).await?;
        self.pool.execute("select pg_reload_conf()").await?;
        self.wait_for(state).await
    }

    async fn wait_for(&self, state: &str) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let found: Option<String> =
                sqlx::query_scalar("select sync_state from pg_stat_replication where state = $1")
                    .bind("streaming")
                    .fetch_optional(&self.pool)
                    .await?;
            if found.as_deref() == Some(state) {
                return Ok(());
            }
            ensure!(
                began.elapsed() < PATIENCE,
                "the standby in {} is {found:?}, not {state}",
                self.directory.path().display()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
