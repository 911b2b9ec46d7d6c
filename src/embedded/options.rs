//! The options of the embedded servers.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where the embedded servers keep their data, and where their programs are searched.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// The data directory, with `postgres/`, `nats/` and the lock. It is created if it does not
    /// exist.
    pub data_dir: PathBuf,
    /// The directory with PostgreSQL's `initdb` and `postgres` (`ORDERS_POSTGRES_BIN`). If it is
    /// set, no other place is searched.
    pub postgres_bin: Option<PathBuf>,
    /// The nats-server program (`ORDERS_NATS_SERVER`). If it is set, no other place is searched.
    pub nats_server: Option<PathBuf>,
    /// The directory that `make tools` fills (`ORDERS_TOOLS_DIR`).
    pub tools_dir: PathBuf,
    /// The value of `PATH`.
    pub search_path: OsString,
}

impl EmbeddedOptions {
    /// The options for a data directory, from the environment variables. No other code of the
    /// embedded servers reads the environment.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            postgres_bin: path_from("ORDERS_POSTGRES_BIN"),
            nats_server: path_from("ORDERS_NATS_SERVER"),
            tools_dir: path_from("ORDERS_TOOLS_DIR").unwrap_or_else(default_tools_dir),
            search_path: env::var_os("PATH").unwrap_or_default(),
        }
    }
}

/// The path in an environment variable; `None` if it is not set or empty.
fn path_from(variable: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// The default of `ORDERS_TOOLS_DIR`. `scripts/servers.sh` has the same rule.
///
/// For root it is not in the home directory, because PostgreSQL's user could not enter that.
fn default_tools_dir() -> PathBuf {
    let caches = if nix::unistd::geteuid().is_root() {
        PathBuf::from("/var/cache")
    } else if let Some(caches) = path_from("XDG_CACHE_HOME") {
        caches
    } else {
        let home = path_from("HOME").unwrap_or_else(|| PathBuf::from("/tmp"));
        home.join(if cfg!(target_os = "macos") {
            "Library/Caches"
        } else {
            ".cache"
        })
    };
    caches.join("orders/tools")
}
