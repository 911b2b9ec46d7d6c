//! Servers that an earlier service left behind.
//!
//! A supervisor stops its server when the service dies, which takes a moment; and somebody may have
//! killed the supervisor as well. Two servers on one data directory would destroy it, so each start
//! first looks at the server's pid file. A pid alone proves nothing, it may be another program's by
//! now: the process's command line must name our data.

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

/// How often a server that has to end is looked at.
const POLL: Duration = Duration::from_millis(10);

/// What identifies a server that may still run.
pub(super) struct Leftover<'a> {
    /// The file whose first line is the server's process id.
    pub(super) pid_file: &'a Path,
    /// The program's name.
    pub(super) program: &'static str,
    /// An argument of its command line that only our server has: a path inside our data.
    pub(super) data: &'a Path,
    /// How it is stopped, gently first.
    pub(super) stop_steps: &'static [StopStep],
}

impl Leftover<'_> {
    /// The process id in the pid file, of whatever process.
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
    pub(super) async fn stop(&self) -> Result<(), EmbeddedError> {
        let Some(pid) = self.recorded_pid() else {
            return Ok(());
        };
        for (signal, wait) in self.stop_steps {
            if !self.is_ours(pid).await {
                return Ok(());
            }
            warn!(pid, program = self.program, %signal, "stopping a server left by an earlier run");
            let _ = kill(Pid::from_raw(pid), *signal);
            let deadline = Instant::now() + *wait;
            while Instant::now() < deadline && self.is_ours(pid).await {
                sleep(POLL).await;
            }
        }
        if self.is_ours(pid).await {
            return Err(EmbeddedError::Leftover {
                pid,
                directory: self.data.to_owned(),
            });
        }
        Ok(())
    }

    /// Whether the process runs and is our server. A supervisor's command line names the data as
    /// well, but begins with the shell.
    async fn is_ours(&self, pid: i32) -> bool {
        command_line(pid).await.is_some_and(|line| {
            !line.starts_with("/bin/sh")
                && line.contains(self.program)
                && line.contains(&*self.data.to_string_lossy())
        })
    }
}

/// The command line of a process, its arguments separated by blanks. `None` where there is no such
/// process, or only what is left of one (a zombie has no command line).
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

    /// A program that names `file` and runs until it is stopped.
    async fn program(file: &Path) -> tokio::process::Child {
        fs::write(file, "").unwrap();
        let child = Command::new("tail")
            .arg("-f")
            .arg(file)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        // A process has no command line for a moment while it begins.
        while command_line(child.id().unwrap().cast_signed())
            .await
            .is_none()
        {
            sleep(POLL).await;
        }
        child
    }

    fn leftover<'a>(pid_file: &'a Path, data: &'a Path) -> Leftover<'a> {
        Leftover {
            pid_file,
            program: "tail",
            data,
            stop_steps: STEPS,
        }
    }

    #[tokio::test]
    async fn a_server_of_ours_is_stopped() {
        let directory = tempfile::tempdir().unwrap();
        let (data, pid_file) = (directory.path().join("data"), directory.path().join("pid"));
        let mut server = program(&data).await;
        fs::write(&pid_file, format!("{}\nmore\n", server.id().unwrap())).unwrap();

        leftover(&pid_file, &data).stop().await.unwrap();

        assert!(!server.wait().await.unwrap().success());
    }

    #[tokio::test]
    async fn a_strange_process_with_the_recorded_pid_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (other, pid_file) = (directory.path().join("other"), directory.path().join("pid"));
        let mut stranger = program(&other).await;
        fs::write(&pid_file, stranger.id().unwrap().to_string()).unwrap();

        leftover(&pid_file, &directory.path().join("data"))
            .stop()
            .await
            .unwrap();

        assert!(stranger.try_wait().unwrap().is_none());
    }

    #[tokio::test]
    async fn an_unreadable_pid_file_names_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let pid_file = directory.path().join("pid");
        for text in ["", "x", "0", "-1", "1"] {
            fs::write(&pid_file, text).unwrap();

            assert_eq!(
                leftover(&pid_file, directory.path()).recorded_pid(),
                None,
                "{text:?}"
            );
        }
    }
}
