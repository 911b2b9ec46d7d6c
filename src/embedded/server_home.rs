//! The directory of each embedded server's files. It depends only on the data directory, so it stays the
//! same over restarts.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use tracing::warn;

use super::directory::{self, short_hash};
use super::error::EmbeddedError;
use super::system_user::SystemUser;

/// Where the files go if the service runs as root and the server's user cannot enter the data
/// directory.
const ROOT_DATA: &str = "/var/lib/orders";

/// Creates, if needed, the directory of all files of the server `name`, and returns it:
/// `<data_dir>/<name>`, or the target of a symbolic link there.
pub(super) async fn make_home(
    data_dir: &Path,
    name: &str,
    user: Option<SystemUser>,
) -> Result<PathBuf, EmbeddedError> {
    let home = data_dir.join(name);
    if fs::symlink_metadata(&home).is_err() {
        match user {
            Some(user) if !user.can_enter(data_dir).await => {
                let shared = directory::make(Path::new(ROOT_DATA))?;
                let target = shared.join(short_hash(&home));
                warn!(
                    data_dir = %data_dir.display(), target = %target.display(),
                    "the user of the server cannot enter the data directory; the files of {name} go \
                     to the target directory"
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
        let is_roots = fs::metadata(&home).is_ok_and(|found| found.uid() == 0);
        if is_roots {
            give(&home, user)?;
        }
    }
    Ok(home)
}

/// Makes `user` the owner of a directory and of all in it: an older version ran the server as root.
/// Until now nobody but root could write there, so no link leads elsewhere.
fn give(directory: &Path, user: SystemUser) -> Result<(), EmbeddedError> {
    let read = || fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>();
    for entry in read().map_err(EmbeddedError::file("read", directory))? {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            give(&path, user)?;
        } else {
            user.own(&path)?;
        }
    }
    user.own(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_of_a_server_that_ran_as_root_get_its_new_user() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let (stored, inner) = (
            directory.path().join("stream/block"),
            directory.path().join("stream"),
        );
        fs::create_dir(&inner).unwrap();
        fs::write(&stored, "messages").unwrap();
        let missing = directory.path().join("missing");
        let user = SystemUser::for_server(&missing).unwrap().unwrap();

        give(directory.path(), user).unwrap();

        for path in [directory.path(), &inner, &stored] {
            assert_eq!(fs::metadata(path).unwrap().uid(), user.uid());
        }
    }
}
