//! An instance of the service that is started again whenever it ends.

use std::{
    fs::File,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::support::service::program;

/// The pause before an instance is started again.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
/// How long a clean stop may take.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A supervised instance.
#[derive(Debug)]
pub struct Instance {
    shared: Arc<Shared>,
    supervisor: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    variables: Vec<(String, String)>,
    log: PathBuf,
    url: watch::Sender<Option<String>>,
    pid: Mutex<Option<Pid>>,
    is_stopping: AtomicBool,
    failures: Mutex<Vec<String>>,
}

impl Instance {
    /// Starts an instance with these environment variables, and keeps it running.
    pub fn start(name: &str, variables: Vec<(String, String)>, log: PathBuf) -> Self {
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            variables,
            log,
            url: watch::Sender::new(None),
            pid: Mutex::default(),
            is_stopping: AtomicBool::new(false),
            failures: Mutex::default(),
        });
        let supervisor = tokio::spawn(Arc::clone(&shared).supervise());
        Self { shared, supervisor }
    }

    /// Its URL; `None` while it is down.
    pub fn url(&self) -> watch::Receiver<Option<String>> {
        self.shared.url.subscribe()
    }

    /// Sends it a signal, if it runs.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = *self.shared.pid.lock().unwrap() {
            // It may just have ended by itself.
            let _ = kill(pid, signal);
        }
    }

    /// Stops it with SIGTERM. Returns how it failed, now or earlier.
    pub async fn stop(self) -> Vec<String> {
        self.shared.is_stopping.store(true, Ordering::Relaxed);
        self.signal(Signal::SIGTERM);
        let mut failures = vec![];
        if timeout(STOP_LIMIT, self.supervisor).await.is_err() {
            failures.push(format!("{} does not stop", self.shared.name));
            self.shared.kill();
        }
        failures.append(&mut self.shared.failures.lock().unwrap());
        failures
    }
}

impl Shared {
    fn kill(&self) {
        if let Some(pid) = *self.pid.lock().unwrap() {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }

    async fn supervise(self: Arc<Self>) {
        while !self.is_stopping.load(Ordering::Relaxed) {
            let mut child = self.spawn();
            *self.pid.lock().unwrap() = child.id().map(|id| Pid::from_raw(id.cast_signed()));
            let is_listening = self.listening(&mut child).await;
            let status = child.wait().await.expect("a status");
            *self.pid.lock().unwrap() = None;
            self.url.send_replace(None);
            let was_killed = status.signal() == Some(Signal::SIGKILL as i32);
            let was_stopped = self.is_stopping.load(Ordering::Relaxed) && status.success();
            // Without PostgreSQL it ends before it listens. That is correct.
            if is_listening && !was_killed && !was_stopped {
                let failure = format!("{} ended by itself: {status}", self.name);
                self.failures.lock().unwrap().push(failure);
            }
            sleep(RESTART_PAUSE).await;
        }
    }

    fn spawn(&self) -> Child {
        let variables: Vec<_> = self
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let log = File::options().create(true).append(true).open(&self.log);
        program(&["serve", "--listen", "127.0.0.1:0"], &variables)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.expect("a file"))
            .spawn()
            .expect("the program runs")
    }

    /// Waits until it prints its URL; `false` if it ends before.
    async fn listening(&self, child: &mut Child) -> bool {
        let output = child.stdout.take().expect("a pipe");
        let line = BufReader::new(output).lines().next_line().await;
        let Some(line) = line.expect("text") else {
            return false;
        };
        let url = line.strip_prefix("listening on ").expect("an address");
        self.url.send_replace(Some(url.to_owned()));
        true
    }
}
