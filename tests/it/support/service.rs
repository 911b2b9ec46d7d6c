//! The real program as a separate process: start it, send it signals, kill it, and observe it.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{ExitStatus, Output, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use orders::embedded::{EmbeddedOptions, PrivatePostgres};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use super::{
    eventually,
    servers::{process_directory, servers, url_of_database},
    small_disk,
};

/// How long a first start may take: it creates a database while all the other tests run.
const START_LIMIT: Duration = Duration::from_secs(90);

/// A data directory of a service. It is removed at the end.
pub struct DataDir(PathBuf);

impl DataDir {
    /// Creates a directory of this name.
    pub fn new(name: &str) -> Self {
        let path = process_directory().join("services").join(name);
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Keeps it for a look at its logs, until the next test process starts.
    pub fn keep(self) -> PathBuf {
        let path = self.0.clone();
        std::mem::forget(self);
        path
    }

    /// The process id in the first line of a file; `None` while the server is being restarted.
    fn pid(&self, file: &str) -> Option<Pid> {
        let text = fs::read_to_string(self.0.join(file)).ok()?;
        text.lines().next()?.trim().parse().ok().map(Pid::from_raw)
    }

    /// The process id of nats-server.
    pub fn nats_pid(&self) -> Option<Pid> {
        self.pid("nats/nats-server.pid")
    }

    /// The process id of PostgreSQL.
    pub fn postgres_pid(&self) -> Option<Pid> {
        self.pid("postgres/data/postmaster.pid")
    }

    /// The URL of nats-server; `None` before its first start.
    pub fn nats_url(&self) -> Option<String> {
        fs::read_to_string(self.0.join("nats/url")).ok()
    }

    /// The database of the running PostgreSQL.
    pub fn database(&self) -> PgPool {
        let url = PrivatePostgres::running(&EmbeddedOptions::new(&self.0))
            .expect("a data directory")
            .expect("PostgreSQL runs");
        PgPoolOptions::new()
            .max_connections(2)
            .connect_lazy(&url)
            .expect("a URL")
    }

    /// Asserts that `orders verify` finds no difference.
    pub async fn assert_verifies(&self) {
        let verify = orders(&["verify", "--data-dir", &self.0.to_string_lossy()], &[]).await;
        assert_eq!(verify.status.code(), Some(0), "{verify:?}");
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        small_disk::unmount_below(&self.0);
        // As root, the servers' data may be elsewhere, behind links. If it cannot be removed, the next
        // test process tries again.
        for server in ["postgres", "nats"] {
            if let Ok(elsewhere) = fs::canonicalize(self.0.join(server)) {
                let _ = fs::remove_dir_all(elsewhere);
            }
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The program, with only these variables of configuration: none of this process's own.
pub fn program(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orders"));
    command.args(arguments).env_clear().kill_on_drop(true);
    // These say where the programs of the servers are on this machine.
    for kept in [
        "PATH",
        "HOME",
        "XDG_CACHE_HOME",
        "ORDERS_TOOLS_DIR",
        "ORDERS_POSTGRES_BIN",
        "ORDERS_NATS_SERVER",
    ] {
        command.envs(env::var_os(kept).map(|value| (kept, value)));
    }
    command.envs(variables.iter().copied());
    command
}

/// Runs the program to its end.
pub async fn orders(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let run = program(arguments, variables).stdin(Stdio::null()).output();
    timeout(START_LIMIT, run)
        .await
        .expect("the program ends")
        .expect("the program runs")
}

/// A running `orders serve`. Dropping it kills it with SIGKILL.
pub struct Service {
    /// Its URL.
    pub url: String,
    child: Child,
    log: PathBuf,
    output: Lines<BufReader<ChildStdout>>,
}

impl Service {
    /// Starts it with embedded servers in a data directory, on any free port.
    pub async fn embedded(data: &DataDir) -> Self {
        Self::start(&[("ORDERS_DATA_DIR", &data.0.to_string_lossy())]).await
    }

    /// [`Self::embedded`], with other settings.
    pub async fn embedded_with(data: &DataDir, settings: &[(&str, &str)]) -> Self {
        let directory = data.0.to_string_lossy();
        let mut variables = vec![("ORDERS_DATA_DIR", &*directory)];
        variables.extend(settings);
        Self::start(&variables).await
    }

    /// Starts it on the shared servers, with the database and the stream of this name.
    pub async fn on_shared_servers(name: &str) -> Self {
        Self::start(&[
            ("DATABASE_URL", &url_of_database(name)),
            ("NATS_URL", &servers().nats_url),
            ("ORDERS_NATS_STREAM", name),
            ("ORDERS_NATS_PREFIX", name),
        ])
        .await
    }

    /// Starts it with these settings.
    async fn start(variables: &[(&str, &str)]) -> Self {
        let mut command = program(&["serve", "--listen", "127.0.0.1:0"], variables);
        let log = log_file();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a file"))
            .spawn()
            .expect("the program runs");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let line = timeout(START_LIMIT, output.next_line())
            .await
            .expect("it listens in time")
            .expect("a line")
            .expect("it listens (its log is in the directory `services`)");
        let url = line.strip_prefix("listening on ").expect("an address");
        assert!(
            url.starts_with("http://127.0.0.1:") && !url.ends_with(":0"),
            "{url}"
        );
        Self {
            url: url.to_owned(),
            child,
            log,
            output,
        }
    }

    fn pid(&self) -> Pid {
        let id = self.child.id().expect("it runs");
        Pid::from_raw(id.cast_signed())
    }

    /// How much memory it uses, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let size = line.expect("a size").trim().trim_end_matches(" kB");
        size.parse().expect("a number")
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("a log")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it runs");
    }

    /// Kills it with SIGKILL, and waits for its end.
    pub async fn kill_9(mut self) {
        self.child.kill().await.expect("it is killed");
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a status").is_none()
    }

    /// Waits for its end. It must have printed nothing more on standard output.
    pub async fn ended(&mut self, limit: Duration) -> ExitStatus {
        let ended = timeout(limit, self.child.wait()).await;
        let status = ended.expect("it ends in time").expect("a status");
        let more = self.output.next_line().await.expect("the end of the pipe");
        assert_eq!(more, None);
        status
    }

    /// Its children, their children and so on.
    pub async fn descendants(&self) -> Vec<Process> {
        let all = processes().await;
        let mut parents = vec![self.pid().as_raw()];
        let mut found = vec![];
        while let Some(parent) = parents.pop() {
            for process in all.iter().filter(|process| process.parent == parent) {
                parents.push(process.pid);
                found.push(process.clone());
            }
        }
        found
    }
}

/// A new log file. The test runner's own output stays readable.
fn log_file() -> PathBuf {
    static SERVICES: AtomicUsize = AtomicUsize::new(0);
    let number = SERVICES.fetch_add(1, Ordering::Relaxed);
    let directory = process_directory().join("services");
    fs::create_dir_all(&directory).expect("a directory");
    directory.join(format!("{number}.log"))
}

/// A process as `ps` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pid: i32,
    parent: i32,
    pub name: String,
}

impl Process {
    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid), signal).expect("it runs");
    }
}

/// All processes that have not ended.
async fn processes() -> Vec<Process> {
    let mut ps = Command::new("ps");
    let listed = ps.args(["-A", "-o", "pid=,ppid=,stat=,comm="]).output();
    let listed = listed.await.expect("ps runs");
    let text = String::from_utf8(listed.stdout).expect("text");
    let read = |line: &str| {
        let mut words = line.split_whitespace();
        let pid = words.next()?.parse().ok()?;
        let parent = words.next()?.parse().ok()?;
        // A zombie has ended; its parent has not read its status yet.
        let has_ended = words.next()?.starts_with('Z');
        let name = words.next()?.to_owned();
        (!has_ended).then_some(Process { pid, parent, name })
    };
    text.lines().filter_map(read).collect()
}

/// Waits until none of these processes runs any more.
pub async fn assert_gone(gone: &[Process]) {
    eventually("no process is left", || async {
        let running = processes().await;
        let is_left = |one: &Process| {
            let same = |other: &Process| other.pid == one.pid && other.name == one.name;
            running.iter().any(same)
        };
        (!gone.iter().any(is_left)).then_some(())
    })
    .await;
}
