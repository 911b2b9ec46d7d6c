//! The settings file of the private PostgreSQL.

use std::path::Path;

/// The port is part of the socket file's name. No network port is opened.
pub(super) const PORT: u16 = 5432;

/// The text of the settings file. It is written at each start, so that it always matches the
/// program's version. Settings that an operator makes with `ALTER SYSTEM` take precedence.
///
/// `socket_directory` must not contain quotes or spaces.
pub(super) fn settings(socket_directory: &Path) -> String {
    format!(
        "\
# Generated at each start by `orders serve`; use ALTER SYSTEM to change settings.

# Private: reachable only through a unix socket in a directory of the server's own user, not by network.
listen_addresses = ''
port = {port}
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0700

# Acknowledged data must survive a power cut.
fsync = on
synchronous_commit = on
full_page_writes = on

# The service's pools, relay and projector, reports and psql together need far fewer.
max_connections = 200

# For a small machine that also runs the service and NATS; the system's file cache holds the rest.
shared_buffers = 128MB
effective_cache_size = 512MB

# For many small commits: few checkpoints, because after each one every page is written to the log in
# full once; enough log files to reuse, so that none is created under load; room for the largest group
# commit.
checkpoint_timeout = 15min
max_wal_size = 1GB
min_wal_size = 256MB
wal_buffers = 16MB
# The service's writer groups commits itself; waiting here would only add latency.
commit_delay = 0

# Every query is short; compiling it would take longer than running it.
jit = off
# For solid-state disks, where reading a random page costs little more than reading the next one.
random_page_cost = 1.1

# Times are shown in UTC, whatever the machine's time zone is.
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] '
",
        port = PORT,
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
