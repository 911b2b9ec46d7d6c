//! A server process that cannot outlive the service.
//!
//! The service starts a shell with `supervisor.sh`, and the shell starts the server. The shell
//! reads a pipe that only the service holds open, so it notices when the service ends, even by
//! `kill -9`. A normal stop closes the same pipe, so this path is used at every stop and not only
//! after a crash. Shell and server have a process group of their own, so that ctrl-C in a terminal
//! reaches only the service.

use std::ffi::OsString;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{sleep, timeout};
use tracing::info;

use super::directory::{log_length, log_tail};
use super::error::EmbeddedError;
use super::system_user::SystemUser;

/// One step of stopping a server: a signal, and how long to wait for its effect.
pub(super) type StopStep = (Signal, Duration);

/// How long a server may take until it is ready. After a crash PostgreSQL replays up to
/// `max_wal_size` of log and nats-server reads its whole store.
const START_DEADLINE: Duration = Duration::from_mins(1);
/// How much longer than its stop steps a stop may take.
const STOP_MARGIN: Duration = Duration::from_secs(2);

/// A program to run as a server, and how to stop it.
pub(super) struct Program<'a> {
    /// The server's name for logs and errors.
    pub(super) name: &'static str,
    /// The program file.
    pub(super) file: &'a Path,
    /// Its arguments.
    pub(super) arguments: Vec<OsString>,
    /// Environment variables besides `PATH` and `LC_ALL`.
    pub(super) environment: Vec<(&'static str, String)>,
    /// Its working directory.
    pub(super) directory: &'a Path,
    /// The file that its output is appended to.
    pub(super) log: PathBuf,
    /// The user that it runs as; `None` for the service's own user.
    pub(super) user: Option<SystemUser>,
    /// The steps that stop it, in order.
    pub(super) stop_steps: &'static [StopStep],
}

/// A running server and its supervising shell. Dropping the value stops the server without waiting
/// for its end.
#[derive(Debug)]
pub(super) struct SupervisedServer {
    shell: Child,
    pipe: Option<ChildStdin>,
    server: Pid,
    stop_deadline: Duration,
}

impl SupervisedServer {
    /// Starts a server and waits until `ready`, which is given its process id, completes.
    ///
    /// # Errors
    /// The program cannot be run, ends before it is ready, or is not ready in time.
    pub(super) async fn start<F: Future<Output = ()>>(
        program: &Program<'_>,
        ready: impl FnOnce(i32) -> F,
    ) -> Result<Self, EmbeddedError> {
        let (started, log_start) = (Instant::now(), log_length(&program.log));
        let (server, log) = (program.name, program.log.clone());
        let mut process = Self::spawn(program).await?;
        let pid = process.pid();
        tokio::select! {
            status = process.exited() => {
                let tail = log_tail(&log, log_start);
                return Err(EmbeddedError::EndedAtStart { server, status, log, tail });
            }
            () = ready(pid) => {}
            () = sleep(START_DEADLINE) => {
                let tail = log_tail(&log, log_start);
                return Err(EmbeddedError::NotReady { server, waited: START_DEADLINE, log, tail });
            }
        }
        let (elapsed, directory) = (started.elapsed(), program.directory.display());
        info!(server, pid, ?elapsed, %directory, "embedded server ready");
        Ok(process)
    }

    /// Starts a program under a supervising shell, which prints the program's process id.
    async fn spawn(program: &Program<'_>) -> Result<Self, EmbeddedError> {
        let failed = |source| EmbeddedError::Run {
            program: program.file.to_owned(),
            source,
        };
        let mut command = bare_command(Path::new("/bin/sh"), program.directory, program.user);
        command
            .args(["-c", include_str!("supervisor.sh"), "supervisor"])
            .arg(&program.log)
            .arg(steps_argument(program.stop_steps))
            .arg(program.file)
            .args(&program.arguments)
            .envs(
                program
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut shell = command.spawn().map_err(failed)?;
        let pipe = shell.stdin.take();
        let mut line = String::new();
        if let Some(output) = shell.stdout.take() {
            BufReader::new(output)
                .read_line(&mut line)
                .await
                .map_err(failed)?;
        }
        let pid = line
            .trim()
            .parse()
            .map_err(std::io::Error::other)
            .map_err(failed)?;
        let steps = program.stop_steps.iter();
        let stop_deadline = steps.map(|(_, wait)| *wait).sum::<Duration>() + STOP_MARGIN;
        Ok(Self {
            shell,
            pipe,
            server: Pid::from_raw(pid),
            stop_deadline,
        })
    }

    /// The server's process id.
    pub(super) fn pid(&self) -> i32 {
        self.server.as_raw()
    }

    /// Waits until the server has ended, and returns its exit status as text. May be dropped and
    /// called again.
    pub(super) async fn exited(&mut self) -> String {
        match self.shell.wait().await {
            Ok(status) => describe(status),
            Err(error) => format!("unknown exit status ({error})"),
        }
    }

    /// Stops the server and waits for its end. The time is bounded, because the last step is a
    /// signal that cannot be refused.
    pub(super) async fn stop(mut self) {
        self.pipe = None;
        if timeout(self.stop_deadline, self.shell.wait())
            .await
            .is_err()
        {
            self.kill().await;
        }
    }

    /// Kills the server with SIGKILL and waits for its end.
    pub(super) async fn kill(mut self) {
        // Fails if the server has already ended.
        let _ = kill(self.server, Signal::SIGKILL);
        let _ = timeout(Duration::from_secs(2), self.shell.wait()).await;
    }
}

/// A command with a minimal environment, so that the service's own environment variables (`PGDATA`,
/// `PGPORT`, `LC_ALL`, …) cannot change what the servers do.
pub(super) fn bare_command(file: &Path, directory: &Path, user: Option<SystemUser>) -> Command {
    let mut command = Command::new(file);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
        .env("LC_ALL", "C")
        .current_dir(directory);
    if let Some(user) = user {
        user.run_as(&mut command);
    }
    command
}

/// The steps in the format of `supervisor.sh`: signal names and tenths of a second, `INT:50
/// QUIT:20`.
fn steps_argument(steps: &[StopStep]) -> String {
    let step = |(signal, wait): &StopStep| {
        format!(
            "{}:{}",
            signal.as_str().trim_start_matches("SIG"),
            wait.as_millis() / 100
        )
    };
    steps.iter().map(step).collect::<Vec<_>>().join(" ")
}

/// The status as text. The shell ends with its server's status; above 128 it means a signal.
fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(code) if code > 128 => match Signal::try_from(code - 128) {
            Ok(signal) => signal.as_str().to_owned(),
            Err(_) => format!("exit status {code}"),
        },
        Some(code) => format!("exit status {code}"),
        None => format!("unknown exit status, its supervisor ended ({status})"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const STEPS: &[StopStep] = &[
        (Signal::SIGTERM, Duration::from_millis(300)),
        (Signal::SIGKILL, Duration::from_secs(1)),
    ];

    async fn run(script: &str, directory: &Path) -> SupervisedServer {
        let program = Program {
            name: "test server",
            file: Path::new("/bin/sh"),
            arguments: vec!["-c".into(), script.into()],
            environment: vec![("GREETING", "hello".to_owned())],
            directory,
            log: directory.join("log"),
            user: None,
            stop_steps: STEPS,
        };
        SupervisedServer::spawn(&program).await.unwrap()
    }

    #[test]
    fn stop_steps_have_the_format_of_the_shell_script() {
        assert_eq!(steps_argument(STEPS), "TERM:3 KILL:10");
    }

    #[tokio::test]
    async fn a_server_logs_to_its_file_and_its_exit_status_is_returned() {
        let directory = tempfile::tempdir().unwrap();

        let mut program = run("echo \"$GREETING\"; exit 3", directory.path()).await;

        assert_eq!(program.exited().await, "exit status 3");
        assert_eq!(
            fs::read_to_string(directory.path().join("log")).unwrap(),
            "hello\n"
        );
    }

    #[tokio::test]
    async fn a_server_that_ignores_the_first_signal_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let script = "trap 'echo asked' TERM; echo ready; while :; do sleep 0.05; done";
        let program = run(script, directory.path()).await;
        let (pid, log) = (Pid::from_raw(program.pid()), directory.path().join("log"));
        while fs::read_to_string(&log).unwrap_or_default() != "ready\n" {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }

        program.stop().await;

        assert!(kill(pid, None).is_err());
        assert_eq!(fs::read_to_string(&log).unwrap(), "ready\nasked\n");
    }

    #[tokio::test]
    async fn a_dropped_server_ends_even_without_its_shell() {
        let directory = tempfile::tempdir().unwrap();
        let program = run("exec sleep 1000", directory.path()).await;
        let server = Pid::from_raw(program.pid());
        let shell = Pid::from_raw(program.shell.id().unwrap().cast_signed());

        kill(shell, Signal::SIGKILL).unwrap();
        drop(program);

        let gone = async {
            // A zombie has ended, too; its command line is empty.
            while crate::embedded::orphan::command_line(server.as_raw())
                .await
                .is_some_and(|line| line.contains("sleep"))
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(5), gone).await.unwrap();
    }
}
