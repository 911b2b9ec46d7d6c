//! Where the private PostgreSQL keeps its files and its socket. Both depend only on the data
//! directory, so they stay the same over restarts.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use tracing::warn;

use super::directory::{self, short_hash};
use super::error::EmbeddedError;
use super::postgres_init::{DATABASE, SUPERUSER};
use super::postgres_settings::PORT;
use super::system_user::SystemUser;

/// Where PostgreSQL's files go if the service runs as root and PostgreSQL's user cannot enter the
/// data directory.
const ROOT_DATA: &str = "/var/lib/orders";

/// Creates, if needed, the directory of all PostgreSQL files, and returns it:
/// `<data_dir>/postgres`, or the target of a symbolic link there.
pub(super) async fn make_home(
    data_dir: &Path,
    user: Option<SystemUser>,
) -> Result<PathBuf, EmbeddedError> {
    let home = data_dir.join("postgres");
    if fs::symlink_metadata(&home).is_err() {
        match user {
            Some(user) if !user.can_enter(data_dir).await => {
                let shared = directory::make(Path::new(ROOT_DATA))?;
                let target = shared.join(short_hash(data_dir));
                warn!(
                    data_dir = %data_dir.display(), target = %target.display(),
                    "PostgreSQL's user cannot enter the data directory; PostgreSQL's files go to the \
                     target directory"
                );
                directory::make_private(&target)?;
                user.own(&target)?;
                symlink(&target, &home).map_err(EmbeddedError::file("create", &home))?;
            }
            _ => directory::make_private(&home)?,
        }
    }
    let home = fs::canonicalize(&home).map_err(EmbeddedError::file("resolve", &home))?;
    if let Some(user) = user {
        user.own(&home)?;
    }
    Ok(home)
}

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
