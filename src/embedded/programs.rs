//! Finds the server programs on this machine.
//!
//! Searches in this order: the place in the options, `PATH`, the usual places of Debian and
//! Homebrew, the project's tools directory. A program must run (as the user that it will run as)
//! and be new enough. The error lists the programs that were not suitable, and why.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::EmbeddedError;
use super::options::EmbeddedOptions;
use super::supervisor::bare_command;
use super::system_user::SystemUser;

/// The oldest PostgreSQL that the service's SQL works with.
const OLDEST_POSTGRES: (u32, u32) = (15, 0);
/// The oldest nats-server whose JetStream has what the relay needs.
const OLDEST_NATS: (u32, u32) = (2, 9);

const POSTGRES_INSTALL: &str =
    "`apt-get install postgresql` (Debian, Ubuntu), `brew install postgresql@18` (macOS)";
const NATS_INSTALL: &str =
    "`apt-get install nats-server` (Debian, Ubuntu), `brew install nats-server` (macOS)";

/// Finds the directory with `initdb` and `postgres`. `major` is the version that created the
/// existing data directory; no other version can read it.
///
/// # Errors
/// There is no suitable program.
pub(super) async fn find_postgres(
    options: &EmbeddedOptions,
    user: Option<SystemUser>,
    major: Option<u32>,
) -> Result<PathBuf, EmbeddedError> {
    let mut unsuitable = Vec::new();
    for bin in postgres_candidates(options) {
        let program = bin.join("postgres");
        match version_of(&program, user).await {
            Some(version) if version < OLDEST_POSTGRES || !bin.join("initdb").exists() => {
                unsuitable.push(format!(
                    "{} is version {} or lacks initdb",
                    program.display(),
                    version.0
                ));
            }
            Some(version) if major.is_some_and(|major| major != version.0) => {
                unsuitable.push(format!("{} is version {}", program.display(), version.0));
            }
            Some(_) => return Ok(bin),
            None if program.exists() => {
                unsuitable.push(format!("{} does not run", program.display()));
            }
            None => {}
        }
    }
    Err(EmbeddedError::MissingProgram {
        program: "postgres",
        needed: match major {
            Some(major) => format!("(PostgreSQL {major}, which created the data directory)"),
            None => format!("(PostgreSQL {} or newer)", OLDEST_POSTGRES.0),
        },
        seen: in_brackets(&unsuitable),
        install: POSTGRES_INSTALL,
        variable: "ORDERS_POSTGRES_BIN",
    })
}

/// Finds the nats-server program.
///
/// # Errors
/// There is no suitable program.
pub(super) async fn find_nats_server(
    options: &EmbeddedOptions,
    user: Option<SystemUser>,
) -> Result<PathBuf, EmbeddedError> {
    let mut unsuitable = Vec::new();
    for program in nats_candidates(options) {
        match version_of(&program, user).await {
            Some(version) if version >= OLDEST_NATS => return Ok(program),
            Some((major, minor)) => {
                unsuitable.push(format!("{} is version {major}.{minor}", program.display()));
            }
            None if program.exists() => {
                unsuitable.push(format!("{} does not run", program.display()));
            }
            None => {}
        }
    }
    Err(EmbeddedError::MissingProgram {
        program: "nats-server",
        needed: format!("({}.{} or newer)", OLDEST_NATS.0, OLDEST_NATS.1),
        seen: in_brackets(&unsuitable),
        install: NATS_INSTALL,
        variable: "ORDERS_NATS_SERVER",
    })
}

fn postgres_candidates(options: &EmbeddedOptions) -> Vec<PathBuf> {
    if let Some(bin) = &options.postgres_bin {
        return vec![bin.clone()];
    }
    let on_path = env::split_paths(&options.search_path)
        .map(|folder| folder.join("postgres"))
        .filter(|program| program.is_file())
        // PATH often holds a symbolic link to `postgres` only; `initdb` is beside the link's
        // target.
        .filter_map(|program| Some(fs::canonicalize(program).ok()?.parent()?.to_owned()));
    let versions = |folder: &str, prefix: &str| newest_first(Path::new(folder), prefix);
    on_path
        .chain(versions("/usr/lib/postgresql", ""))
        .chain(versions("/opt/homebrew/opt", "postgresql@"))
        .chain(versions("/usr/local/opt", "postgresql@"))
        .chain(newest_first(&options.tools_dir, "postgres-"))
        .map(|folder| {
            if folder.ends_with("bin") {
                folder
            } else {
                folder.join("bin")
            }
        })
        .collect()
}

fn nats_candidates(options: &EmbeddedOptions) -> Vec<PathBuf> {
    if let Some(program) = &options.nats_server {
        return vec![program.clone()];
    }
    env::split_paths(&options.search_path)
        // Debian installs it into /usr/sbin, which may be missing on PATH.
        .chain(["/usr/sbin", "/opt/homebrew/bin", "/usr/local/bin"].map(PathBuf::from))
        .chain(newest_first(&options.tools_dir, "nats-server-"))
        .map(|folder| folder.join("nats-server"))
        .collect()
}

/// The directories in `parent` whose names are `prefix` and a version, the newest first.
fn newest_first(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut found: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = parse_version(name.to_str()?.strip_prefix(prefix)?)?;
            Some((version, entry.path()))
        })
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

/// The version of a program; `None` if the program does not run.
async fn version_of(program: &Path, user: Option<SystemUser>) -> Option<(u32, u32)> {
    let output = bare_command(program, Path::new("/"), user)
        .arg("--version")
        .output()
        .await
        .ok()?;
    // nats-server 2.9 prints it to standard output, older ones to standard error.
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text)
        .split_whitespace()
        .find_map(parse_version)
}

/// Parses the first two numbers of a version: `15.18`, `v2.9.10`, `18beta1`, `18`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let (major, rest) = leading_number(text)?;
    let minor = rest
        .strip_prefix('.')
        .and_then(leading_number)
        .map_or(0, |(minor, _)| minor);
    Some((major, minor))
}

fn leading_number(text: &str) -> Option<(u32, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

fn in_brackets(texts: &[String]) -> String {
    if texts.is_empty() {
        String::new()
    } else {
        format!(" ({})", texts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Options that find no program outside `directory`.
    fn only_in(directory: &Path) -> EmbeddedOptions {
        EmbeddedOptions {
            search_path: "".into(),
            tools_dir: directory.to_owned(),
            ..EmbeddedOptions::new(directory)
        }
    }

    /// Writes a script that prints `version`, in place of a program.
    fn fake_program(program: &Path, version: &str) {
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::write(program, format!("#!/bin/sh\necho '{version}'\n")).unwrap();
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn versions_are_parsed_as_programs_print_them() {
        assert_eq!(parse_version("15.18"), Some((15, 18)));
        assert_eq!(parse_version("v2.9.10"), Some((2, 9)));
        assert_eq!(parse_version("18beta1"), Some((18, 0)));
        assert_eq!(parse_version("(PostgreSQL)"), None);
    }

    #[test]
    fn version_directories_come_newest_first() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["x-9.6", "x-15", "x-18.4", "y-99", "x-"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }

        let found = newest_first(directory.path(), "x-");

        assert_eq!(
            found,
            ["x-18.4", "x-15", "x-9.6"].map(|name| directory.path().join(name))
        );
    }

    #[tokio::test]
    async fn a_missing_program_is_reported_with_what_to_install() {
        let directory = tempfile::tempdir().unwrap();
        let none = Some(directory.path().join("none"));
        let options = EmbeddedOptions {
            postgres_bin: none.clone(),
            nats_server: none,
            ..only_in(directory.path())
        };

        let postgres = find_postgres(&options, None, None).await.unwrap_err();
        let nats = find_nats_server(&options, None).await.unwrap_err();

        assert_eq!(
            postgres.to_string(),
            "postgres (PostgreSQL 15 or newer) was not found; install it with `apt-get install \
             postgresql` (Debian, Ubuntu), `brew install postgresql@18` (macOS) or `make tools`, \
             or set ORDERS_POSTGRES_BIN"
        );
        assert_eq!(
            nats.to_string(),
            "nats-server (2.9 or newer) was not found; install it with `apt-get install \
             nats-server` (Debian, Ubuntu), `brew install nats-server` (macOS) or `make tools`, \
             or set ORDERS_NATS_SERVER"
        );
    }

    #[tokio::test]
    async fn a_program_that_is_too_old_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let old = directory.path().join("nats-server-2.8.4/nats-server");
        fake_program(&old, "nats-server: v2.8.4");
        let options = EmbeddedOptions {
            nats_server: Some(old),
            ..only_in(directory.path())
        };

        let error = find_nats_server(&options, None)
            .await
            .unwrap_err()
            .to_string();

        assert!(error.contains("nats-server is version 2.8)"), "{error}");
    }

    #[tokio::test]
    async fn the_postgresql_that_created_the_data_is_chosen() {
        let directory = tempfile::tempdir().unwrap();
        let path = ["15", "18"].map(|version| {
            let bin = directory.path().join(version).join("bin");
            fake_program(
                &bin.join("postgres"),
                &format!("postgres (PostgreSQL) {version}.1"),
            );
            fake_program(&bin.join("initdb"), "");
            bin
        });
        let options = EmbeddedOptions {
            search_path: env::join_paths(&path).unwrap(),
            ..only_in(directory.path())
        };

        let first = find_postgres(&options, None, None).await.unwrap();
        let newer = find_postgres(&options, None, Some(18)).await.unwrap();
        let gone = find_postgres(&options, None, Some(99))
            .await
            .unwrap_err()
            .to_string();

        assert!(first.ends_with("15/bin"));
        assert!(newer.ends_with("18/bin"));
        assert!(gone.starts_with("postgres (PostgreSQL 99, which created the data directory)"));
    }
}
