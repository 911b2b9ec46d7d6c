//! Open files: each connection is one. The process takes as many as the system allows it, and limits
//! the clients' connections so that enough are left for its own.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::{info, warn};

use crate::http::server::serve::ServerLimits;

/// How many open files are kept for databases, NATS, logs, and connections that only ask for health.
const RESERVED: u64 = 160;

/// Raises the limit of open files to the most that the system allows, and lowers the number of
/// connections to what fits it.
pub(super) fn within_limit(mut limits: ServerLimits) -> ServerLimits {
    let Some(open_files) = raised() else {
        return limits;
    };
    // Where the limit is very small, half of it is for clients.
    let room = open_files.saturating_sub(RESERVED).max(open_files / 2);
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if room < limits.connections.total {
        info!(
            open_files,
            connections = room,
            "the limit of open files lowers the number of connections"
        );
    }
    limits.connections = limits.connections.at_most(room);
    limits
}

/// The limit of open files after it was raised; `None` where the system does not say.
fn raised() -> Option<u64> {
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => {
            warn!(%error, "the limit of open files cannot be read");
            return None;
        }
    };
    if soft >= hard {
        return Some(soft);
    }
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => Some(hard),
        Err(error) => {
            warn!(%error, soft, hard, "the limit of open files cannot be raised");
            Some(soft)
        }
    }
}
