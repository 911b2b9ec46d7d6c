//! One server process that cannot outlive the service.
//!
//! Between the service and the server stands a shell that runs `supervisor.sh`. It reads a pipe
//! whose other end only the service holds, so the kernel itself tells it when the service is gone,
//! `kill -9` included. Closing the pipe is also how a server is stopped on purpose: there is one
//! way to stop, and it is used all the time. Shell and server have a process group of their own, so
//! that ctrl-C in a terminal reaches the service first.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use super::account::Account;
use super::error::EmbeddedError;

/// One step of stopping a server: a signal, and how long it may take to work.
pub(super) type StopStep = (Signal, Duration);

/// What to run, and how to stop it.
pub(super) struct Program<'a> {
    /// The program file.
    pub(super) file: &'a Path,
    /// Its arguments.
    pub(super) arguments: Vec<OsString>,
    /// Variables of its otherwise almost empty environment.
    pub(super) environment: Vec<(&'static str, String)>,
    /// Its working directory.
    pub(super) directory: &'a Path,
    /// The file that its output is added to.
    pub(super) log: PathBuf,
    /// The user that it runs as, if not the service's own.
    pub(super) account: Option<Account>,
    /// How it is stopped, gently first.
    pub(super) stop_steps: &'static [StopStep],
}

/// A running server together with its supervising shell. Dropping it stops the server as well,
/// without waiting for its end.
#[derive(Debug)]
pub(super) struct Supervised {
    shell: Child,
    pipe: Option<ChildStdin>,
    server: Pid,
    patience: Duration,
}

impl Supervised {
    /// Starts a program under a supervisor.
    pub(super) async fn spawn(program: &Program<'_>) -> Result<Self, EmbeddedError> {
        let failed = |source| EmbeddedError::Run {
            program: program.file.to_owned(),
            source,
        };
        let mut command = bare_command(Path::new("/bin/sh"), program.directory, program.account);
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
        let server = line
            .trim()
            .parse()
            .map_err(std::io::Error::other)
            .map_err(failed)?;
        let patience = program
            .stop_steps
            .iter()
            .map(|(_, wait)| *wait)
            .sum::<Duration>()
            + Duration::from_secs(2);
        Ok(Self {
            shell,
            pipe,
            server: Pid::from_raw(server),
            patience,
        })
    }

    /// The server's process id.
    pub(super) fn pid(&self) -> i32 {
        self.server.as_raw()
    }

    /// Waits until the server has ended. May be dropped and called again.
    pub(super) async fn exited(&mut self) -> String {
        match self.shell.wait().await {
            Ok(status) => describe(status),
            Err(error) => format!("an unknown status ({error})"),
        }
    }

    /// Stops the server and waits for its end, which comes in bounded time: the last of its steps
    /// is a signal that cannot be refused.
    pub(super) async fn stop(mut self) {
        self.pipe = None;
        if timeout(self.patience, self.shell.wait()).await.is_err() {
            self.kill().await;
        }
    }

    /// Kills the server with SIGKILL, as the kernel would, and waits for its end.
    pub(super) async fn kill(mut self) {
        // The process may have ended by itself: then there is nothing left to do.
        let _ = kill(self.server, Signal::SIGKILL);
        let _ = timeout(Duration::from_secs(2), self.shell.wait()).await;
    }
}

/// A command with an environment of its own, so that variables of whoever started the service
/// (`PGDATA`, `PGPORT`, `LC_ALL`, …) cannot change what the servers do.
pub(super) fn bare_command(file: &Path, directory: &Path, account: Option<Account>) -> Command {
    let mut command = Command::new(file);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
        .env("LC_ALL", "C")
        .current_dir(directory);
    if let Some(account) = account {
        account.run_as(&mut command);
    }
    command
}

/// The steps as `supervisor.sh` reads them: `INT:50 QUIT:20`.
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

/// The supervisor ends with its server's status: 128 and more stand for a signal.
fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(code) if code > 128 => match Signal::try_from(code - 128) {
            Ok(signal) => signal.as_str().to_owned(),
            Err(_) => format!("exit status {code}"),
        },
        Some(code) => format!("exit status {code}"),
        None => format!("its supervisor's end ({status})"),
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

    async fn run(script: &str, directory: &Path) -> Supervised {
        let program = Program {
            file: Path::new("/bin/sh"),
            arguments: vec!["-c".into(), script.into()],
            environment: vec![("GREETING", "hello".to_owned())],
            directory,
            log: directory.join("log"),
            account: None,
            stop_steps: STEPS,
        };
        Supervised::spawn(&program).await.unwrap()
    }

    #[test]
    fn stop_steps_are_written_as_the_shell_reads_them() {
        assert_eq!(steps_argument(STEPS), "TERM:3 KILL:10");
    }

    #[tokio::test]
    async fn a_program_logs_to_its_file_and_its_exit_status_is_told() {
        let directory = tempfile::tempdir().unwrap();

        let mut program = run("echo \"$GREETING\"; exit 3", directory.path()).await;

        assert_eq!(program.exited().await, "exit status 3");
        assert_eq!(
            fs::read_to_string(directory.path().join("log")).unwrap(),
            "hello\n"
        );
    }

    #[tokio::test]
    async fn a_program_that_ignores_the_gentle_signal_is_killed() {
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
    async fn a_dropped_program_ends_by_itself_even_without_its_shell() {
        let directory = tempfile::tempdir().unwrap();
        let program = run("exec sleep 1000", directory.path()).await;
        let server = Pid::from_raw(program.pid());
        let shell = Pid::from_raw(program.shell.id().unwrap().cast_signed());

        kill(shell, Signal::SIGKILL).unwrap();
        drop(program);

        let gone = async {
            // A zombie whose reaper is slow has ended, too: its command line is empty.
            while crate::embedded::leftover::command_line(server.as_raw())
                .await
                .is_some_and(|line| line.contains("sleep"))
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(5), gone).await.unwrap();
    }
}
