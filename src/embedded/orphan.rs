//! Servers of an earlier service that still run.
//!
//! A supervisor stops its server when the service dies, but that takes a moment, and the supervisor
//! may have been killed as well. Two servers on one data directory would destroy it. So each start
//! reads the server's pid file first, and stops the server if it still runs. The pid alone is no
//! proof, because another program may have it by now: the process's command line must name the data
//! directory.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::time::sleep;
use tracing::warn;

use super::error::EmbeddedError;
use super::supervisor::StopStep;

/// How often to check whether the server has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A server that may still run.
pub(super) struct OrphanServer<'a> {
    /// The file whose first line is the server's process id.
    pub(super) pid_file: &'a Path,
    /// The name of its program.
    pub(super) program: &'static str,
    /// A path inside the data directory, which is part of the server's command line.
    pub(super) data: &'a Path,
    /// The steps that stop it, in order.
    pub(super) stop_steps: &'static [StopStep],
}

impl OrphanServer<'_> {
    /// The process id in the pid file. It may belong to another process.
    pub(super) fn recorded_pid(&self) -> Option<i32> {
        let text = fs::read_to_string(self.pid_file).ok()?;
        text.lines()
            .next()?
            .trim()
            .parse()
            .ok()
            .filter(|pid| *pid > 1)
    }

    /// Stops the server if it still runs, and waits for its end.
    ///
    /// # Errors
    /// The server still runs after the last step.
    pub(super) async fn stop(&self) -> Result<(), EmbeddedError> {
        let Some(pid) = self.recorded_pid() else {
            return Ok(());
        };
        for (signal, wait) in self.stop_steps {
            if !self.is_running_as(pid).await {
                return Ok(());
            }
            warn!(pid, program = self.program, %signal, "stopping a server of an earlier service");
            let _ = kill(Pid::from_raw(pid), *signal);
            let deadline = Instant::now() + *wait;
            while Instant::now() < deadline && self.is_running_as(pid).await {
                sleep(POLL_INTERVAL).await;
            }
        }
        if self.is_running_as(pid).await {
            return Err(EmbeddedError::Orphan {
                pid,
                directory: self.data.to_owned(),
            });
        }
        Ok(())
    }

    /// Whether this process runs and is the server. A supervisor's command line names the data as
    /// well, but begins with the shell.
    async fn is_running_as(&self, pid: i32) -> bool {
        command_line(pid).await.is_some_and(|line| {
            !line.starts_with("/bin/sh")
                && line.contains(self.program)
                && line.contains(&*self.data.to_string_lossy())
        })
    }
}

/// The command line of a process, its arguments separated by spaces. `None` if there is no such
/// process or it has ended (a zombie has no command line).
pub(super) async fn command_line(pid: i32) -> Option<String> {
    if Path::new("/proc/self/cmdline").exists() {
        let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let line = String::from_utf8_lossy(&bytes).replace('\0', " ");
        return Some(line).filter(|line| !line.is_empty());
    }
    // macOS has no /proc.
    let mut ps = Command::new("/bin/ps");
    let output = ps
        .args(["-ww", "-o", "command=", "-p"])
        .arg(pid.to_string())
        .output()
        .await
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::Signal;

    use super::*;

    const STEPS: &[StopStep] = &[(Signal::SIGTERM, Duration::from_secs(5))];

    /// Starts a program that has `file` on its command line and runs until it is stopped.
    async fn start_program(file: &Path) -> tokio::process::Child {
        fs::write(file, "").unwrap();
        let child = Command::new("tail")
            .arg("-f")
            .arg(file)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        // A process has no command line in its first moment.
        while command_line(child.id().unwrap().cast_signed())
            .await
            .is_none()
        {
            sleep(POLL_INTERVAL).await;
        }
        child
    }

    fn orphan<'a>(pid_file: &'a Path, data: &'a Path) -> OrphanServer<'a> {
        OrphanServer {
            pid_file,
            program: "tail",
            data,
            stop_steps: STEPS,
        }
    }

    #[tokio::test]
    async fn a_server_on_the_data_directory_is_stopped() {
        let directory = tempfile::tempdir().unwrap();
        let (data, pid_file) = (directory.path().join("data"), directory.path().join("pid"));
        let mut server = start_program(&data).await;
        fs::write(&pid_file, format!("{}\nmore\n", server.id().unwrap())).unwrap();

        orphan(&pid_file, &data).stop().await.unwrap();

        assert!(!server.wait().await.unwrap().success());
    }

    #[tokio::test]
    async fn another_process_with_the_recorded_pid_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (other, pid_file) = (directory.path().join("other"), directory.path().join("pid"));
        let mut other_process = start_program(&other).await;
        fs::write(&pid_file, other_process.id().unwrap().to_string()).unwrap();

        orphan(&pid_file, &directory.path().join("data"))
            .stop()
            .await
            .unwrap();

        assert!(other_process.try_wait().unwrap().is_none());
    }

    #[tokio::test]
    async fn an_invalid_pid_file_names_no_process() {
        let directory = tempfile::tempdir().unwrap();
        let pid_file = directory.path().join("pid");
        for text in ["", "x", "0", "-1", "1"] {
            fs::write(&pid_file, text).unwrap();

            assert_eq!(
                orphan(&pid_file, directory.path()).recorded_pid(),
                None,
                "{text:?}"
            );
        }
    }
}
