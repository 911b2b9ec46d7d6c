//! No server outlives the service, and one that does all the same is stopped by the next start.

use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orders::embedded::{Embedded, EmbeddedOptions, PrivateNats, PrivatePostgres};

use super::{connect, data_dir, recorded_pids, servers_of, until};

/// The pids of the supervising shells of a directory's servers.
fn supervisors_of(directory: &Path) -> Vec<i32> {
    let listed = Command::new("ps")
        .args(["-A", "-ww", "-o", "pid=,command="])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let name = directory.display().to_string();
    let mut pids = Vec::new();
    let mut in_script = None;
    for line in text.lines() {
        // The script has many lines; the directory is on its last line.
        if let Some((pid, command)) = line.trim().split_once(' ')
            && let Ok(pid) = pid.parse::<i32>()
        {
            in_script = command.trim().starts_with("/bin/sh").then_some(pid);
        }
        if line.contains(&name)
            && let Some(pid) = in_script
        {
            pids.push(pid);
        }
    }
    pids
}

#[tokio::test]
async fn servers_end_when_their_owner_is_dropped_without_a_stop() {
    let data = data_dir();
    let options = EmbeddedOptions::new(data.path());
    let (postgres, nats) = tokio::try_join!(
        PrivatePostgres::start(&options),
        PrivateNats::start(&options)
    )
    .unwrap();

    // Closes the pipes, as the kernel does when the service is killed.
    drop((postgres, nats));

    until("no server is left", async || {
        servers_of(data.path()).is_empty()
    })
    .await;
}

#[tokio::test]
async fn orphans_of_a_killed_supervisor_are_stopped_by_the_next_start() {
    let data = data_dir();
    let options = EmbeddedOptions::new(data.path());
    let (postgres, nats) = tokio::try_join!(
        PrivatePostgres::start(&options),
        PrivateNats::start(&options)
    )
    .unwrap();
    let orphans = recorded_pids(data.path());
    let supervisors = supervisors_of(data.path());
    // Each server has a shell and a subshell that watches the pipe.
    assert_eq!(
        (orphans.len(), supervisors.len()),
        (2, 4),
        "{supervisors:?}"
    );
    for pid in supervisors {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    drop((postgres, nats));
    for pid in orphans {
        kill(Pid::from_raw(pid), None).unwrap();
    }

    let servers = Embedded::start(&options).await.unwrap();

    connect(servers.database_url()).await;
    let running = servers_of(data.path());
    assert!(
        orphans.iter().all(|pid| !running.contains(pid)),
        "{orphans:?} {running:?}"
    );
    servers.stop().await;
}

#[tokio::test]
async fn a_reused_pid_in_a_stale_pid_file_does_not_prevent_a_start() {
    let data = data_dir();
    let mut postgres = PrivatePostgres::start(&EmbeddedOptions::new(data.path()))
        .await
        .unwrap();
    let pid_file = data.path().join("postgres/data/postmaster.pid");
    postgres.kill().await;
    let stale = std::fs::read_to_string(&pid_file).unwrap();
    // Another program of the same user.
    let mut other_program = Command::new("sleep").arg("1000").spawn().unwrap();
    let (_, rest) = stale.split_once('\n').unwrap();
    std::fs::write(&pid_file, format!("{}\n{rest}", other_program.id())).unwrap();

    let outcome = postgres.restart().await;

    assert!(other_program.try_wait().unwrap().is_none());
    other_program.kill().unwrap();
    other_program.wait().unwrap();
    outcome.unwrap();
    postgres.stop().await;
}
