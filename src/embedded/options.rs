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
    /// The defaults for a data directory. `PATH` and the place of the user's caches are read
    /// here, once; nothing further in looks at the environment.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            postgres_bin: None,
            nats_server: None,
            tools_dir: default_tools_dir(),
            search_path: env::var_os("PATH").unwrap_or_default(),
        }
    }
}

/// The default of `ORDERS_TOOLS_DIR`; `scripts/tools.sh` has the same rule.
///
/// Not root's own home: PostgreSQL runs as another user there, who could not reach it.
fn default_tools_dir() -> PathBuf {
    let named = |variable| {
        env::var_os(variable)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
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
