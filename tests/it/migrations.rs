//! A released migration never changes: `migrations/released.txt` holds the checksum of each of them, as
//! `sha384sum migrations/*.sql` prints it.

use std::{collections::BTreeMap, fs, path::Path};

use sha2::{Digest, Sha384};

/// Checksums by file name.
type Checksums = BTreeMap<String, String>;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

fn released() -> Checksums {
    read("migrations/released.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (checksum, file) = line.split_once("  ").expect("a checksum and a file");
            (file.to_owned(), checksum.to_owned())
        })
        .collect()
}

fn committed() -> Checksums {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    fs::read_dir(folder)
        .expect("migrations")
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| format!("migrations/{}", name.to_string_lossy()))
        .filter(|file| Path::new(file).extension() == Some("sql".as_ref()))
        .map(|file| {
            let checksum = Sha384::digest(read(&file));
            (file, format!("{checksum:x}"))
        })
        .collect()
}

/// The newest heading of the change log: a version, or "Unreleased".
fn newest_heading(changelog: &str) -> &str {
    let line = changelog.lines().find_map(|line| line.strip_prefix("## ["));
    let (heading, _) = line
        .and_then(|line| line.split_once(']'))
        .expect("a heading");
    heading
}

#[test]
fn a_released_migration_is_never_edited() {
    let committed = committed();

    for (file, checksum) in released() {
        let found = committed.get(&file);
        assert_eq!(
            found,
            Some(&checksum),
            "{file} was released and must not change; add a new migration instead"
        );
    }
}

/// Until a release, new migrations may still change, so they are not listed.
#[test]
fn a_release_lists_all_migrations() {
    if newest_heading(&read("CHANGELOG.md")) != "Unreleased" {
        assert_eq!(
            released(),
            committed(),
            "add the new files' lines of `sha384sum migrations/*.sql` to migrations/released.txt"
        );
    }
}
