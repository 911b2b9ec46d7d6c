//! The user that the embedded servers run as.
//!
//! PostgreSQL refuses to run as root, and nats-server does not need to. So a service that runs as root
//! runs them as an unprivileged user; any other service runs them as its own user.

use std::fs;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;

use nix::unistd::{User, geteuid};
use tokio::process::Command;

use super::error::EmbeddedError;

/// A user of the system that is not the service's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SystemUser {
    uid: u32,
    gid: u32,
}

impl SystemUser {
    /// The user to run a server as; `None` for the service's own user. An existing data directory
    /// keeps its owner, so that an ordinary user can still use it after a run as root.
    ///
    /// # Errors
    /// The service runs as root, and this machine has no suitable user.
    pub(super) fn for_server(data: &Path) -> Result<Option<Self>, EmbeddedError> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        if let Ok(owner) = fs::metadata(data)
            && owner.uid() != 0
        {
            return Ok(Some(Self {
                uid: owner.uid(),
                gid: owner.gid(),
            }));
        }
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .map(|user| {
                Some(Self {
                    uid: user.uid.as_raw(),
                    gid: user.gid.as_raw(),
                })
            })
            .ok_or(EmbeddedError::NoSystemUser)
    }

    /// Whether this user can enter `directory`. Tried out, not computed from mode bits, because
    /// access lists and security modules also decide.
    pub(super) async fn can_enter(self, directory: &Path) -> bool {
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", "cd -- \"$1\"", "sh"])
            .arg(directory)
            .current_dir("/");
        self.run_as(&mut shell);
        shell
            .output()
            .await
            .is_ok_and(|output| output.status.success())
    }

    /// Makes this user the owner of `path`; of a link, not of its target.
    pub(super) fn own(self, path: &Path) -> Result<(), EmbeddedError> {
        lchown(path, Some(self.uid), Some(self.gid))
            .map_err(EmbeddedError::file("change the owner of", path))
    }

    /// Makes `command` run as this user, without root's supplementary groups.
    pub(super) fn run_as(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// The user id.
    pub(super) fn uid(self) -> u32 {
        self.uid
    }
}
