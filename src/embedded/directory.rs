//! Directories and files of the embedded servers: locks, private directories, logs.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::error::EmbeddedError;

/// A larger log is renamed at the next start.
const LOG_LIMIT: u64 = 16 * 1024 * 1024;
/// How much of a log an error shows, in bytes.
const TAIL_BYTES: u64 = 2048;

/// How often a lock is tried. A process that this one is just starting has a copy of the lock's file
/// until it runs its own program, so a lock that was given back may still be held for a moment.
const LOCK_ATTEMPTS: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// An exclusive lock on a directory. The kernel releases it when the process ends.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    /// Never read. Closing it releases the lock.
    _file: File,
}

impl DirectoryLock {
    /// Takes the lock of `directory`.
    ///
    /// # Errors
    /// Another process holds it; the error names that process. Or the lock file cannot be used.
    pub(super) fn take(directory: &Path) -> Result<Self, EmbeddedError> {
        let path = directory.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(EmbeddedError::file("open", &path))?;
        let mut tried = file.try_lock();
        for _ in 1..LOCK_ATTEMPTS {
            if matches!(tried, Ok(()) | Err(TryLockError::Error(_))) {
                break;
            }
            std::thread::sleep(LOCK_PAUSE);
            tried = file.try_lock();
        }
        match tried {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let read = file.read_to_string(&mut holder);
                let holder = holder.trim();
                let is_known = read.is_ok() && !holder.is_empty();
                return Err(EmbeddedError::InUse {
                    directory: directory.to_owned(),
                    holder: if is_known { holder } else { "unknown" }.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => {
                return Err(EmbeddedError::file("lock", &path)(source));
            }
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(EmbeddedError::file("write", &path))?;
        Ok(Self { _file: file })
    }
}

/// Creates a directory and its parents, and returns its absolute path without symbolic links.
pub(super) fn make(directory: &Path) -> Result<PathBuf, EmbeddedError> {
    fs::create_dir_all(directory).map_err(EmbeddedError::file("create", directory))?;
    fs::canonicalize(directory).map_err(EmbeddedError::file("resolve", directory))
}

/// Creates a directory that only its owner can use. An existing one is left as it is.
pub(super) fn make_private(directory: &Path) -> Result<(), EmbeddedError> {
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(EmbeddedError::file("create", directory)(error))
        }
        _ => Ok(()),
    }
}

/// Writes a new file that everybody can read. An old one is removed, not overwritten: the directory may
/// belong to a less privileged user, who could have put a symbolic link there.
pub(super) fn write_new(path: &Path, text: &str) -> Result<(), EmbeddedError> {
    write_with_mode(path, text, 0o644)
}

/// Writes a new file that only its owner can read. An old one is removed.
pub(super) fn write_private(path: &Path, text: &str) -> Result<(), EmbeddedError> {
    write_with_mode(path, text, 0o600)
}

fn write_with_mode(path: &Path, text: &str, mode: u32) -> Result<(), EmbeddedError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(EmbeddedError::file("replace", path)(error));
        }
        _ => {}
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(EmbeddedError::file("write", path))
}

/// Renames a large log to `….1`. To be called while its server does not run.
pub(super) fn rotate_log(log: &Path) {
    if fs::metadata(log).is_ok_and(|file| file.len() > LOG_LIMIT) {
        let _ = fs::rename(log, log.with_added_extension("1"));
    }
}

/// The end of a log, for an error message: the text after its first `from` bytes, at most the last
/// two kilobytes.
pub(super) fn log_tail(log: &Path, from: u64) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let end = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(
            from.max(end.saturating_sub(TAIL_BYTES)).min(end),
        ))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    read().unwrap_or_else(|error| format!("(cannot be read: {error})"))
}

/// The size of a log in bytes.
pub(super) fn log_length(log: &Path) -> u64 {
    fs::metadata(log).map_or(0, |file| file.len())
}

/// A short name for a directory. It depends only on the path.
pub(super) fn short_hash(directory: &Path) -> String {
    let digest: [u8; 32] = Sha256::digest(directory.as_os_str().as_encoded_bytes()).into();
    digest
        .iter()
        .take(6)
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_lock_names_its_holder() {
        let directory = tempfile::tempdir().unwrap();
        let _first = DirectoryLock::take(directory.path()).unwrap();

        let refused = DirectoryLock::take(directory.path()).unwrap_err();

        assert_eq!(
            refused.to_string(),
            format!(
                "data directory {} is in use by process {}",
                directory.path().display(),
                std::process::id()
            )
        );
    }

    #[test]
    fn a_dropped_lock_can_be_taken_again() {
        let directory = tempfile::tempdir().unwrap();
        drop(DirectoryLock::take(directory.path()).unwrap());

        assert!(DirectoryLock::take(directory.path()).is_ok());
    }

    #[test]
    fn writing_a_new_file_does_not_follow_a_symbolic_link() {
        let directory = tempfile::tempdir().unwrap();
        let (target, link) = (
            directory.path().join("target"),
            directory.path().join("link"),
        );
        fs::write(&target, "untouched").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();

        write_new(&link, "new").unwrap();

        assert_eq!(fs::read_to_string(&target).unwrap(), "untouched");
        assert_eq!(fs::read_to_string(&link).unwrap(), "new");
    }

    #[test]
    fn a_log_tail_begins_where_this_run_began() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        fs::write(&log, "old line\nnew line\n").unwrap();

        assert_eq!(log_tail(&log, 9), "new line");
        assert_eq!(log_tail(&log, 99), "");
        assert!(log_tail(&directory.path().join("none"), 0).starts_with("(cannot be read"));
    }

    #[test]
    fn a_short_hash_is_stable() {
        assert_eq!(
            short_hash(Path::new("/data")),
            short_hash(Path::new("/data"))
        );
        assert_ne!(
            short_hash(Path::new("/data")),
            short_hash(Path::new("/data2"))
        );
        assert_eq!(short_hash(Path::new("/data")).len(), 12);
    }
}
