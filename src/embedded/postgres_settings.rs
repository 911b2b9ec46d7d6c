//! The generated part of the private PostgreSQL's configuration.

use std::path::Path;

/// The settings file, rewritten at each start so that it always is this version's. What an
/// administrator sets with `ALTER SYSTEM` still wins.
///
/// `socket_directory` must be free of quotes and blanks, which the generated one is.
pub(super) fn settings(socket_directory: &Path) -> String {
    format!(
        "\
# Generated at each start by `orders serve`; use ALTER SYSTEM for changes of your own.

# Private: reachable through a unix socket in a directory of its own user alone, never by network.
listen_addresses = ''
port = {port}
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0700

# What the service acknowledged must survive a power cut.
fsync = on
synchronous_commit = on
full_page_writes = on

# The service's pools, the relay and projector, reports and psql together need far fewer.
max_connections = 200

# A small machine that runs the service and NATS as well; the system's file cache holds the rest.
shared_buffers = 128MB
effective_cache_size = 512MB

# Many small commits: rare checkpoints, because after one each page goes into the log in full once
# more; log files that are reused and not created under load; room for the largest group commit.
checkpoint_timeout = 15min
max_wal_size = 1GB
min_wal_size = 256MB
wal_buffers = 16MB
# The service's writer groups commits itself, waiting here would only add latency.
commit_delay = 0

# Every query here is short: compiling it would take longer than running it.
jit = off
# Data directories are on solid-state disks nowadays, where an index lookup costs little more.
random_page_cost = 1.1

# Instants are stored and shown in UTC, whatever the machine's own time zone is.
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] '
",
        port = super::postgres::PORT,
        sockets = socket_directory.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_durable_and_private() {
        let text = settings(Path::new("/tmp/orders-x"));

        for line in [
            "listen_addresses = ''",
            "unix_socket_directories = '/tmp/orders-x'",
            "fsync = on",
            "synchronous_commit = on",
            "full_page_writes = on",
            "jit = off",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}");
        }
    }
}
