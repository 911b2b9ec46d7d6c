//! An instance of the service under a supervisor: whenever it ends, it is started again.

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

/// How long the supervisor waits before it starts an instance again.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
/// How long a clean stop may take.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// An instance that is kept running.
#[derive(Debug)]
pub struct Instance {
    shared: Arc<Shared>,
    keeper: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    variables: Vec<(String, String)>,
    log: PathBuf,
    url: watch::Sender<Option<String>>,
    pid: Mutex<Option<Pid>>,
    is_stopping: AtomicBool,
    troubles: Mutex<Vec<String>>,
}

impl Instance {
    /// Starts an instance with these settings, and keeps it running.
    pub fn start(name: &str, variables: Vec<(String, String)>, log: PathBuf) -> Self {
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            variables,
            log,
            url: watch::Sender::new(None),
            pid: Mutex::default(),
            is_stopping: AtomicBool::new(false),
            troubles: Mutex::default(),
        });
        let keeper = tokio::spawn(Arc::clone(&shared).keep());
        Self { shared, keeper }
    }

    /// Where it listens now; nowhere while it is down.
    pub fn url(&self) -> watch::Receiver<Option<String>> {
        self.shared.url.subscribe()
    }

    /// Sends it a signal, where it runs.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = *self.shared.pid.lock().unwrap() {
            // It may have ended by itself just now.
            let _ = kill(pid, signal);
        }
    }

    /// Stops it as an operator does, and says what was wrong with how it ever ended.
    pub async fn stop(self) -> Vec<String> {
        self.shared.is_stopping.store(true, Ordering::Relaxed);
        self.signal(Signal::SIGTERM);
        let mut troubles = vec![];
        if timeout(STOP_LIMIT, self.keeper).await.is_err() {
            troubles.push(format!("{} does not stop", self.shared.name));
            self.shared.kill();
        }
        troubles.append(&mut self.shared.troubles.lock().unwrap());
        troubles
    }
}

impl Shared {
    fn kill(&self) {
        if let Some(pid) = *self.pid.lock().unwrap() {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }

    async fn keep(self: Arc<Self>) {
        while !self.is_stopping.load(Ordering::Relaxed) {
            let mut child = self.spawn();
            *self.pid.lock().unwrap() = child.id().map(|id| Pid::from_raw(id.cast_signed()));
            let is_listening = self.listening(&mut child).await;
            let status = child.wait().await.expect("a status");
            *self.pid.lock().unwrap() = None;
            self.url.send_replace(None);
            let was_killed = status.signal() == Some(Signal::SIGKILL as i32);
            let was_stopped = self.is_stopping.load(Ordering::Relaxed) && status.success();
            // At its start it gives up where there is no PostgreSQL.
            if is_listening && !was_killed && !was_stopped {
                let trouble = format!("{} ended by itself: {status}", self.name);
                self.troubles.lock().unwrap().push(trouble);
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

    /// Waits until it says where it listens; `false` where it ends before.
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
