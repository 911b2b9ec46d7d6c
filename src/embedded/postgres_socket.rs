//! Where the private PostgreSQL keeps its socket. The place depends only on the data directory, so it
//! stays the same over restarts.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::directory::{self, short_hash};
use super::error::EmbeddedError;
use super::postgres_init::{DATABASE, SUPERUSER};
use super::postgres_settings::PORT;
use super::system_user::SystemUser;

/// The directory of the server's socket. Its path is short, because a socket's path may have only
/// 104 bytes, however long the data directory's path is.
pub(super) fn socket_directory(home: &Path) -> PathBuf {
    PathBuf::from(format!("/tmp/orders-{}", short_hash(home)))
}

/// Creates the socket directory for `user`, or for the service's own user, and removes the socket
/// files of a killed server.
///
/// # Errors
/// The directory is not private to the server's user. Others can write to `/tmp` as well.
pub(super) fn prepare_socket_directory(
    path: &Path,
    user: Option<SystemUser>,
) -> Result<(), EmbeddedError> {
    let uid = user.map_or_else(|| nix::unistd::geteuid().as_raw(), SystemUser::uid);
    directory::make_private(path)?;
    let inspect = || fs::symlink_metadata(path).map_err(EmbeddedError::file("inspect", path));
    let mut found = inspect()?;
    if let Some(user) = user
        && found.is_dir()
        && found.uid() == 0
    {
        user.own(path)?;
        found = inspect()?;
    }
    if !found.is_dir() || found.uid() != uid || found.mode() & 0o077 != 0 {
        return Err(EmbeddedError::SocketDirectory {
            path: path.to_owned(),
            uid,
        });
    }
    for name in [format!(".s.PGSQL.{PORT}"), format!(".s.PGSQL.{PORT}.lock")] {
        let _ = fs::remove_file(path.join(name));
    }
    Ok(())
}

/// The URL of the database behind a socket. It names port and TLS mode, because the environment
/// variables PGPORT and PGSSLMODE would set them otherwise.
pub(super) fn database_url(socket_directory: &Path) -> String {
    format!(
        "postgres:///{DATABASE}?host={}&port={PORT}&user={SUPERUSER}&sslmode=disable",
        socket_directory.display(),
    )
}
