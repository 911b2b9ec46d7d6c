//! What the caller may choose about the embedded servers.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where the embedded servers keep their data and where their programs are looked for.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// Holds everything: `postgres/`, `nats/` and the lock. Made if it does not exist.
    pub data_dir: PathBuf,
    /// The directory with PostgreSQL's `initdb` and `postgres` (`ORDERS_POSTGRES_BIN`); nothing
    /// else is tried where it is given.
    pub postgres_bin: Option<PathBuf>,
    /// The nats-server program (`ORDERS_NATS_SERVER`); nothing else is tried where it is given.
    pub nats_server: Option<PathBuf>,
    /// The folder that `make tools` fills (`ORDERS_TOOLS_DIR`).
    pub tools_dir: PathBuf,
    /// The folders of `PATH`.
    pub search_path: OsString,
}

impl EmbeddedOptions {
    /// What the environment says, for a data directory. It is read here, once; nothing further in
    /// looks at it.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            postgres_bin: named("ORDERS_POSTGRES_BIN"),
            nats_server: named("ORDERS_NATS_SERVER"),
            tools_dir: named("ORDERS_TOOLS_DIR").unwrap_or_else(default_tools_dir),
            search_path: env::var_os("PATH").unwrap_or_default(),
        }
    }
}

/// The path in an environment variable that is set and not empty.
fn named(variable: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// The default of `ORDERS_TOOLS_DIR`; `scripts/servers.sh` has the same rule.
///
/// Not root's own home: PostgreSQL runs as another user there, who could not reach it.
fn default_tools_dir() -> PathBuf {
    let caches = if nix::unistd::geteuid().is_root() {
        PathBuf::from("/var/cache")
    } else if let Some(caches) = named("XDG_CACHE_HOME") {
        caches
    } else {
        let home = named("HOME").unwrap_or_else(|| PathBuf::from("/tmp"));
        home.join(if cfg!(target_os = "macos") {
            "Library/Caches"
        } else {
            ".cache"
        })
    };
    caches.join("orders/tools")
}
